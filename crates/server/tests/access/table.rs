//! Users times channels times rules.

use serde_json::{Value, json};

use crate::support::{Server, subscribe, track};

const NAMESPACES: &str = r"{
    'presence:*': {
        access: {
            subscribe(auth) { return auth !== null },
        },
    },
    'presence:public-*': { access: { subscribe: () => true } },
    'presence:admin-*': { access: { subscribe: (auth) => auth?.role === 'admin' } },
    'presence:mine-*': {
        access: { subscribe: (auth, channel) => channel === `presence:mine-${auth?.id}` },
    },
    'presence:stage-*': {
        access: { subscribe: () => true, track: (auth) => auth.role === 'admin' },
    },
    'presence:stage-open': { access: { track: () => true } },
    'presence:later': {
        access: { async subscribe(auth) { await null; return (await Promise.resolve(auth))?.role === 'admin' } },
    },
    'presence:claims': {
        access: {
            subscribe: (auth) =>
                auth?.claims.team === 7 && auth.custom.level > 2 && auth.email === 'jane@example.com'
                && auth.isAnonymous === false && auth.claims.sub === auth.id,
        },
    },
    'presence:guests': {
        access: {
            subscribe: (auth) => auth.isAnonymous && JSON.stringify(auth.custom) === '{}'
                && auth.role === undefined && auth.email === undefined,
        },
    },
    'presence:closed': { access: { subscribe: () => false, track: () => true } },
    'presence:one': { access: { subscribe: () => 1 as unknown as boolean } },
    'presence:text': { access: { subscribe: () => 'true' } },
    'presence:nothing': { access: { subscribe: () => {} } },
    'presence:box': { access: { subscribe: () => new Boolean(true) } },
    'presence:later-one': { access: { subscribe: async () => 1 } },
    'presence:like-a-promise': { access: { subscribe: () => ({ then: (f) => f(true) }) } },
    'presence:this': {
        access: new (class { subscribe() { return this.#answer() } #answer() { return true } })(),
    },
}";

const DENIED: Option<&str> = Some("CHANNEL_ACCESS_DENIED");
const SIGN_IN: Option<&str> = Some("NOT_AUTHENTICATED");
const YES: Option<&str> = None;

/// What a user hears: to `subscribe`, and to tracking on a connection of its own.
type Answers = (Option<&'static str>, Option<&'static str>);

const ALL: Answers = (YES, YES);
const NONE: Answers = (DENIED, DENIED);
const STRANGER: Answers = (SIGN_IN, SIGN_IN);
/// A stranger may look on and is never seen.
const OBSERVER: Answers = (YES, SIGN_IN);

/// The channel, and what nobody in particular, Jane, an admin and a guest hear.
const TABLE: &[(&str, [Answers; 4])] = &[
    ("presence:lobby", [STRANGER, ALL, ALL, ALL]),
    ("presence:public-1", [OBSERVER, ALL, ALL, ALL]),
    ("presence:admin-1", [STRANGER, NONE, ALL, NONE]),
    ("presence:mine-jane", [STRANGER, ALL, NONE, NONE]),
    ("presence:mine-root", [STRANGER, NONE, ALL, NONE]),
    ("presence:stage-1", [OBSERVER, (YES, DENIED), ALL, (YES, DENIED)]),
    ("presence:stage-open", [STRANGER, ALL, ALL, ALL]),
    ("presence:later", [STRANGER, NONE, ALL, NONE]),
    ("presence:claims", [STRANGER, ALL, NONE, NONE]),
    ("presence:guests", [STRANGER, NONE, NONE, ALL]),
    ("presence:closed", [STRANGER, NONE, NONE, NONE]),
    ("presence:one", [STRANGER, NONE, NONE, NONE]),
    ("presence:text", [STRANGER, NONE, NONE, NONE]),
    ("presence:nothing", [STRANGER, NONE, NONE, NONE]),
    ("presence:box", [STRANGER, NONE, NONE, NONE]),
    ("presence:later-one", [STRANGER, NONE, NONE, NONE]),
    ("presence:like-a-promise", [STRANGER, NONE, NONE, NONE]),
    ("presence:this", [OBSERVER, ALL, ALL, ALL]),
];

fn users() -> [Option<Value>; 4] {
    [
        None,
        Some(json!({
            "sub": "jane", "email": "jane@example.com", "custom": {"level": 3}, "team": 7,
        })),
        Some(json!({"sub": "root", "role": "admin"})),
        Some(json!({"sub": "guest", "isAnonymous": true})),
    ]
}

// P4.6, P4.19
#[tokio::test]
async fn every_user_hears_in_every_channel_what_its_rule_says() {
    let server = Server::start(NAMESPACES);
    let mut heard = Vec::new();
    let mut expected = Vec::new();
    for (channel, answers) in TABLE {
        for (claims, (may_subscribe, may_track)) in users().into_iter().zip(answers) {
            let mut looks = connect(&server, claims.clone()).await;
            let mut tracks = connect(&server, claims.clone()).await;
            let user = claims.map_or_else(|| "nobody".into(), |claims| claims["sub"].to_string());
            let answers = (subscribe(&mut looks, channel).await, track(&mut tracks, channel).await);
            heard.push((*channel, user.clone(), answers.0, answers.1));
            let owned = |code: &Option<&str>| code.map(str::to_owned);
            expected.push((*channel, user, owned(may_subscribe), owned(may_track)));
        }
    }
    assert_eq!(heard, expected);
}

// P4.18
#[tokio::test]
async fn without_namespaces_whoever_has_signed_in_may() {
    let server = Server::start("{}");
    for (claims, expected) in users().into_iter().zip([STRANGER, ALL, ALL, ALL]) {
        let mut peer = connect(&server, claims).await;
        let answers =
            (subscribe(&mut peer, "presence:x").await, track(&mut peer, "presence:x").await);
        assert_eq!((answers.0.as_deref(), answers.1.as_deref()), expected);
    }
}

#[tokio::test]
async fn a_pattern_has_a_member_limit_of_its_own() {
    let server = Server::start("{ 'presence:duel-*': { maxMembers: 2 } }");
    let mut answers = Vec::new();
    let mut peers = Vec::new();
    for user in ["a", "b", "c"] {
        let mut peer = server.sign_in(json!({"sub": user})).await;
        answers.push(track(&mut peer, "presence:duel-1").await);
        assert_eq!(track(&mut peer, "presence:crowd").await, None);
        peers.push(peer);
    }
    assert_eq!(answers, [None, None, Some("MEMBER_LIMIT".into())]);
}

async fn connect(server: &Server, claims: Option<Value>) -> herenow_client::raw::RawConnection {
    match claims {
        Some(claims) => server.sign_in(claims).await,
        None => server.anonymous().await,
    }
}

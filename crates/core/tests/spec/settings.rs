//! What holds in a channel, and from when on.

use std::time::Duration;

use herenow_core::{ChannelSettings, Claim, Claimed, Input, Overrides, Peer, Place, SessionEffect};

use crate::given::{asker, at, good, granted, id, limits, policy, policy_but_for, settings, track};
use crate::told::Talk;

/// What the session says of the settings when it shows something in the channel.
fn put_settings(talk: &mut Talk, name: &str) -> ChannelSettings {
    match talk.effects(at(1), track(name, "{}")).pop() {
        Some(SessionEffect::Put { settings, .. }) => settings,
        other => panic!("{other:?} in the place of a put"),
    }
}

/// Tracks in lobby and in garden.
fn in_two() -> Talk {
    let mut talk = Talk::tracking();
    talk.hear(0, track("garden", "{}"));
    talk.hear(0, granted("garden"));
    talk.hear(0, granted("garden"));
    talk
}

// P4.14
#[test]
fn a_state_is_put_with_the_settings_of_its_channel_as_they_are_now() {
    let mut talk = in_two();
    assert_eq!(put_settings(&mut talk, "lobby"), settings());
    let own = Overrides { max_members: Some(3), ..Overrides::default() };
    talk.policy.replace(policy_but_for("lobby", own, settings()));
    assert_eq!(put_settings(&mut talk, "lobby"), ChannelSettings { max_members: 3, ..settings() });
    assert_eq!(put_settings(&mut talk, "garden"), settings());
    // The same place among the patterns, and another pattern in it.
    talk.policy.replace(policy_but_for("garden", own, settings()));
    assert_eq!(put_settings(&mut talk, "lobby"), settings());
    assert_eq!(put_settings(&mut talk, "garden").max_members, 3);
}

// P4.14, P7.9
#[test]
fn a_session_that_was_taken_over_looks_its_settings_up_where_it_is_now() {
    let mut old = Talk::tracking();
    let effects = old.effects(at(2), Input::Claimed { by: asker('n') });
    let session = effects.into_iter().find_map(|effect| match effect {
        SessionEffect::HandedOver { session, .. } => Some(session),
        _ => None,
    });
    let mut new = Talk::opened('n', 2, limits());
    let own = Overrides { max_members: Some(3), ..Overrides::default() };
    // As many policies as where it comes from, and another one.
    new.policy = herenow_core::CurrentPolicy::new(policy_but_for("lobby", own, settings()));
    let place = Some(Place { peer: Peer(0), slot: 0 });
    let claim = Claim { connection: id('c'), generation: 0, place };
    new.hear(2, crate::given::Token { claim: Some(claim), ..good("jane") });
    let claimed = session.map_or(Claimed::Nothing, Claimed::Session);
    new.hear(2, Input::TakenOver { claimed });
    new.hear(2, granted("lobby"));
    new.hear(2, granted("lobby"));
    assert_eq!(put_settings(&mut new, "lobby").max_members, 3);
}

// P7.3
#[test]
fn silence_ends_what_is_shown_where_the_ttl_is_shorter_and_nothing_else() {
    let mut talk = in_two();
    let own = Overrides { presence_ttl_ms: Some(1_000), ..Overrides::default() };
    talk.policy.replace(policy_but_for("garden", own, settings()));
    let silent = |ms| Input::Silent { silent: Duration::from_millis(ms) };
    talk.gives(1_000, silent(1_000), &[]);
    talk.gives(1_001, silent(1_001), &["remove garden timeout"]);
    talk.gives(1_002, silent(1_002), &[]);
    assert_eq!(talk.session.subscriptions().count(), 2, "it is subscribed as before");
    talk.policy.replace(policy(ChannelSettings { presence_ttl_ms: 500, ..settings() }));
    talk.gives(1_003, silent(1_003), &["remove lobby timeout"]);
}

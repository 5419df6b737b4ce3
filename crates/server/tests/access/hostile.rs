//! Rules that misbehave deny, and nobody else notices.

use serde_json::json;

use crate::support::{Server, subscribe};

/// Each rule must never grant, and must leave an engine that answers the next question.
const HOSTILE: &[(&str, &str)] = &[
    ("loop", "() => { for (;;) {} }"),
    ("loop-in-getter", "() => { throw { get message() { for (;;) {} } } }"),
    (
        "loop-in-error",
        "() => { const e = new Error('x'); Object.defineProperty(e, 'message', { get() { for (;;) {} } }); throw e }",
    ),
    ("loop-caught", "() => { try { for (;;) {} } finally { return true } }"),
    ("loop-later", "async () => { await null; for (;;) {} }"),
    ("loop-of-jobs", "async () => { for (;;) await null }"),
    ("loop-left-behind", "() => { (async () => { for (;;) await null })(); return true }"),
    ("recursion", "function f() { return f() + 1 }"),
    (
        "recursion-of-proxies",
        "() => { const p = new Proxy({}, { get: (t, k, r) => r[k] }); return p.x }",
    ),
    ("deep-json", "() => JSON.parse('['.repeat(1e5))"),
    ("allocation", "() => { const all = []; for (;;) all.push(new Array(1000).fill(0)) }"),
    ("allocation-of-text", "() => { let s = 'x'; for (;;) s += s }"),
    ("allocation-of-bytes", "() => new Uint8Array(1 << 30)[0] === 0"),
    ("kept-allocation", "((kept) => () => { for (;;) kept.push({}) })([])"),
    ("expression", "() => /^(a+)+$/.test('a'.repeat(64) + 'b')"),
    ("wide-array", "() => new Array(4294967295).indexOf(1) === -1"),
    (
        "sorted",
        "() => { new Array(1e6).fill(0).map(Math.random).sort((a, b) => { for (;;) {} }); return true }",
    ),
    ("waits", "() => new Promise(() => {})"),
    ("waits-on-memory", "() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)"),
    ("throws", "() => { throw new Error('no') }"),
    ("throws-nothing", "() => { throw undefined }"),
    ("throws-null", "() => { throw null }"),
    ("rejects", "async () => { throw 'no' }"),
    ("timer", "() => new Promise((done) => setTimeout(() => done(true), 1))"),
    ("network", "async () => (await fetch('http://127.0.0.1/')).ok"),
    ("file", "async () => { await import('/etc/passwd' + ''); return true }"),
    ("constructor", "() => (0, eval)('import(\"node:fs\")').then(() => true)"),
    ("exits", "() => { process.exit(1); return true }"),
];

// P4.19
#[tokio::test]
async fn a_rule_that_misbehaves_denies_and_the_next_question_is_answered() {
    let mut namespaces = String::from("{ 'presence:good': { access: { subscribe: () => true } },");
    for (name, rule) in HOSTILE {
        // `import()` in a source is refused at the start; code that makes it at run time is not
        // seen before.
        let rule = match rule.contains("await import(") {
            true => r"() => (0, eval)('import(\'/etc/passwd\')').then(() => true)",
            false => rule,
        };
        namespaces.push_str(&format!("'presence:{name}': {{ access: {{ subscribe: {rule} }} }},"));
    }
    namespaces.push('}');
    let server = Server::start(&namespaces);
    let mut peer = server.sign_in(json!({"sub": "jane"})).await;
    for (name, _) in HOSTILE {
        let denied = subscribe(&mut peer, &format!("presence:{name}")).await;
        assert_eq!(denied.as_deref(), Some("CHANNEL_ACCESS_DENIED"), "{name}");
        // On a connection of its own, since what is subscribed already is not asked again.
        let mut other = server.sign_in(json!({"sub": "bob"})).await;
        assert_eq!(subscribe(&mut other, "presence:good").await, None, "after {name}");
    }
}

#[tokio::test]
async fn who_keeps_engines_busy_does_not_keep_others_waiting() {
    let server = Server::start(
        "{ 'presence:loop': { access: { subscribe: () => { for (;;) {} } } },
           'presence:good-*': { access: { subscribe: () => true } } }",
    );
    let mut busy = Vec::new();
    for _ in 0..8 {
        let mut peer = server.sign_in(json!({"sub": "mallory"})).await;
        for _ in 0..4 {
            peer.send(json!({"type": "subscribe", "channel": "presence:loop"})).await;
        }
        busy.push(peer);
    }
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for number in 0..4 {
        assert_eq!(subscribe(&mut jane, &format!("presence:good-{number}")).await, None);
    }
    for mut peer in busy {
        for _ in 0..4 {
            assert_eq!(peer.next_message().await["code"], "CHANNEL_ACCESS_DENIED");
        }
    }
}

#[tokio::test]
async fn what_no_engine_can_stop_is_denied_all_the_same_and_others_are_answered() {
    // One call of a function of the engine itself, and many times longer than a rule may take.
    let server = Server::start(
        "{ 'presence:lost-*': { access: { subscribe: () =>
             Array.prototype.join.call({ length: 2 ** 26 }, '') === '' } },
           'presence:good-*': { access: { subscribe: () => true } } }",
    );
    let mut lost = Vec::new();
    for number in 0..3 {
        let mut peer = server.sign_in(json!({"sub": "mallory"})).await;
        let channel = format!("presence:lost-{number}");
        peer.send(json!({"type": "subscribe", "channel": channel})).await;
        lost.push(peer);
    }
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(subscribe(&mut jane, "presence:good-1").await, None);
    for mut peer in lost {
        assert_eq!(peer.next_message().await["code"], "CHANNEL_ACCESS_DENIED");
    }
    assert_eq!(subscribe(&mut jane, "presence:good-2").await, None);
}

#[tokio::test]
async fn memory_that_a_rule_keeps_from_call_to_call_is_given_back_with_its_engine() {
    let server = Server::start(
        "{ 'presence:*': { access: { subscribe: ((kept) => () => {
            kept.push(new Uint8Array(1 << 18)); return true })([]) } } }",
    );
    let mut denied = 0;
    for _ in 0..4 {
        let mut peer = server.sign_in(json!({"sub": "jane"})).await;
        for number in 0..90 {
            match subscribe(&mut peer, &format!("presence:{number}")).await.as_deref() {
                None => {}
                Some("CHANNEL_ACCESS_DENIED") => denied += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    // Each engine has room for 60 calls or so. The call for which nothing is left is denied, and
    // the next one finds a new engine.
    assert!((1..=10).contains(&denied), "{denied} of 360 calls were denied");
}

#[tokio::test]
async fn where_no_engine_can_be_had_nobody_is_denied_and_nobody_let_in() {
    // The key is another one each time that the configuration is evaluated.
    let server = Server::start(
        "{ ['presence:' + '*'.repeat(1 + Math.floor(Math.random() * 100000))]:
            { access: { subscribe: () => true } } }",
    );
    let mut peer = server.sign_in(json!({"sub": "jane"})).await;
    assert_eq!(subscribe(&mut peer, "presence:x").await.as_deref(), Some("SERVER_ERROR"));
    crate::support::fence(&mut peer).await;
}

#[tokio::test]
async fn what_one_users_question_leaves_behind_meets_no_other_users_question() {
    // Copied as carelessly as code is: what a claim holds reaches every object, if it can.
    let server = Server::start(
        "{ 'presence:*': { access: { subscribe: (auth) => {
            const merge = (to, from) => {
                for (const key in from) {
                    if (typeof from[key] === 'object') merge(to[key] ??= {}, from[key]);
                    else to[key] = from[key];
                }
                return to;
            };
            if (globalThis.admitted || ({}).admitted) return true;
            try { globalThis.admitted = auth.id } catch {}
            return merge({ ...auth }, auth.custom).admitted === true;
        } } } }",
    );
    let custom = json!({"constructor": {"prototype": {"admitted": true}}});
    let mut mallory = server.sign_in(json!({"sub": "mallory", "custom": custom})).await;
    let mut jane = server.sign_in(json!({"sub": "jane"})).await;
    for number in 0..10 {
        let channel = format!("presence:{number}");
        for peer in [&mut mallory, &mut jane] {
            let denied = subscribe(peer, &channel).await;
            assert_eq!(denied.as_deref(), Some("CHANNEL_ACCESS_DENIED"));
        }
    }
}

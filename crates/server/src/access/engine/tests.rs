//! What one engine makes of rules, good and bad, and what a call costs.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An engine with one rule, which is asked as `subscribe` of namespace 0.
fn engine(rule: &str) -> Engine {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("herenow-engine-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let path = folder.join("edgebase.config.ts");
    let source = format!(
        "export default defineConfig({{ realtime: {{ namespaces: {{ 'p': {{ access: {{\n\
         subscribe: {rule}\n}} }} }} }} }});"
    );
    fs::write(&path, source).expect("the folder can be written");
    let program = Program::load(&path, [("STAGE", "test"), ("JWT_USER_SECRET", "s3cret")]);
    fs::remove_dir_all(&folder).expect("it was just made");
    let engine = Engine::start(Arc::new(program.expect("the rule is TypeScript")));
    let engine = engine.expect("the configuration runs");
    engine.bind(&["p"]).expect("the namespace is there");
    engine
}

fn call(engine: &mut Engine) -> Outcome {
    let claims = Some(r#"{"sub":"jane","exp":1,"role":"admin","custom":{"level":3},"team":7}"#);
    engine.call(Call {
        rule: 0,
        function: RuleFunction::Subscribe,
        channel: "presence:game",
        claims,
    })
}

/// The rule throws on this line of the file; gives what it says.
fn threw(rule: &str, line: usize) -> String {
    let Outcome::Failed(Failure::Threw { message: said, place }) = call(&mut engine(rule)) else {
        panic!("{rule} throws");
    };
    let expected = Some(("edgebase.config.ts".to_owned(), line));
    assert_eq!(place.map(|(file, place)| (file, place.line)), expected, "{said}");
    said
}

#[test]
fn each_way_to_fail_has_its_name() {
    for (rule, failure) in [
        ("() => { for (;;) {} }", Failure::TooSlow),
        ("async () => { for (;;) await null }", Failure::TooSlow),
        (
            "() => { const a = []; for (;;) a.push(new Uint8Array(1 << 20)) }",
            Failure::TooMuchMemory,
        ),
        ("function f() { return f() }", Failure::TooDeep),
        ("() => new Promise(() => {})", Failure::NeverSettles),
    ] {
        let mut engine = engine(rule);
        assert_eq!(call(&mut engine), Outcome::Failed(failure), "{rule}");
        assert!(engine.is_spent(), "{rule}");
    }
}

#[test]
fn an_error_names_the_line_that_its_author_wrote() {
    let said = threw(
        "(auth: { team: { lead: { name: string } } }): boolean => {\n\n  return auth.team.lead.name === 'jane' }",
        4,
    );
    assert!(said.starts_with("TypeError: "), "{said}");
    let said = threw("async () => {\n await null\n throw new Error('not today')\n}", 4);
    assert_eq!(said, "Error: not today");
}

#[test]
fn a_rule_that_throws_keeps_its_engine() {
    let mut engine = engine("(auth) => { throw new Error(auth.id) }");
    assert!(matches!(call(&mut engine), Outcome::Failed(Failure::Threw { .. })));
    assert!(!engine.is_spent());
}

#[test]
fn what_is_neither_true_nor_false_is_named_by_its_kind_alone() {
    for (rule, says) in [
        ("() => 1", "a value of type int"),
        ("() => 'jane@example.com'", "a value of type string"),
        ("() => undefined", "undefined"),
        ("() => null", "null"),
        ("(auth) => auth", "a value of type object"),
    ] {
        assert_eq!(call(&mut engine(rule)), Outcome::NotABoolean(says.into()), "{rule}");
    }
}

#[test]
fn a_message_is_one_line_and_not_too_long() {
    let Outcome::Failed(failure) = call(&mut engine("() => { throw 'a\\nb' + 'c'.repeat(1000) }"))
    else {
        panic!("it throws");
    };
    let said = failure.to_string();
    assert!(said.starts_with("it threw: a bccc") && said.len() < 250, "{said}");
}

#[test]
fn the_environment_is_there_without_the_secret() {
    let rule = "() => process.env.STAGE === 'test' && !('JWT_USER_SECRET' in process.env)";
    assert_eq!(call(&mut engine(rule)), Outcome::Granted);
}

#[test]
fn there_is_nothing_to_reach_the_world_with() {
    let rule = "() => ['fetch', 'setTimeout', 'setInterval', 'require', 'Deno', 'std', 'os', \
                'XMLHttpRequest', 'WebSocket', 'Worker'].every((name) => !(name in globalThis))";
    assert_eq!(call(&mut engine(rule)), Outcome::Granted);
}

#[test]
fn what_a_rule_does_to_its_globals_does_not_change_how_it_is_asked() {
    let mut engine = engine(
        "(auth) => { JSON.parse = () => ({ sub: 'root' }); Object.prototype.role = 'x'; \
         return auth.id === 'jane' && auth.role === 'admin' }",
    );
    assert_eq!(call(&mut engine), Outcome::Granted);
    assert_eq!(call(&mut engine), Outcome::Granted);
}

#[test]
fn an_engine_whose_rules_keep_more_and_more_is_replaced_in_time() {
    let mut engine =
        engine("() => { (globalThis.kept ??= []).push(new Uint8Array(1024)); return true }");
    let mut calls = 0;
    while !engine.is_spent() {
        assert_eq!(call(&mut engine), Outcome::Granted, "call {calls}");
        calls += 1;
    }
    assert!((4096..16_384).contains(&calls), "{calls}");
}

#[test]
fn memory_that_ends_anywhere_ends_no_process() {
    const RULE: &str = "(auth, channel) => {
        const all = [];
        const fill = (bytes) => { try { for (;;) all.push(new Uint8Array(bytes)) } catch {} };
        fill(1 << 16);
        fill(1024 + Number(channel) * 8);
        const works = [
            () => JSON.parse(JSON.stringify({ a: [1, { b: 'c'.repeat(50) }] })),
            () => /(a|b)+c/.exec('ab'.repeat(20) + 'c'),
            () => { class A extends Map {} ; return new A([[1, 2]]).set({}, []) },
            () => (async () => { await null; return new Error('x').stack })(),
            () => [...'some text of no use'].sort().map((c) => ({ c })).join(),
            () => 2n ** 200n,
            () => new Function('a', 'return a + 1')(1),
            () => { function* g() { yield* [1, 2, 3] } return Array.from(g()) },
        ];
        return works[Number(channel) % works.length]() === 'never';
    }";
    let mut one = engine(RULE);
    for round in 0..100 {
        let channel = round.to_string();
        let question =
            Call { rule: 0, function: RuleFunction::Subscribe, channel: &channel, claims: None };
        let outcome = one.call(question);
        assert_ne!(outcome, Outcome::Granted, "round {round}");
        if one.is_spent() {
            one = engine(RULE);
        }
    }
}

/// `cargo test --release -p herenow-server --lib -- --ignored --nocapture cost`
#[test]
#[ignore = "measures, and means nothing without --release on a quiet machine"]
fn the_cost_of_a_decision() {
    const CALLS: u32 = 200_000;
    let began = Instant::now();
    let mut engine = engine(
        "(auth, channel) => auth !== null && (auth.role === 'admin' || channel.endsWith(auth.id))",
    );
    println!("an engine, with its configuration read from a file: {:?}", began.elapsed());
    println!("memory: {} KiB", engine.runtime.memory_usage().malloc_size / 1024);
    for round in 0..3 {
        let began = Instant::now();
        for _ in 0..CALLS {
            assert_eq!(call(&mut engine), Outcome::Granted);
        }
        println!("round {round}: {:?} a decision", began.elapsed() / CALLS);
    }
}

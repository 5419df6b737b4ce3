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
    engine.bind(&[("p", &[RuleFunction::Subscribe])]).expect("the namespace is there");
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
        ("async () => { for (;;) await null }", Failure::TooSlow { place: None }),
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
fn a_loop_without_an_end_is_named_with_its_function() {
    let mut engine = engine("() => {\n  let n: number = 0;\n  for (;;) n += 1;\n}");
    let Outcome::Failed(Failure::TooSlow { place: Some((file, place)) }) = call(&mut engine) else {
        panic!("it is stopped somewhere");
    };
    assert!(engine.is_spent());
    assert_eq!(file, "edgebase.config.ts");
    assert!(place.line > 1, "{place}");
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

/// What a rule may try to leave behind, and how the next call would see it.
const LEAVING: &[(&str, &str)] = &[
    ("globalThis.kept = 1", "'kept' in globalThis"),
    ("Function('kept = 1')()", "'kept' in globalThis"),
    ("Function('var kept = 1; this.kept = 1').call()", "'kept' in globalThis"),
    ("(0, eval)('let kept = 1')", "typeof kept !== 'undefined'"),
    ("Object.prototype.admin = true", "({}).admin === true"),
    ("({}).constructor.prototype.admin = true", "({}).admin === true"),
    ("({}).__proto__.admin = true", "({}).admin === true"),
    ("Object.setPrototypeOf(Array.prototype, { admin: true })", "[].admin === true"),
    ("Array.prototype.includes = () => true", "[].includes(1)"),
    ("Object.defineProperty(String.prototype, 'x', { value: 1 })", "'a'.x === 1"),
    ("JSON.parse = () => 1", "JSON.parse('2') === 1"),
    ("Error.prepareStackTrace = () => 'kept'", "new Error().stack === 'kept'"),
    ("Error.stackTraceLimit = 0", "Error.stackTraceLimit === 0"),
    ("Error.prototype.name = 'kept'", "new Error().name === 'kept'"),
    ("TypeError.prototype.message = 'kept'", "new TypeError().message === 'kept'"),
    ("Object.getPrototypeOf(async () => 1).kept = 1", "(async () => 1).kept === 1"),
    ("Object.getPrototypeOf(function* () {}).kept = 1", "(function* () {}).kept === 1"),
    ("[].values().__proto__.next = null", "[].values().next === null"),
    ("Object.getPrototypeOf([].values()).next = null", "[].values().next === null"),
    ("Object.getPrototypeOf(new Map().keys()).next = null", "new Map().keys().next === null"),
    ("Object.getPrototypeOf(Int8Array).kept = 1", "Int8Array.kept === 1"),
    ("Iterator.prototype.constructor = 1", "[].values().constructor === 1"),
    ("Promise.prototype.then = null", "Promise.prototype.then === null"),
    ("process.env.KEPT = 'x'", "process.env.KEPT === 'x'"),
    ("console.log.kept = 1", "console.log.kept === 1"),
    ("defineConfig.kept = 1", "defineConfig.kept === 1"),
    ("this.kept = 1", "this.kept === 1"),
    ("this.track = () => true", "'track' in this"),
    ("/(kept)/.exec('kept')", "RegExp.$1 === 'kept' || RegExp.lastMatch === 'kept'"),
];

#[test]
fn a_call_leaves_nothing_in_the_globals_for_the_next_one() {
    for (leave, sees) in LEAVING {
        let rule = format!(
            "function () {{ const found = {sees}; try {{ {leave} }} catch {{}} return found }}"
        );
        let mut engine = engine(&rule);
        for round in 0..3 {
            assert_eq!(call(&mut engine), Outcome::Denied, "round {round} of {leave}");
        }
    }
}

#[test]
fn a_copy_of_claims_has_no_other_prototype() {
    for copied in [
        "Object.assign({}, auth.custom)",
        "Object.entries(auth.custom).reduce((all, [key, value]) => { all[key] = value; return all }, {})",
        "{ ...auth.custom }",
    ] {
        let rule = format!("(auth) => {{ const copy = {copied}; return copy.role === undefined }}");
        let claims = Some(r#"{"sub":"jane","custom":{"__proto__":{"role":"admin"}}}"#);
        let function = RuleFunction::Subscribe;
        let question = Call { rule: 0, function, channel: "presence:x", claims };
        assert_eq!(engine(&rule).call(question), Outcome::Granted, "{copied}");
    }
}

#[test]
fn ordinary_code_does_not_notice_that_globals_are_frozen() {
    for works in [
        "class MyError extends Error { constructor() { super('x'); this.name = 'MyError' } }; \
         const error = new MyError(); return error.name === 'MyError' && error.message === 'x'",
        "const error = new Error('x'); error.message = 'y'; error.name = 'z'; return `${error}` === 'z: y'",
        "const one = {}; one.toString = () => 'one'; one.constructor = 1; return `${one}` === 'one'",
        "function F() {}; F.prototype.toString = () => 'f'; return String(new F()) === 'f'",
        "const f = () => 1; f.kept = 2; return f.kept === 2",
        "class Bag extends Map { size2() { return this.size * 2 } }; return new Bag([[1, 2]]).size2() === 2",
        "return [3, 1, 2].sort().map(String).join() === '1,2,3'",
        "const all = {}; all['hasOwnProperty'] = 1; return Object.keys(all).length === 1",
    ] {
        assert_eq!(call(&mut engine(&format!("() => {{ {works} }}"))), Outcome::Granted, "{works}");
    }
}

#[test]
fn rules_that_are_others_when_the_file_is_evaluated_again_are_not_asked() {
    let engine = engine("() => true");
    let (subscribe, track) = (RuleFunction::Subscribe, RuleFunction::Track);
    for (key, rules) in
        [("p", &[][..]), ("p", &[track]), ("p", &[subscribe, track]), ("other", &[subscribe])]
    {
        assert!(engine.bind(&[(key, rules)]).is_err(), "{key} {rules:?}");
    }
    assert_eq!(engine.bind(&[("p", &[subscribe]), ("other", &[])]), Ok(()));
}

#[test]
fn a_configuration_that_changes_globals_does_not_start() {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path =
        std::env::temp_dir().join(format!("herenow-global-{}-{number}.ts", std::process::id()));
    for source in
        ["globalThis.a = 1", "Object.prototype.subscribe = () => true", "JSON.parse = null"]
    {
        fs::write(&path, format!("{source};\nexport default {{}};")).expect("a temporary file");
        let program = Arc::new(Program::load(&path, [("STAGE", "test")]).expect("JavaScript"));
        let failure = Engine::start(program).err();
        assert!(
            matches!(failure, Some(Failure::Threw { place: Some(_), .. })),
            "{source}: {failure:?}"
        );
    }
    fs::remove_file(&path).expect("it was just written");
}

#[test]
fn an_engine_whose_rules_keep_more_and_more_is_replaced_in_time() {
    let mut engine =
        engine("((kept) => () => { kept.push(new Uint8Array(1024)); return true })([])");
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

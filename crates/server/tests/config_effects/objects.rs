//! Rules in objects of every kind: read in full, or refused with what to change.

use crate::{access, expect_effective, expect_refused, namespaces};

#[test]
fn a_rule_has_its_effect_however_its_object_is_made() {
    let rule = "(auth) => auth?.role === 'admin'";
    let in_pattern = format!("{{ 'presence:*': {{ access: {{ subscribe: {rule} }} }} }}");
    expect_effective(&[
        // A Promise of the configuration is awaited.
        format!("export default (async () => ({{ realtime: {{ namespaces: {in_pattern} }} }}))();"),
        format!(
            "const load = async () => {{ await null; return {{ realtime: {{ namespaces: {in_pattern} }} }} }};
             export default defineConfig(load());"
        ),
        // Classes: methods, inherited methods, fields, private helpers, getters.
        access("new (class Rules { subscribe(auth) { return auth?.role === 'admin' } })()"),
        "class Base { subscribe(auth) { return this.#is(auth, 'admin') }
           #is(auth, role) { return auth?.role === role } }
         class Rules extends Base {}
         export default { realtime: { namespaces: { 'presence:*': { access: new Rules() } } } };"
            .into(),
        "class Rules { role = 'admin'; get track() { return (auth) => false }
           subscribe = (auth) => auth?.role === this.#role; #role = 'admin' }
         const { subscribe, track } = new Rules();
         export default { realtime: { namespaces: { 'presence:*': { access: { subscribe, track } } } } };"
            .into(),
        format!(
            "class Realtime {{ get namespaces() {{ return {in_pattern} }} }}
             class Config {{ realtime = new Realtime() }}
             export default new Config();"
        ),
        "class Access { subscribe(auth) { return auth?.role === 'admin' } }
         class Namespace { maxMembers = 5; get access() { return new Access() } }
         class Namespaces { 'presence:*' = new Namespace() }
         class Realtime { namespaces = new Namespaces() }
         export default new (class { realtime = new Realtime() })();"
            .into(),
        // Properties that `JSON.stringify` does not see.
        format!(
            "const access = Object.defineProperty({{}}, 'subscribe', {{ value: {rule} }});
             export default {{ realtime: {{ namespaces: {{ 'presence:*': {{ access }} }} }} }};"
        ),
        access(&format!("Object.create({{ subscribe: {rule} }})")),
        access(&format!("Object.assign(Object.create(null), {{ subscribe: {rule} }})")),
        access(&format!("{{ get subscribe() {{ return {rule} }} }}")),
        access(&format!("{{ subscribe: Object.assign({rule}, {{ toJSON: () => 1 }}) }}")),
        access(&format!("{{ subscribe: ({rule}).bind(null) }}")),
        access(&format!("{{ subscribe: new Proxy({rule}, {{}}) }}")),
        access(&format!("{{ async subscribe(auth) {{ await null; return ({rule})(auth) }} }}")),
        // Frozen and sealed objects, modules as objects, wrappers that change nothing.
        access(&format!("Object.freeze({{ subscribe: {rule} }})")),
        namespaces(&format!("Object.freeze(Object.seal({in_pattern}))")),
        "import * as access from './rules';
         const { subscribe } = access;
         export default { realtime: { namespaces: { 'presence:*': { access: { subscribe } } } } };"
            .into(),
        "import * as realtime from './rules';
         export default { realtime: { namespaces: realtime.namespaces } };"
            .into(),
        format!("export default defineConfig(defineConfig({{ realtime: {{ namespaces: {in_pattern} }} }}));"),
        format!(
            "export const realtime = {{ namespaces: {in_pattern} }};
             const config = {{ realtime }};
             export {{ config as default }};"
        ),
    ]);
}

#[test]
fn a_rule_that_is_there_and_is_no_function_stops_the_start_whatever_it_is() {
    let mut rows: Vec<(String, String)> = Vec::new();
    for (value, found) in [
        ("undefined", "undefined"),
        ("null", "null"),
        ("true", "true"),
        ("1", "1"),
        ("NaN", "NaN"),
        ("10n", "10n"),
        ("''", "\"\""),
        ("'\\0a function'", "a text that begins with U+0000"),
        ("Symbol('x')", "a Symbol"),
        ("{}", "an object"),
        ("[() => true]", "a list"),
        ("(async () => () => false)()", "a Promise; write `await` before it"),
        ("class {}", "a class; write a function"),
        ("function* () { yield true }", "a generator"),
        ("new Proxy({}, {})", "a Proxy"),
        ("new Map()", "an object of the kind Map"),
        ("rules.subscibe", "undefined"),
    ] {
        for rule in ["subscribe", "track"] {
            let config = access(&format!("{{ {rule}: {value} }}"));
            let config = format!("import * as rules from './rules'; rules;\n{config}");
            let says = format!("`namespaces['presence:*'].access.{rule}` is {found}");
            rows.push((config, says));
        }
    }
    let rows: Vec<_> = rows.iter().map(|(config, says)| (config.clone(), says.as_str())).collect();
    expect_refused(&rows);
}

#[test]
fn an_object_that_cannot_be_read_for_certain_stops_the_start_wherever_it_stands() {
    let rule = "{ subscribe: () => false }";
    expect_refused(&[
        (access("undefined"), "`namespaces['presence:*'].access` is undefined"),
        (access("null"), "access` is null"),
        (access("() => ({})"), "access` is a function; it should be an object of rules"),
        (access("[]"), "access` is a list"),
        (access("{}"), "access` has no effect: it has no rule"),
        (access("new (class { #subscribe() { return false } })()"), "it has no rule"),
        (access("new Map([['subscribe', () => false]])"), "is an object of the kind Map; write"),
        (access("new (class extends Map {})()"), "is an object of the kind Map"),
        (access("new Date()"), "is an object of the kind Date"),
        (access(&format!("new Proxy({rule}, {{}})")), "access` is a Proxy"),
        (access("new Proxy({}, { get: () => () => false })"), "access` is a Proxy"),
        (access(&format!("Object.create(new Proxy({rule}, {{}}))")), "a Proxy for its prototype"),
        (access("(async () => ({}))()"), "access` is a Promise; write `await`"),
        (access("{ [Symbol('subscribe')]: () => false }"), "Symbol(subscribe)']` has no effect"),
        (access("{ subscribe: () => true, toJSON: () => ({}) }"), "access.toJSON` has no effect"),
        (access("{ get subscribe() { throw new Error('not today') } }"), "Error: not today"),
        (access("{ set subscribe(x) {} }"), "access.subscribe` is undefined"),
        (access("{ get subscribe() { for (;;); } }"), "it ran for too long"),
        (
            access("new (class { subscribe() { return false } isAdmin() {} })()"),
            "access.isAdmin` has no effect",
        ),
        (namespaces("{ 'presence:*': undefined }"), "`namespaces['presence:*']` is undefined"),
        (namespaces(&format!("{{ 'presence:*': new Map([['access', {rule}]]) }}")), "the kind Map"),
        (namespaces("{ [Symbol('x')]: {} }"), "`namespaces['Symbol(x)']` has no effect"),
        ("export default { realtime: { [Symbol('x')]: 1 } };".into(), "no setting `Symbol(x)`"),
        (namespaces("undefined"), "`namespaces` is undefined; it should be an object of patterns"),
        (namespaces("null"), "`namespaces` is null"),
        (namespaces("[]"), "`namespaces` is a list"),
        (namespaces("() => ({})"), "`namespaces` is a function"),
        (namespaces("new Map([['presence:*', {}]])"), "`namespaces` is an object of the kind Map"),
        (namespaces("new Proxy({}, {})"), "`namespaces` is a Proxy"),
        (namespaces("(async () => ({}))()"), "`namespaces` is a Promise"),
        ("export default { realtime: undefined };".into(), "`realtime` is undefined"),
        ("export default { realtime: (async () => ({}))() };".into(), "`realtime` is a Promise"),
        ("export default { realtime: () => ({}) };".into(), "`realtime` is a function"),
        (
            "export default { realtime: new Map() };".into(),
            "`realtime` is an object of the kind Map",
        ),
        (
            "export default { get realtime() { throw 'no' } };".into(),
            "cannot be evaluated: it threw: no",
        ),
        ("export default { realtime: { toJSON: () => 1 } };".into(), "no setting `toJSON`"),
        (
            "export default { realtime: { presenceTTL: undefined } };".into(),
            "`presenceTTL` is undefined",
        ),
        (
            "export default { realtime: { allowedOrigins: undefined } };".into(),
            "is undefined; it should",
        ),
        (
            "export default { realtime: { trustedProxies: [,] } };".into(),
            "the network \"undefined\"",
        ),
        ("export default [];".into(), "the default export is a list"),
        ("export default null;".into(), "the default export is null"),
        ("export default new Map();".into(), "the default export is an object of the kind Map"),
        (
            "export default class { realtime = {} };".into(),
            "the default export is a function; call it",
        ),
        ("export default new Proxy({}, {});".into(), "the default export is a Proxy"),
        ("export default new Promise(() => {});".into(), "a Promise that can never settle"),
        ("export default Promise.reject(new Error('no'));".into(), "Error: no"),
    ]);
}

#[test]
fn reading_a_configuration_is_bounded_in_time_depth_and_memory() {
    expect_refused(&[
        ("const a = {}; a.a = a;\nexport default { realtime: a };".into(), "no setting `a` under"),
        (
            "const a: any = {}; a['presence:*'] = a;\nexport default { realtime: { namespaces: a } };".into(),
            "there is no setting `presence:*` under `namespaces['presence:*']`",
        ),
        (
            namespaces("{ 'presence:*': { maxMembers: [[[[[[[[[[]]]]]]]]]] } }"),
            "maxMembers` is a list",
        ),
        (
            "export default { realtime: { trustedProxies: new Array(2 ** 32 - 1) } };".into(),
            "edgebase.config.ts cannot be evaluated: it",
        ),
        (
            "const a = {}; for (const key of 'abcdefghij') a[key] = a;\nexport default { realtime: a };".into(),
            "edgebase.config.ts cannot be evaluated: it",
        ),
        (
            "export default { realtime: { presenceTTL: 'x'.repeat(9e6) } };".into(),
            "it needs more than 16 MiB of memory",
        ),
        (
            "export default { realtime: { get presenceTTL() { const all = []; for (;;) all.push({}) } } };".into(),
            "it needs more than 16 MiB of memory",
        ),
    ]);
}

//! Rules, patterns and keys at places where nothing asks them, and files that have none.

use crate::{FILE, Folder, access, check, expect_refused, namespaces};

#[test]
fn what_looks_like_a_rule_or_a_pattern_and_has_no_effect_stops_the_start() {
    let rule = "{ access: { subscribe: () => false } }";
    let in_pattern = format!("{{ 'presence:*': {rule} }}");
    expect_refused(&[
        (
            format!("export default defineConfig({{\n  realtime: {{}},\n  namespaces: {in_pattern},\n}});"),
            "edgebase.config.ts:3:3: `namespaces` has no effect here; it belongs under `realtime`",
        ),
        (format!("export default {{ namespace: {in_pattern} }};"), "belongs under `realtime`"),
        ("export default { presenceTTL: 60000 };".into(), "belongs under `realtime`"),
        (format!("export default {{ 'presence:*': {rule} }};"), "belongs under `realtime.namespaces`"),
        ("export default { access: { subscribe: () => false } };".into(), "belongs under"),
        ("export default { subscribe: () => false };".into(), "belongs under"),
        (format!("export default {{ realTime: {{ namespaces: {in_pattern} }} }};"), "under the name `realtime`"),
        (
            format!("export default {{ default: {{ realtime: {{ namespaces: {in_pattern} }} }} }};"),
            "it belongs one level higher",
        ),
        (format!("export default {{ realtime: {{ 'presence:*': {rule} }} }};"), "belongs under `realtime.namespaces`"),
        ("export default { realtime: { access: { subscribe: () => false } } };".into(), "belongs under"),
        (
            namespaces("{ 'presence:*': { subscribe: () => false } }"),
            "`subscribe` has no effect here; it belongs under `access` of the pattern",
        ),
        (
            namespaces(&format!("{{ 'secret-*': {rule} }}")),
            "`namespaces['secret-*']` has no effect: no channel can match it, since channels are \
             written presence:<name>; did you mean `presence:secret-*`?",
        ),
        (namespaces(&format!("{{ 'chat:*': {rule} }}")), "['chat:*']` has no effect: no channel"),
        (namespaces(&format!("{{ 'presence:': {rule} }}")), "did you mean `presence:*`?"),
        (namespaces(&format!("{{ 'presence:[ab]': {rule} }}")), "`[` stands for itself"),
        (namespaces(&format!("{{ 'presence:room-?': {rule} }}")), "`?` stands for itself"),
        (namespaces(&format!("{{ 'presence:{{a,b}}': {rule} }}")), "`{` stands for itself"),
        (
            namespaces(&format!("{{ 'presence:*': {{}}, 'presence:*-secret': {rule} }}")),
            "`namespaces['presence:*-secret']` has no effect: `presence:*` stands before it",
        ),
        (
            namespaces(&format!("{{ 'presence:a': {{}}, 'realtime:presence:a': {rule} }}")),
            "`namespaces['realtime:presence:a']` has no effect: `presence:a` stands before it",
        ),
        (
            namespaces(&format!("{{ 'presence:a': {rule}, 'presence:a': {{}} }}")),
            "`presence:a` appears twice in one object, and the first has no effect",
        ),
        (access("{ read: () => false }"), "access.read` has no effect: presence asks the rules"),
        (access("{ subscribe: () => true, publish: () => false }"), "access.publish` has no effect"),
        (access("{ subscibe: () => false }"), "did you mean `subscribe`?"),
        (
            format!("defineConfig({{ realtime: {{ namespaces: {in_pattern} }} }});\nexport default {{}};"),
            "edgebase.config.ts:1:1: Error: `defineConfig` was given a configuration that is not",
        ),
        (
            format!("const one = defineConfig({{ realtime: {{ namespaces: {in_pattern} }} }});\nexport default defineConfig({{}}); one;"),
            "was given a configuration that is not the default export",
        ),
        (format!("defineConfig({{ realtime: {{ namespaces: {in_pattern} }} }});"), "there is no default export"),
        (
            format!("export const realtime = {{ namespaces: {in_pattern} }};\nexport default {{}};"),
            "the export `realtime` has no effect",
        ),
        (
            format!("export const namespaces = {in_pattern};\nexport default {{ realtime: {{}} }};"),
            "the export `namespaces` has no effect",
        ),
        (
            "let last;\nexport default { realtime: { namespaces: { 'presence:*': { access: {\n subscribe: (auth) => (last ??= auth.id) === auth.id } } } } };".into(),
            "edgebase.config.ts:3:24: `last` is assigned inside a function",
        ),
    ]);
}

#[test]
fn a_json_file_is_read_as_strictly() {
    for (json, says) in [
        (r#"{"realtime":{"namespaces":{"secret-*":{}}}}"#, "no channel can match it"),
        (r#"{"namespaces":{"presence:*":{"maxMembers":1}}}"#, "`namespaces` has no effect here"),
        (
            "{\"realtime\":{\"presenceTTL\":60000,\n\"presenceTTL\":90000}}",
            "edgebase.config.json:2:",
        ),
        (
            r#"{"realtime":{"maxMembers":5},"realtime":{}}"#,
            "1:43: the key \"realtime\" appears twice in an object",
        ),
        (r#"{"realtime":{"__proto__":{}}}"#, "a key is `__proto__`"),
        (
            "{\"realtime\":{\"namespaces\":{\"presence:*\":{\"access\":{\"subscribe\":\"\\u0000a function\"}}}}}",
            "a text that begins with U+0000; it should be a function",
        ),
    ] {
        let (code, _, said) = Folder::with(&[("edgebase.config.json", json)]).run(&["check"]);
        assert_eq!(code, Some(1), "{json}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn what_has_no_effect_stops_a_server_as_well() {
    let rule = "{ access: { subscribe: () => false } }";
    for (config, says) in [
        (access("{ subscribe: undefined }"), "access.subscribe` is undefined"),
        (namespaces(&format!("(async () => ({{ 'presence:*': {rule} }}))()")), "is a Promise"),
        (
            format!("export default defineConfig({{ namespaces: {{ 'presence:*': {rule} }} }});"),
            "belongs",
        ),
        (namespaces(&format!("{{ 'secret-*': {rule} }}")), "no channel can match it"),
        (access("{ read: () => false }"), "access.read` has no effect"),
        (namespaces(&format!("{{ 'presence:[ab]': {rule} }}")), "`[` stands for itself"),
        (namespaces(&format!("{{ 'presence:room-?': {rule} }}")), "`?` stands for itself"),
    ] {
        let folder = Folder::with(&[(FILE, &config)]);
        let (code, _, said) = folder.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(code, Some(2), "{config}\n{said}");
        assert!(said.contains(says), "{says}\nis not in\n{said}");
    }
}

#[test]
fn what_belongs_to_other_programs_is_ignored_with_a_warning_where_that_is_allowed() {
    let config =
        "export default { databases: {}, namespaces: {}, realtime: { other: 1, namespaces: {
        'chat:*': { access: { subscribe: () => true } },
        'presence:[ab]': { access: { subscribe: () => true } },
        'presence:*': { access: { subscribe: () => false, publish: () => true }, color: 'red' },
        'presence:*-x': {} } } };";
    for arguments in [&["check", "--allow-unknown"][..], &["check"]] {
        let folder = Folder::with(&[(FILE, config)]);
        let (code, printed, said) = folder.run(arguments);
        if arguments.len() == 1 {
            assert_eq!(code, Some(1));
            continue;
        }
        assert_eq!(code, Some(0), "{said}");
        assert!(printed.contains("presence:[ab]"), "{printed}");
        for ignored in [
            "databases",
            "`namespaces` has no effect here",
            "`other`",
            "['chat:*']`",
            "['presence:[ab]']`",
            ".publish`",
            "`color`",
            "['presence:*-x']`",
        ] {
            let named = said.lines().filter(|line| line.contains("WARN") && line.contains(ignored));
            assert_eq!(named.count(), 1, "{ignored}\n{said}");
        }
        assert_eq!(said.lines().count(), 8, "{said}");
    }
    // A misspelt key is no other program's.
    let (code, _, said) = check(&access("{ subscibe: () => false }"), &["--allow-unknown"]);
    assert!(code == Some(1) && said.contains("did you mean `subscribe`?"), "{said}");
}

#[test]
fn a_start_without_rules_says_what_that_means() {
    let no_rules = "no rules: every authenticated user may subscribe and track everywhere";
    for (config, is_open) in [
        (None, true),
        (Some("export default {};".to_owned()), true),
        (Some(namespaces("{ 'presence:*': { maxMembers: 5 } }")), true),
        (Some(access("{ subscribe: () => true }")), false),
        (Some(access("{ track: () => true }")), false),
    ] {
        let folder = Folder::with(&[]);
        if let Some(config) = &config {
            folder.0.write(FILE, config);
        }
        let (code, _, said) = folder.run(&["check"]);
        let lines = said.lines().filter(|line| line.contains(no_rules)).count();
        assert_eq!((code, lines), (Some(0), usize::from(is_open)), "{config:?}\n{said}");
        // The address is none of this machine's, so the server ends by itself.
        let (_, _, said) = folder.run(&["serve", "--listen", "192.0.2.1:0"]);
        let lines = said.lines().filter(|line| line.contains(no_rules)).count();
        assert_eq!(lines, usize::from(is_open), "{config:?}\n{said}");
    }
}

//! Settings as operators write them, right and wrong.

use super::super::{Origin, check_text};
use super::*;

fn parse(json: &str) -> Result<Reading, ConfigError> {
    parse_with(json, Unknown::Refused)
}

fn parse_with(json: &str, unknown: Unknown) -> Result<Reading, ConfigError> {
    super::parse(&Source::from_json(Path::new("/x/settings.json"), json.into())?, unknown)
}

fn settings(realtime: &str) -> Settings {
    let reading = parse(&format!("{{\"realtime\":{realtime}}}"));
    reading.expect("these settings are right").settings
}

fn complaint(realtime: &str) -> String {
    match parse(&format!("{{\"realtime\":{realtime}}}")) {
        Ok(reading) => panic!("{realtime} should be refused, gave {reading:?}"),
        Err(error) => error.to_string(),
    }
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn what_the_file_does_not_name_keeps_its_default() {
    let expected = Settings { presence_ttl_ms: 90_000, max_members: 5, ..Settings::default() };
    let given = settings(r#"{"presenceTTL": 90000, "maxMembers": 5}"#);
    assert_eq!(given, expected);
    assert_eq!(parse("{}").expect("empty").settings, Settings::default());
}

#[test]
fn a_misspelt_key_is_refused_with_the_nearest_one() {
    for (written, meant) in [
        ("presenceTtl", "presenceTTL"),
        ("presence_ttl", "presenceTTL"),
        ("authTimeoutMS", "authTimeoutMs"),
        ("maxMember", "maxMembers"),
        ("namespace", "namespaces"),
    ] {
        let said = complaint(&format!("{{\"{written}\": 1}}"));
        let meant = format!("did you mean `{meant}`?");
        assert!(said.contains(&meant), "{said}");
    }
    let said = complaint(r#"{"colour": 1}"#);
    assert!(said.contains("--help") && !said.contains("did you mean"), "{said}");
}

#[test]
fn a_former_key_is_refused_with_the_present_one() {
    for (former, present) in [
        ("outboxBytes", "sendQueueBytes"),
        ("maxNewcomersPerAddress", "maxUnauthenticatedPerAddress"),
    ] {
        let json = format!("{{\"realtime\": {{\n \"{former}\": 65536}}}}");
        for unknown in [Unknown::Refused, Unknown::Ignored] {
            let said = parse_with(&json, unknown).expect_err("it has been renamed").to_string();
            let expected = format!("`{former}` has been renamed: write `{present}` instead");
            assert_eq!(said, format!("settings.json:2:2: {expected}"));
        }
        let said = parse(&format!("{{\"{former}\": 65536}}")).expect_err("misplaced").to_string();
        assert!(said.contains("it belongs under `realtime`"), "{said}");
        let renamed = settings(&format!("{{\"{present}\": 65536}}"));
        assert_ne!(renamed, Settings::default());
    }
}

#[test]
fn a_former_variable_is_refused_with_the_present_one() {
    for (former, present) in [
        ("HERENOW_OUTBOX_BYTES", "HERENOW_SEND_QUEUE_BYTES"),
        ("HERENOW_MAX_NEWCOMERS_PER_ADDRESS", "HERENOW_MAX_UNAUTHENTICATED_PER_ADDRESS"),
    ] {
        let given = environment(&[(former, "65536")]);
        let said = load(None, &given, Unknown::Ignored).expect_err("it has been renamed");
        let expected = format!("`{former}` has been renamed: write `{present}` instead");
        assert_eq!(said.to_string(), expected);
        let given = environment(&[(present, "65536")]);
        let loaded = load(None, &given, Unknown::Refused).expect("the present name is right");
        assert_ne!(loaded.settings, Settings::default());
    }
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_bounds_is_refused_with_what_would_be_right() {
    for value in ["\"60000\"", "999", "86400001", "-1", "60000.5", "null", "true", "[]"] {
        let said = complaint(&format!("{{\"presenceTTL\": {value}}}"));
        let right = "it should be a whole number of ms from 1000 to 86400000";
        assert!(said.contains(right), "{said}");
    }
    let said = complaint("{\"trustedProxies\": \"10.0.0.0/8\"}");
    assert!(said.contains("a list of addresses or networks"), "{said}");
    let said = complaint("{\"allowedOrigins\": \"https://a.b\"}");
    assert!(said.contains("a list of origins"), "{said}");
}

#[test]
fn an_item_of_the_wrong_type_is_named_by_its_place_in_the_list() {
    for (setting, right) in [("trustedProxies", "a network"), ("allowedOrigins", "an origin")] {
        let list = if setting == "trustedProxies" { "10.0.0.1" } else { "https://a.b" };
        let said = complaint(&format!("{{\"{setting}\": [\"{list}\", 7]}}"));
        let expected = format!("`{setting}[1]` is 7; it should be ");
        assert!(said.contains(&expected) && said.contains(right), "{said}");
    }
    let webhook = |fields: &str| {
        let webhook = format!("{{\"url\": \"https://a.b/\", {fields}}}");
        complaint(&format!("{{\"webhooks\": [{webhook}]}}"))
    };
    let said = webhook("\"channels\": [\"presence:*\", null]");
    assert!(said.contains("`webhooks[0].channels[1]` is null; it should be"), "{said}");
    let said = webhook("\"channels\": [\"presence:*\"], \"events\": [7]");
    assert!(said.contains("`webhooks[0].events[0]` is 7; it should be"), "{said}");
}

#[test]
fn an_item_of_a_list_that_can_never_match_is_refused_with_what_to_write() {
    for (setting, item, says) in [
        ("trustedProxies", "proxy.local", "write an IP address or a network"),
        ("metricsFrom", "0.0.0.0", "for all of them write 0.0.0.0/0"),
        ("allowedOrigins", "example.com", "write `https://example.com`"),
        ("allowedOrigins", "https://a.b/path", "write `https://a.b`"),
        ("allowedOrigins", "*", "leave the setting out"),
    ] {
        let said = complaint(&format!("{{\"{setting}\": [\"{item}\"]}}"));
        assert!(said.contains(setting) && said.contains(item) && said.contains(says), "{said}");
    }
    let wrong = environment(&[("HERENOW_ALLOWED_ORIGINS", "https://a.b, wss://c.d")]);
    let said =
        load(None, &wrong, Unknown::Refused).expect_err("no page has this origin").to_string();
    let expected = "`HERENOW_ALLOWED_ORIGINS` names the origin \"wss://c.d\": ";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn an_empty_variable_leaves_a_list_as_it_is_and_commas_alone_are_refused() {
    let mut origins = settings(r#"{"allowedOrigins": ["https://a.b"]}"#);
    let setting = SETTINGS.iter().find(|setting| setting.key == "allowedOrigins");
    let setting = setting.expect("it is one");
    set_from_text(&mut origins, setting, " ").expect("it counts as not set");
    assert_eq!(origins.allowed_origins, [Origin::parse("https://a.b").expect("an origin")]);
    assert!(check_text(setting, ",").is_err());
}

#[test]
fn a_file_that_is_no_json_is_refused_with_its_place() {
    let said = parse("{\n  \"realtime\": }").expect_err("no JSON").to_string();
    assert!(said.starts_with("settings.json:2:15: "), "{said}");
    let said = parse("[]").expect_err("no object").to_string();
    assert!(said.starts_with("the file is a list; it should be an object"), "{said}");
    let said = parse(r#"{"realtime":1}"#).expect_err("no object").to_string();
    assert!(
        said.starts_with("settings.json:1:2: `realtime` is 1; it should be an object"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_is_pointed_at() {
    let said = complaint("{\n \"maxMembers\": 5,\n \"presenceTTL\": 1}");
    assert!(said.starts_with("settings.json:3:2: `presenceTTL` is 1; "), "{said}");
    let said = complaint("{\"namespaces\":{\n\"presence:*\":{\"maxMembers\":0}}}");
    let expected = "settings.json:2:15: `namespaces['presence:*'].maxMembers` is 0; ";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn other_keys_of_the_file_are_named_in_one_line_and_ignored() {
    let loaded = parse(r#"{"databases":{},"auth":{},"realtime":{}}"#).expect("accepted");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("databases, auth"), "{:?}", loaded.warnings);
}

#[test]
fn a_json_file_may_set_what_holds_for_a_pattern_but_holds_no_rules() {
    let rules = settings(
        r#"{"namespaces":{"presence:*":{"maxMembers":5},"presence:a":{"presenceTTL":90000}}}"#,
    )
    .rules;
    let rows: Vec<_> = rules
        .rows()
        .iter()
        .map(|(pattern, row)| (pattern.as_str(), row.max_members, row.presence_ttl_ms))
        .collect();
    assert_eq!(rows, [("presence:a", None, Some(90_000)), ("presence:*", Some(5), None)]);
    for (namespaces, says) in [
        ("[]", "an object of patterns"),
        (r#"{"presence:*":1}"#, "an object, as in"),
        (r#"{"presence:*":{"maxMember":1}}"#, "did you mean `maxMembers`?"),
        (r#"{"presence:*":{"access":true}}"#, "an object of rules"),
        (r#"{"presence:*":{"access":{"subscribe":true}}}"#, "a JSON file can hold none"),
        (r#"{"presence:*":{"access":{"subscibe":true}}}"#, "did you mean `subscribe`?"),
    ] {
        let said = complaint(&format!("{{\"namespaces\":{namespaces}}}"));
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let loaded = load(
        None,
        &environment(&[
            ("HERENOW_PRESENCE_TTL", "70000"),
            ("HERENOW_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ]),
        Unknown::Refused,
    )
    .expect("right");
    assert_eq!(loaded.settings.presence_ttl_ms, 70_000);
    assert_eq!(loaded.settings.trusted_proxies.len(), 2);
    let wrong = environment(&[("HERENOW_MAX_MEMBERS", "many")]);
    let said = load(None, &wrong, Unknown::Refused).expect_err("no number").to_string();
    assert!(said.starts_with("`HERENOW_MAX_MEMBERS` is \"many\""), "{said}");
}

#[test]
fn a_lease_shorter_than_two_pings_is_warned_of() {
    let warnings = |ms: &str| {
        let given = environment(&[("HERENOW_PRESENCE_TTL", ms)]);
        let warnings = load(None, &given, Unknown::Refused).expect("within bounds").warnings;
        warnings.iter().filter(|said| said.contains("presenceTTL")).count()
    };
    assert_eq!((warnings("59999"), warnings("60000")), (1, 0));
    let per_pattern = r#"{"realtime":{"namespaces":{"presence:x":{"presenceTTL":59999}}}}"#;
    let warnings = parse(per_pattern).expect("within bounds").warnings;
    assert!(warnings[0].starts_with("namespaces['presence:x'].presenceTTL is"), "{warnings:?}");
}

#[test]
fn patterns_are_bounded_in_number() {
    let patterns = |count: usize| {
        let rows: Vec<_> = (0..count).map(|at| format!("\"presence:{at}\":{{}}")).collect();
        format!("{{\"namespaces\":{{{}}}}}", rows.join(","))
    };
    assert_eq!(settings(&patterns(4096)).rules.rows().len(), 4096);
    let said = complaint(&patterns(4097));
    assert!(
        said.contains("`namespaces` is an object; it should be an object of at most 4096"),
        "{said}"
    );
}

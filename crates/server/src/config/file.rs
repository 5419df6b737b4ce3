//! Settings from a JSON file and from the environment. Knows how to say what is wrong and what
//! would be right; the table knows what the settings are.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::ConfigError;
use super::settings::{Network, Settings};
use super::table::{Kind, SETTINGS, Setting};

/// Settings that were read, with what the operator should hear about them.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Checked values.
    pub settings: Settings,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// Reads the file, if there is one, then the environment, then judges them together.
pub fn load(
    path: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let mut loaded = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
                path: path.into(),
                reason: error.kind(),
            })?;
            parse(&text)?
        }
        None => Loaded::default(),
    };
    for setting in SETTINGS {
        if let Some(text) = environment(setting.env) {
            set_from_text(&mut loaded.settings, setting, &text)?;
        }
    }
    warn_of_combinations(&mut loaded);
    Ok(loaded)
}

/// Reads the text of a settings file.
fn parse(text: &str) -> Result<Loaded, ConfigError> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| ConfigError::NotJson { line: error.line(), column: error.column() })?;
    let Value::Object(file) = value else {
        return Err(ConfigError::NotAnObject { what: "the file" });
    };
    let mut loaded = Loaded::default();
    let ignored: Vec<&str> =
        file.keys().map(String::as_str).filter(|key| *key != "realtime").collect();
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        loaded.warnings.push(format!("ignored, since Herenow reads `realtime` alone: {names}"));
    }
    match file.get("realtime") {
        None => {}
        Some(Value::Object(realtime)) => parse_realtime(realtime, &mut loaded)?,
        Some(_) => {
            return Err(ConfigError::NotAnObject { what: "`realtime`" });
        }
    }
    Ok(loaded)
}

fn parse_realtime(realtime: &Map<String, Value>, loaded: &mut Loaded) -> Result<(), ConfigError> {
    for (key, value) in realtime {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            set_from_json(&mut loaded.settings, setting, value)?;
        } else if let Some(warning) = not_in_effect(key, value)? {
            loaded.warnings.extend(warning);
        } else {
            return Err(ConfigError::UnknownKey { key: shortened(key), nearest: nearest_key(key) });
        }
    }
    Ok(())
}

/// Keys that a file written for a later version may hold. They are checked for their type, so that
/// a typing error does not hide until then. `None`: not such a key; `Some(None)`: it asks for
/// nothing that this version lacks.
fn not_in_effect(key: &str, value: &Value) -> Result<Option<Option<String>>, ConfigError> {
    let (name, is_right, asks, expected) = match key {
        "namespaces" => ("namespaces", value.is_object(), true, "an object"),
        _ => return Ok(None),
    };
    if !is_right {
        return Err(bad_value(name, value, expected.into()));
    }
    Ok(Some(
        asks.then(|| format!("`{name}` is not in effect in this version; it is read and ignored")),
    ))
}

const NOT_IN_EFFECT: &[&str] = &["namespaces"];

fn set_from_json(
    settings: &mut Settings,
    setting: &Setting,
    value: &Value,
) -> Result<(), ConfigError> {
    let wrong = || bad_value(setting.key, value, expectation(setting.kind));
    let texts = || -> Option<Vec<&str>> { value.as_array()?.iter().map(Value::as_str).collect() };
    match setting.kind {
        Kind::Number { min, max, write, .. } => {
            let number = value.as_u64().filter(|n| (min..=max).contains(n));
            write(settings, number.ok_or_else(wrong)?);
        }
        Kind::Networks { field } => {
            let networks = texts().and_then(|list| list.into_iter().map(Network::parse).collect());
            *field(settings) = networks.ok_or_else(wrong)?;
        }
        Kind::Origins { field } => {
            let origins = texts().and_then(|list| list.into_iter().map(origin).collect());
            *field(settings) = origins.ok_or_else(wrong)?;
        }
    }
    Ok(())
}

/// The environment holds text: numbers as digits, lists with commas.
fn set_from_text(
    settings: &mut Settings,
    setting: &Setting,
    text: &str,
) -> Result<(), ConfigError> {
    let value = match setting.kind {
        Kind::Number { .. } => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Kind::Networks { .. } | Kind::Origins { .. } => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
        }
    };
    set_from_json(settings, setting, &value).map_err(|error| match error {
        ConfigError::BadValue { found, expected, .. } => ConfigError::BadValue {
            name: setting.env,
            found,
            expected: expected.replace("a list of", "a comma-separated list of"),
        },
        other => other,
    })
}

/// What is allowed by itself and still unwise.
fn warn_of_combinations(loaded: &mut Loaded) {
    let ttl = loaded.settings.presence_ttl_ms;
    if ttl < 2 * CLIENT_PING_INTERVAL_MS {
        loaded.warnings.push(format!(
            "presenceTTL is {ttl} ms, less than twice the {CLIENT_PING_INTERVAL_MS} ms between two \
             pings of a client: one late ping and somebody who is here is told gone. Set it to \
             {} or more.",
            2 * CLIENT_PING_INTERVAL_MS
        ));
    }
}

/// What the client libraries keep to.
const CLIENT_PING_INTERVAL_MS: u64 = 30_000;

fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Number { unit, min, max, .. } => {
            format!("a whole number of {unit} from {min} to {max}")
        }
        Kind::Networks { .. } => "a list of addresses or networks such as 10.0.0.0/8".into(),
        Kind::Origins { .. } => "a list of origins such as https://example.com".into(),
    }
}

/// An origin as browsers send it, so that comparing is comparing bytes.
fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    (matches!(scheme, "http" | "https") && is_host).then_some(text)
}

fn bad_value(name: &'static str, value: &Value, expected: String) -> ConfigError {
    ConfigError::BadValue { name, found: shortened(&value.to_string()), expected }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The key most like `key`, if any is like it at all.
fn nearest_key(key: &str) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let known = SETTINGS.iter().map(|setting| setting.key);
    known
        .chain(NOT_IN_EFFECT.iter().copied())
        .map(|candidate| (edit_distance(&lower, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(realtime: &str) -> Settings {
        let loaded = parse(&format!("{{\"realtime\":{realtime}}}"));
        loaded.expect("these settings are right").settings
    }

    fn complaint(realtime: &str) -> String {
        match parse(&format!("{{\"realtime\":{realtime}}}")) {
            Ok(loaded) => panic!("{realtime} should be refused, gave {loaded:?}"),
            Err(error) => error.to_string(),
        }
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
    fn a_value_of_the_wrong_type_or_out_of_bounds_is_refused_with_what_would_be_right() {
        for value in ["\"60000\"", "999", "86400001", "-1", "60000.5", "null", "true", "[]"] {
            let said = complaint(&format!("{{\"presenceTTL\": {value}}}"));
            let right = "it should be a whole number of ms from 1000 to 86400000";
            assert!(said.contains(right), "{said}");
        }
        for value in [r#""10.0.0.0/8""#, r#"["10.0.0.0/33"]"#, r#"["proxy.local"]"#, "[1]"] {
            let said = complaint(&format!("{{\"trustedProxies\": {value}}}"));
            assert!(said.contains("a list of addresses or networks"), "{said}");
        }
        for value in [r#"["example.com"]"#, r#"["https://a.b/path"]"#, r#"["*"]"#] {
            let said = complaint(&format!("{{\"allowedOrigins\": {value}}}"));
            assert!(said.contains("a list of origins"), "{said}");
        }
    }

    #[test]
    fn a_file_that_is_no_json_is_refused_with_its_place() {
        let said = parse("{\n  \"realtime\": }").expect_err("no JSON").to_string();
        assert!(said.contains("line 2"), "{said}");
        let said = parse("[]").expect_err("no object").to_string();
        assert!(said.starts_with("the file should be an object"), "{said}");
        let said = parse(r#"{"realtime":1}"#).expect_err("no object").to_string();
        assert!(said.starts_with("`realtime` should be an object"), "{said}");
    }

    #[test]
    fn other_keys_of_the_file_are_named_in_one_line_and_ignored() {
        let loaded = parse(r#"{"databases":{},"auth":{},"realtime":{}}"#).expect("accepted");
        assert_eq!(loaded.warnings.len(), 1);
        assert!(loaded.warnings[0].contains("auth, databases"), "{:?}", loaded.warnings);
    }

    #[test]
    fn what_a_later_version_will_do_is_checked_and_warned_of() {
        let warned = |realtime: &str| {
            parse(&format!("{{\"realtime\":{realtime}}}")).map(|loaded| loaded.warnings.len())
        };
        assert_eq!(warned(r#"{"namespaces":{"presence:*":{}}}"#), Ok(1));
        assert!(warned(r#"{"namespaces":[]}"#).is_err());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let environment = |name: &str| match name {
            "HERENOW_PRESENCE_TTL" => Some("70000".to_owned()),
            "HERENOW_TRUSTED_PROXIES" => Some("10.0.0.0/8, ::1".to_owned()),
            _ => None,
        };
        let loaded = load(None, environment).expect("right");
        assert_eq!(loaded.settings.presence_ttl_ms, 70_000);
        assert_eq!(loaded.settings.trusted_proxies.len(), 2);
        let wrong = |name: &str| (name == "HERENOW_MAX_MEMBERS").then(|| "many".to_owned());
        let said = load(None, wrong).expect_err("no number").to_string();
        assert!(said.starts_with("`HERENOW_MAX_MEMBERS` is \"many\""), "{said}");
    }

    #[test]
    fn a_lease_shorter_than_two_pings_is_warned_of() {
        let ttl = |ms: &'static str| {
            load(None, move |name| (name == "HERENOW_PRESENCE_TTL").then(|| ms.to_owned()))
                .expect("within bounds")
                .warnings
                .len()
        };
        assert_eq!((ttl("59999"), ttl("60000")), (1, 0));
    }
}

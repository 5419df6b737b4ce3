//! Settings from the configuration file and from the environment. Knows how to say what is wrong
//! and what would be right; the table knows what the settings are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::ConfigError;
use super::namespaces;
use super::nearest::nearest;
use super::network::Network;
use super::origin::Origin;
use super::settings::Settings;
use super::source::Source;
use super::table::{Kind, SETTINGS, Setting};
use crate::access::Rules;

/// Settings that were read, with what the operator should hear about them.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Checked values.
    pub settings: Settings,
    /// Sentences for the log.
    pub warnings: Vec<String>,
    /// The configuration file, if there is one, and all that it imports.
    pub files: Vec<PathBuf>,
}

/// What is known so far while a file is read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) settings: Settings,
    pub(super) warnings: Vec<String>,
}

/// What is wrong, and at which key.
#[derive(Debug)]
pub(super) struct Wrong {
    path: Vec<String>,
    error: ConfigError,
}

/// Reads the file, if there is one, then the environment, then judges them together. Code runs
/// within the bounds that its engine can keep; who must not be lost in it reads in another process.
pub fn load(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let source = path.map(|path| Source::read(path, environment)).transpose()?;
    judge(source, environment)
}

/// Reads the file at `path`, and refuses it where its values are wrong.
pub fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Source, ConfigError> {
    let source = Source::read(path, environment)?;
    parse(&source)?;
    Ok(source)
}

/// Judges a file that has been read, if there is one, and the environment together.
pub fn judge(
    source: Option<Source>,
    environment: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let mut reading = Reading::default();
    let mut files = Vec::new();
    if let Some(source) = source {
        reading = parse(&source)?;
        files = source.files;
    }
    for setting in SETTINGS {
        if let Some(text) = environment.get(setting.env) {
            set_from_text(&mut reading.settings, setting, text)?;
        }
    }
    let ttl = reading.settings.presence_ttl_ms;
    reading.warn_of_ttl("presenceTTL", ttl);
    let Reading { settings, warnings } = reading;
    Ok(Loaded { settings, warnings, files })
}

/// Checks what a file holds.
fn parse(source: &Source) -> Result<Reading, ConfigError> {
    let mut reading = Reading::default();
    let ignored: Vec<&str> =
        source.keys.iter().map(String::as_str).filter(|key| *key != "realtime").collect();
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        reading.warnings.push(format!("ignored, since Herenow reads `realtime` alone: {names}"));
    }
    let parsed = match &source.realtime {
        None => Ok(()),
        Some(Value::Object(realtime)) => parse_realtime(realtime, source, &mut reading),
        Some(_) => Err(Wrong::new(&["realtime"], ConfigError::NotAnObject { what: "`realtime`" })),
    };
    match parsed {
        Ok(()) => Ok(reading),
        Err(Wrong { path, error }) => {
            Err(ConfigError::At { place: source.locate(&path), error: Box::new(error) })
        }
    }
}

fn parse_realtime(
    realtime: &Map<String, Value>,
    source: &Source,
    reading: &mut Reading,
) -> Result<(), Wrong> {
    for (key, value) in realtime {
        if key == NAMESPACES {
            let namespaces = namespaces::parse(value, reading)?;
            reading.settings.rules = Rules::new(namespaces, source.program.clone());
        } else if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            set_from_json(&mut reading.settings, setting, value)
                .map_err(|error| Wrong::new(&["realtime", key], error))?;
        } else {
            let known = SETTINGS.iter().map(|setting| setting.key).chain([NAMESPACES]);
            let error = ConfigError::UnknownKey {
                key: shown(key),
                under: "realtime".into(),
                nearest: nearest(key, known),
            };
            return Err(Wrong::new(&["realtime", key], error));
        }
    }
    Ok(())
}

const NAMESPACES: &str = "namespaces";

/// A number at `path`, within the bounds of the setting that has the same name.
pub(super) fn number(path: &[&str], value: &Value) -> Result<u64, Wrong> {
    let key = path.last().copied().unwrap_or_default();
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let kind = setting.expect("a namespace's numbers are settings by themselves").kind;
    let Kind::Number { min, max, .. } = kind else {
        unreachable!("a namespace's settings are numbers");
    };
    let number = value.as_u64().filter(|n| (min..=max).contains(n));
    number.ok_or_else(|| Wrong::value(path, value, &expectation(kind)))
}

fn set_from_json(
    settings: &mut Settings,
    setting: &Setting,
    value: &Value,
) -> Result<(), ConfigError> {
    let wrong = || bad_value(setting.key, value, &expectation(setting.kind));
    let texts = || -> Option<Vec<&str>> { value.as_array()?.iter().map(Value::as_str).collect() };
    let bad = |item: &str, wrong| ConfigError::BadItem {
        name: setting.key.into(),
        item: shown(item),
        wrong,
    };
    match setting.kind {
        Kind::Number { min, max, write, .. } => {
            let number = value.as_u64().filter(|n| (min..=max).contains(n));
            write(settings, number.ok_or_else(wrong)?);
        }
        Kind::Networks { field } => {
            let parse = |item| Network::parse(item).map_err(|error| bad(item, error.into()));
            let texts = texts().ok_or_else(wrong)?;
            *field(settings) = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
        }
        Kind::Origins { field } => {
            let parse = |item| Origin::parse(item).map_err(|error| bad(item, error.into()));
            let texts = texts().ok_or_else(wrong)?;
            *field(settings) = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
        }
    }
    Ok(())
}

/// Whether `text` is right for `setting`, as a flag or the environment gives it.
pub fn check_text(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    set_from_text(&mut Settings::default(), setting, text)
}

/// The environment holds text: numbers as digits, lists with commas.
fn set_from_text(
    settings: &mut Settings,
    setting: &Setting,
    text: &str,
) -> Result<(), ConfigError> {
    let value = match setting.kind {
        Kind::Number { .. } => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        // Compose files pass a variable that is not set as an empty one, which must not turn a
        // list of the file into one that allows everything.
        Kind::Networks { .. } | Kind::Origins { .. } if text.trim().is_empty() => return Ok(()),
        Kind::Networks { .. } | Kind::Origins { .. } => {
            let items: Vec<&str> =
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            // Commas alone are a mistake, and are shown as they are.
            if items.is_empty() { text.into() } else { items.into() }
        }
    };
    set_from_json(settings, setting, &value).map_err(|error| match error {
        ConfigError::BadValue { found, expected, .. } => ConfigError::BadValue {
            name: setting.env.into(),
            found,
            expected: expected.replace("a list of", "a comma-separated list of"),
        },
        ConfigError::BadItem { item, wrong, .. } => {
            ConfigError::BadItem { name: setting.env.into(), item, wrong }
        }
        other => other,
    })
}

impl Reading {
    /// Allowed, and still unwise.
    pub(super) fn warn_of_ttl(&mut self, name: &str, ttl_ms: u64) {
        let wise = 2 * CLIENT_PING_INTERVAL_MS;
        if ttl_ms < wise {
            self.warnings.push(format!(
                "{name} is {ttl_ms} ms, less than twice the {CLIENT_PING_INTERVAL_MS} ms between \
                 two pings of a client: one late ping and somebody who is here is told gone. Set \
                 it to {wise} or more."
            ));
        }
    }
}

impl Wrong {
    pub(super) fn new(path: &[&str], error: ConfigError) -> Self {
        Self { path: path.iter().map(|key| (*key).to_owned()).collect(), error }
    }

    /// A value that should be something else.
    pub(super) fn value(path: &[&str], value: &Value, expected: &str) -> Self {
        Self::new(path, bad_value(&of(path), value, expected))
    }
}

/// A path of keys as one writes it, without the `realtime` that all have in common.
pub(super) fn of(path: &[&str]) -> String {
    let mut text = String::new();
    for key in path.iter().skip(1) {
        let is_name = key.chars().all(|c| c.is_ascii_alphanumeric());
        match (is_name, text.is_empty()) {
            (true, true) => text.push_str(key),
            (true, false) => text.extend([".", *key]),
            (false, _) => text.extend(["['", &shown(key), "']"]),
        }
    }
    text
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

fn bad_value(name: &str, value: &Value, expected: &str) -> ConfigError {
    let found = match value {
        // What JSON cannot write is described by a string that begins so.
        Value::String(text) if text.starts_with('\0') => shown(&text[1..]),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            shown(&value.to_string())
        }
        // Functions may be in there, and nobody wants to read all of it.
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    };
    ConfigError::BadValue { name: name.into(), found, expected: expected.into() }
}

/// Text from a file, fit for one line of a log.
pub(super) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;

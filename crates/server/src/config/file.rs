//! Settings from the configuration file and from the environment. Knows how to say what is wrong
//! and what would be right; the table knows what the settings are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ConfigError, shown};
use super::namespaces::{self, RULES};
use super::nearest::nearest;
use super::network::{Network, NetworkError};
use super::renamed::{self, RENAMED};
use super::settings::Settings;
use super::source::Source;
use super::table::{Kind, SETTINGS};
use super::value::{expectation, set_from_json, set_from_text};
use super::webhooks;
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

/// What becomes of what looks like a part of the configuration and has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unknown {
    /// It is an error: a rule that nothing asks leaves channels open.
    #[default]
    Refused,
    /// It is a warning: the file serves other programs as well.
    Ignored,
}

/// What is known so far while a file is read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    unknown: Unknown,
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
    unknown: Unknown,
) -> Result<Loaded, ConfigError> {
    let source = path.map(|path| Source::read(path, environment)).transpose()?;
    judge(source, environment, unknown)
}

/// Reads the file at `path`, and refuses it where its values are wrong.
pub fn read(
    path: &Path,
    environment: &BTreeMap<String, String>,
    unknown: Unknown,
) -> Result<Source, ConfigError> {
    let source = Source::read(path, environment)?;
    parse(&source, unknown)?;
    Ok(source)
}

/// Judges a file that has been read, if there is one, and the environment together.
pub fn judge(
    source: Option<Source>,
    environment: &BTreeMap<String, String>,
    unknown: Unknown,
) -> Result<Loaded, ConfigError> {
    let mut reading = Reading::default();
    let mut files = Vec::new();
    if let Some(source) = source {
        reading = parse(&source, unknown)?;
        files = source.files;
    }
    renamed::check_environment(environment)?;
    for setting in SETTINGS {
        // Compose files pass a variable that is not set as an empty one.
        let given = environment.get(setting.env).filter(|text| !text.trim().is_empty());
        if let Some(text) = given {
            set_from_text(&mut reading.settings, setting, text)?;
        }
    }
    let ttl = reading.settings.presence_ttl_ms;
    reading.warn_of_ttl("presenceTTL", ttl);
    if !reading.settings.rules.has_any() {
        reading.warnings.push(NO_RULES.into());
    }
    reading.judge_metrics()?;
    let Reading { settings, warnings, .. } = reading;
    Ok(Loaded { settings, warnings, files })
}

/// What it means that no rule decides.
const NO_RULES: &str = "no rules: every authenticated user may subscribe and track everywhere";

/// Checks what a file holds.
fn parse(source: &Source, unknown: Unknown) -> Result<Reading, ConfigError> {
    let mut reading = Reading { unknown, ..Reading::default() };
    let parsed = parse_top(source, &mut reading);
    match parsed {
        Ok(()) => Ok(reading),
        Err(Wrong { path, error }) => {
            Err(ConfigError::At { place: source.locate(&path), error: Box::new(error) })
        }
    }
}

fn parse_top(source: &Source, reading: &mut Reading) -> Result<(), Wrong> {
    let mut ignored = Vec::new();
    for key in source.keys.iter().filter(|key| *key != REALTIME) {
        match where_it_belongs(key) {
            Some(belongs) => reading.find_misplaced(key, belongs)?,
            None => ignored.push(shown(key)),
        }
    }
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        reading.warnings.push(format!("ignored, since Herenow reads only `realtime`: {names}"));
    }
    match &source.realtime {
        None => Ok(()),
        Some(Value::Object(realtime)) => parse_realtime(realtime, source, reading),
        Some(other) => {
            Err(Wrong::new(&[REALTIME], ConfigError::not_an_object("`realtime`", other)))
        }
    }
}

/// Where a key at the top belongs that is one of Herenow's, or nearly. The file may have others for
/// other programs.
fn where_it_belongs(key: &str) -> Option<&'static str> {
    let former = RENAMED.iter().map(|renamed| renamed.key);
    let settings = SETTINGS.iter().map(|setting| setting.key).chain(PARTS).chain(former);
    if is_of_namespaces(key) {
        Some("under `realtime.namespaces`")
    } else if nearest(key, settings).is_some() {
        Some("under `realtime`")
    } else if nearest(key, [REALTIME]).is_some() {
        Some("under the name `realtime`")
    } else if key == "default" {
        Some("one level higher; export by default what it holds")
    } else {
        None
    }
}

/// Whether a key looks like a pattern or like something that belongs to one.
fn is_of_namespaces(key: &str) -> bool {
    key.contains("presence:") || key == ACCESS || RULES.contains(&key)
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
        } else if key == WEBHOOKS {
            reading.settings.webhooks = webhooks::parse(value, reading)?.into();
        } else if is_of_namespaces(key) {
            return Err(Wrong::misplaced(&[REALTIME, key], "under `realtime.namespaces`"));
        } else if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            set_from_json(&mut reading.settings, setting, value)
                .map_err(|error| Wrong::new(&[REALTIME, key], error))?;
        } else {
            renamed::check_key(key).map_err(|error| Wrong::new(&[REALTIME, key], error))?;
            let known = SETTINGS.iter().map(|setting| setting.key).chain(PARTS);
            reading.find_unknown(&[REALTIME, key], nearest(key, known))?;
        }
    }
    Ok(())
}

const REALTIME: &str = "realtime";
const NAMESPACES: &str = "namespaces";
const WEBHOOKS: &str = "webhooks";
/// What a configuration has beside its settings.
const PARTS: [&str; 2] = [NAMESPACES, WEBHOOKS];
const ACCESS: &str = "access";

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

impl Reading {
    /// What stands at `path` looks like a rule or a pattern and is never asked.
    pub(super) fn find_no_effect(&mut self, path: &[&str], reason: String) -> Result<(), Wrong> {
        let what = format!("`{}`", of(path));
        self.find(path, ConfigError::NoEffect { what, reason })
    }

    /// A key at the top of the file that belongs elsewhere.
    fn find_misplaced(&mut self, key: &str, belongs: &'static str) -> Result<(), Wrong> {
        self.find(&[key], ConfigError::Misplaced { key: shown(key), belongs })
    }

    /// The key at `path` does not exist. A misspelt one is refused in any case.
    pub(super) fn find_unknown(
        &mut self,
        path: &[&str],
        nearest: Option<&'static str>,
    ) -> Result<(), Wrong> {
        let (key, under) = path.split_last().expect("a path names a key");
        let under = if under.len() > 1 { of(under) } else { REALTIME.into() };
        let error = ConfigError::UnknownKey { key: shown(key), under, nearest };
        match nearest {
            Some(_) => Err(Wrong::new(path, error)),
            None => self.find(path, error),
        }
    }

    fn find(&mut self, path: &[&str], error: ConfigError) -> Result<(), Wrong> {
        match self.unknown {
            Unknown::Refused => Err(Wrong::new(path, error)),
            Unknown::Ignored => {
                self.warnings.push(format!("ignored: {error}"));
                Ok(())
            }
        }
    }

    /// A proxy's requests are other peers' requests, and on one machine the two look alike.
    fn judge_metrics(&mut self) -> Result<(), ConfigError> {
        let Settings { metrics_from, metrics_listen, trusted_proxies, .. } = &self.settings;
        let is_proxy = |named: &&Network| trusted_proxies.iter().any(|proxy| proxy.covers(named));
        if metrics_listen.is_none()
            && let Some(named) = metrics_from.iter().find(is_proxy)
        {
            let (name, item) = ("metricsFrom".into(), named.to_string());
            return Err(ConfigError::BadItem { name, item, wrong: NetworkError::Proxy.into() });
        }
        if metrics_from.iter().any(Network::has_loopback) {
            self.warnings.push(
                "metricsFrom names this machine: a proxy on it that adds no X-Forwarded-For \
                 publishes /metrics. Set metricsListen, or ask for a token with METRICS_TOKEN_FILE."
                    .into(),
            );
        }
        Ok(())
    }

    /// Allowed, and still unwise.
    pub(super) fn warn_of_ttl(&mut self, name: &str, ttl_ms: u64) {
        let wise = 2 * CLIENT_PING_INTERVAL_MS;
        if ttl_ms < wise {
            self.warnings.push(format!(
                "{name} is {ttl_ms} ms, less than twice the {CLIENT_PING_INTERVAL_MS} ms between \
                 two pings of a client, so one late ping ends the presence of a user who is still \
                 there. Set it to {wise} or more."
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
        Self::new(path, ConfigError::bad_value(&of(path), value, expected))
    }

    /// A key that stands at the wrong place.
    pub(super) fn misplaced(path: &[&str], belongs: &'static str) -> Self {
        let key = shown(path.last().copied().unwrap_or_default());
        Self::new(path, ConfigError::Misplaced { key, belongs })
    }
}

/// A path of keys as one writes it, without the `realtime` that all have in common.
pub(super) fn of(path: &[&str]) -> String {
    let mut text = String::new();
    for key in path.iter().skip(1) {
        if !text.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
            text.extend(["[", key, "]"]);
            continue;
        }
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

#[cfg(test)]
mod tests;

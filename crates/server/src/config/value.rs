//! The value of one setting, from JSON or from text. Every value is checked here; where it was written
//! is not known.

use serde_json::Value;

use super::address::listen_address;
use super::error::{ConfigError, shown};
use super::network::Network;
use super::origin::Origin;
use super::settings::Settings;
use super::table::{Kind, Setting};

/// As a file has it.
pub(super) fn set_from_json(
    settings: &mut Settings,
    setting: &Setting,
    value: &Value,
) -> Result<(), ConfigError> {
    let wrong = || ConfigError::bad_value(setting.key, value, &expectation(setting.kind));
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
            *field(settings) =
                texts(setting, value)?.into_iter().map(parse).collect::<Result<_, _>>()?;
        }
        Kind::Address { field } => {
            let address = value.as_str().and_then(listen_address);
            *field(settings) = Some(address.ok_or_else(wrong)?);
        }
        Kind::Origins { field } => {
            let parse = |item| Origin::parse(item).map_err(|error| bad(item, error.into()));
            *field(settings) =
                texts(setting, value)?.into_iter().map(parse).collect::<Result<_, _>>()?;
        }
    }
    Ok(())
}

/// The items of a list. What is no list, or an item of it that is no text, is named.
fn texts<'a>(setting: &Setting, value: &'a Value) -> Result<Vec<&'a str>, ConfigError> {
    let wrong = || ConfigError::bad_value(setting.key, value, &expectation(setting.kind));
    let text = |(number, item): (usize, &'a Value)| {
        item.as_str().ok_or_else(|| {
            let name = format!("{}[{number}]", setting.key);
            ConfigError::bad_value(&name, item, expected_item(setting.kind))
        })
    };
    value.as_array().ok_or_else(wrong)?.iter().enumerate().map(text).collect()
}

/// Whether `text` is right for `setting`, as a flag or the environment gives it.
pub fn check_text(setting: &Setting, text: &str) -> Result<(), ConfigError> {
    set_from_text(&mut Settings::default(), setting, text)
}

/// As a flag or the environment has it: numbers as digits, lists with commas.
pub(super) fn set_from_text(
    settings: &mut Settings,
    setting: &Setting,
    text: &str,
) -> Result<(), ConfigError> {
    let value = match setting.kind {
        Kind::Number { .. } => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        // An empty flag must not turn a list of the file into one that allows everything.
        Kind::Networks { .. } | Kind::Origins { .. } | Kind::Address { .. }
            if text.trim().is_empty() =>
        {
            return Ok(());
        }
        Kind::Address { .. } => text.trim().into(),
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

/// What a setting should be, in a few words.
pub(super) fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Number { unit, min, max, .. } => {
            format!("a whole number of {unit} from {min} to {max}")
        }
        Kind::Networks { .. } => "a list of addresses or networks such as 10.0.0.0/8".into(),
        Kind::Address { .. } => "an address and a port such as 127.0.0.1:9460".into(),
        Kind::Origins { .. } => "a list of origins such as https://example.com".into(),
    }
}

fn expected_item(kind: Kind) -> &'static str {
    match kind {
        Kind::Networks { .. } => "an address or a network such as '10.0.0.0/8'",
        _ => "an origin such as 'https://example.com'",
    }
}

//! Settings in words, for those who check or change them.

use super::settings::Settings;
use super::table::{Kind, SETTINGS, Setting};

/// Each setting's key and value.
pub fn in_effect(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut settings = settings.clone();
    SETTINGS.iter().map(|setting| (setting.key, value(&mut settings, setting))).collect()
}

/// The keys of the settings in which two differ.
pub fn changed(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let pairs = in_effect(before).into_iter().zip(in_effect(after));
    pairs.filter(|(before, after)| before != after).map(|((key, _), _)| key).collect()
}

fn value(settings: &mut Settings, setting: &Setting) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "none".into() } else { items.join(", ") };
    match setting.kind {
        Kind::Number { unit, read, .. } => format!("{} {unit}", read(settings)),
        Kind::Networks { field } => list(field(settings).iter().map(ToString::to_string).collect()),
        Kind::Address { field } => {
            field(settings).map_or_else(|| "none".into(), |address| address.to_string())
        }
        Kind::Origins { field } => match field(settings).as_slice() {
            [] => "any".into(),
            origins => list(origins.iter().map(ToString::to_string).collect()),
        },
    }
}

//! Names that settings had before. An operator who still uses one is told the present name: a setting
//! that was ignored would leave a bound at its default without a word.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::table::{SETTINGS, Setting};

/// The former names of one setting.
#[derive(Clone, Copy, Debug)]
pub struct Renamed {
    /// The former key under `realtime`.
    pub key: &'static str,
    /// The former environment variable.
    pub env: &'static str,
    /// The former flag, without its dashes.
    pub flag: &'static str,
    /// The present key.
    to: &'static str,
}

/// Every setting that has been renamed.
pub const RENAMED: &[Renamed] = &[
    Renamed {
        key: "outboxBytes",
        env: "HERENOW_OUTBOX_BYTES",
        flag: "outbox-bytes",
        to: "sendQueueBytes",
    },
    Renamed {
        key: "maxNewcomersPerAddress",
        env: "HERENOW_MAX_NEWCOMERS_PER_ADDRESS",
        flag: "max-newcomers-per-address",
        to: "maxUnauthenticatedPerAddress",
    },
];

impl Renamed {
    /// What to say to an operator who uses the former flag.
    pub fn flag_error(&self) -> ConfigError {
        ConfigError::Renamed {
            from: format!("--{}", self.flag),
            to: format!("--{}", self.setting().flag),
        }
    }

    fn setting(&self) -> &'static Setting {
        let setting = SETTINGS.iter().find(|setting| setting.key == self.to);
        setting.expect("a test holds every present key to the table of settings")
    }
}

/// Whether `key` is the former name of a setting, and what to say then.
pub(super) fn check_key(key: &str) -> Result<(), ConfigError> {
    match RENAMED.iter().find(|renamed| renamed.key == key) {
        Some(renamed) => {
            Err(ConfigError::Renamed { from: key.into(), to: renamed.setting().key.into() })
        }
        None => Ok(()),
    }
}

/// Refuses an environment in which a former variable is set.
pub(super) fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    match RENAMED.iter().find(|renamed| environment.contains_key(renamed.env)) {
        Some(renamed) => {
            Err(ConfigError::Renamed { from: renamed.env.into(), to: renamed.setting().env.into() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_name_leads_to_a_setting_and_is_not_in_use() {
        for renamed in RENAMED {
            let present = renamed.setting();
            for setting in SETTINGS {
                assert_ne!(setting.key, renamed.key);
                assert_ne!(setting.env, renamed.env);
                assert_ne!(setting.flag, renamed.flag);
            }
            let said = renamed.flag_error().to_string();
            let (from, to) = (renamed.flag, present.flag);
            assert_eq!(said, format!("`--{from}` has been renamed: write `--{to}` instead"));
        }
    }
}

//! The flags that stand in tables: settings, and what keys are made of. They are made from the
//! tables, with their help; each stands for an environment variable and wins over it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args, FromArgMatches};
use herenow_server::config::{
    self, ConfigError, KEY_SETTINGS, KeySetting, RENAMED, Renamed, SETTINGS, Setting,
};

use crate::environment;

/// What was given, each under the name of its environment variable.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    given: Vec<(&'static str, OsString)>,
    /// A flag that has another name now.
    renamed: Option<&'static Renamed>,
}

impl Flags {
    /// The value of the flag that stands for this environment variable, or of the variable.
    pub fn or_environment(&self, name: &str) -> Option<OsString> {
        let given = self.given.iter().find(|(env, _)| *env == name);
        given.map(|(_, value)| value.clone()).or_else(|| environment::variable(name))
    }

    /// Refuses a flag by the name that it had before.
    pub fn check_names(&self) -> Result<(), ConfigError> {
        self.renamed.map_or(Ok(()), |renamed| Err(renamed.flag_error()))
    }

    /// The environment as it would be if flags were a part of it.
    pub fn over_environment(&self) -> BTreeMap<String, String> {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let mut all: BTreeMap<_, _> =
            environment::variables().map(|(name, value)| (text(name), text(value))).collect();
        all.extend(self.given.iter().map(|(env, value)| ((*env).to_owned(), text(value.clone()))));
        all
    }
}

impl Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let settings = SETTINGS.iter().map(setting_argument);
        let keys = KEY_SETTINGS.iter().filter_map(key_argument);
        command.args(keys).args(settings).args(RENAMED.iter().map(former_argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(given: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(given)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, given: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            let value = given.get_one::<String>(setting.flag);
            self.given.extend(value.map(|value| (setting.env, value.into())));
        }
        for (env, flag) in KEY_SETTINGS.iter().filter_map(|key| Some((key.env, key.flag?))) {
            let value = given.get_one::<OsString>(flag.name);
            self.given.extend(value.map(|value| (env, value.clone())));
        }
        let is_given = |renamed: &&Renamed| given.contains_id(renamed.flag);
        self.renamed = RENAMED.iter().find(is_given);
        Ok(())
    }
}

fn setting_argument(setting: &'static Setting) -> Arg {
    let check = |text: &str| match config::check_text(setting, text) {
        Ok(()) => Ok(text.to_owned()),
        Err(ConfigError::BadValue { expected, .. }) => Err(format!("it should be {expected}")),
        Err(other) => Err(other.to_string()),
    };
    Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(setting.value_name())
        .value_parser(check)
        .help_heading("Settings")
        .help(format!(
            "{} [key: {}] [env: {}] [default: {}] [allowed: {}]",
            setting.meaning,
            setting.key,
            setting.env,
            setting.default(),
            setting.allowed()
        ))
}

/// A flag that has been renamed is taken with any value, so that the error names the present flag.
fn former_argument(renamed: &'static Renamed) -> Arg {
    Arg::new(renamed.flag).long(renamed.flag).num_args(0..=1).hide(true)
}

fn key_argument(key: &'static KeySetting) -> Option<Arg> {
    let flag = key.flag?;
    let argument = Arg::new(flag.name).long(flag.name).value_name(flag.value);
    let help = format!("{} [env: {}]", key.meaning, key.env);
    let any = clap::value_parser!(OsString);
    Some(argument.value_parser(any).help_heading("Token keys").help(help))
}

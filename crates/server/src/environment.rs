//! Which variables of the environment are meant as settings. Knows no setting.
//!
//! A variable that is empty counts as unset: compose files and unit files pass one on that nobody
//! has set. Kubernetes sets variables in each container for each service, so a service named
//! `herenow` sets `HERENOW_PORT=tcp://10.0.0.7:4600`, which no operator has written.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::Resettable;

/// The value of a variable, unless it is empty or set by Kubernetes.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| is_meant(OsStr::new(name), value))
}

/// All variables but those that would be settings and are not meant so.
pub fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    let is_own = |name: &OsStr| name.as_encoded_bytes().starts_with(OWN_PREFIX.as_bytes());
    std::env::vars_os().filter(move |(name, value)| !is_own(name) || is_meant(name, value))
}

/// The command, which takes nothing from variables that are not meant.
pub fn heed(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let is_set = argument
            .get_env()
            .is_none_or(|name| std::env::var_os(name).is_none_or(|value| is_meant(name, &value)));
        if is_set { argument } else { argument.env(Resettable::Reset) }
    });
    command.mut_subcommands(heed)
}

/// What the names of settings begin with.
const OWN_PREFIX: &str = "HERENOW_";

/// What the addresses begin with that Kubernetes gives to a container.
const KUBERNETES: [&str; 3] = ["tcp://", "udp://", "sctp://"];

fn is_meant(name: &OsStr, value: &OsStr) -> bool {
    let (name, value) = (name.as_encoded_bytes(), value.as_encoded_bytes());
    let is_own = name.starts_with(OWN_PREFIX.as_bytes());
    let is_address = KUBERNETES.iter().any(|scheme| value.starts_with(scheme.as_bytes()));
    let is_from_kubernetes = is_own && is_address;
    !value.is_empty() && !is_from_kubernetes
}

//! A `herenow` as a process of its own: what every test that starts one needs.
//!
//! Refuses to know how long it runs, who reads its log and when it ends: those are what such tests
//! are about.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// The binary with these arguments, without the settings of the one who runs the tests. The path is
/// `env!("CARGO_BIN_EXE_herenow")`, which only the tests of `herenow-server` know.
pub fn herenow(binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    // A backtrace would stand between the lines of a report of a fault.
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["HERENOW_", "JWT_", "METRICS_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Sends the process with this id a signal by its name, `TERM` for example.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(sent.expect("there is a kill").success(), "the process runs");
}

/// The address that a line of the log states: of `address`, in `listening address=127.0.0.1:80`.
pub fn logged_address(line: &str, name: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(&format!("{name}="))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A number of `/proc/PID/status`: of `RssAnon`, the KiB of memory that belong to no file.
pub fn status_number(child: &Child, name: &str) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let status = std::fs::read_to_string(path).expect("the process runs");
    let prefix = format!("{name}:");
    let line = status.lines().find_map(|line| line.strip_prefix(&prefix));
    let text = line.expect("the kernel states it").trim().trim_end_matches(" kB");
    text.parse().expect("it is a number")
}

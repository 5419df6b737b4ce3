//! The command as an operator meets it: a process, its exit code, and the one sentence it says.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

fn herenow(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herenow"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("HERENOW_") || name.starts_with("JWT_") {
            command.env_remove(name);
        }
    }
    command
}

fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn serve_without_a_key_says_what_to_set() {
    let (code, _, said) = outcome(&mut herenow(&["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("JWT_USER_SECRET_FILE") && said.contains("herenow dev"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_empty_secret_is_refused() {
    let mut command = herenow(&["serve", "--listen", "127.0.0.1:0"]);
    let (code, _, said) = outcome(command.env("JWT_USER_SECRET", ""));
    assert_eq!(code, Some(2));
    assert!(said.contains("empty"), "{said}");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let port = address.port().to_string();
    let (code, _, said) = outcome(&mut herenow(&["dev", "--port", &port]));
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("port {port}")) && said.contains("--port"), "{said}");
    let mut serve = herenow(&["serve", "--listen", &address.to_string()]);
    let (code, _, said) = outcome(serve.env("JWT_USER_SECRET", "x".repeat(32)));
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("port {port}")) && said.contains("--listen"), "{said}");
}

#[test]
fn wrong_settings_are_refused_with_what_would_be_right() {
    let mut command = herenow(&["dev", "--port", "0"]);
    let (code, _, said) = outcome(command.env("HERENOW_PRESENCE_TTL", "soon"));
    assert_eq!(code, Some(2));
    assert!(said.contains("HERENOW_PRESENCE_TTL") && said.contains("whole number"), "{said}");
    let (code, _, said) = outcome(&mut herenow(&["dev", "--config", "/nowhere/at/all.json"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere/at/all.json"), "{said}");
}

#[test]
fn help_shows_examples_and_every_setting() {
    let (code, said, _) = outcome(&mut herenow(&["--help"]));
    assert_eq!(code, Some(0));
    assert!(said.contains("Examples:") && said.contains("herenow token --user jane"), "{said}");
    let (_, said, _) = outcome(&mut herenow(&["serve", "--help"]));
    for key in ["presenceTTL", "HERENOW_MAX_CONNECTIONS", "allowedOrigins", "--listen"] {
        assert!(said.contains(key), "{key}\n{said}");
    }
}

#[test]
fn token_prints_a_token_and_nothing_else() {
    let mut command =
        herenow(&["token", "--user", "jane", "--ttl", "1h", "--claims", "{\"team\":7}"]);
    let (code, said, errors) = outcome(command.env("JWT_USER_SECRET", "x".repeat(32)));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(said.trim_end().split('.').count(), 3, "{said}");
    let (code, _, said) = outcome(&mut herenow(&["token", "--user", "jane"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("JWT_USER_SECRET"), "{said}");
}

#[test]
fn a_short_secret_is_warned_of_and_never_shown() {
    let mut command = herenow(&["token", "--user", "jane"]);
    let (code, _, errors) = outcome(command.env("JWT_USER_SECRET", "hunter2"));
    assert_eq!(code, Some(0));
    assert!(errors.contains("shorter than 32 bytes"), "{errors}");
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn dev_says_where_it_is_and_stops_on_sigterm_and_sigint() {
    for signal in ["TERM", "INT"] {
        let mut server = herenow(&["dev", "--port", "0", "--log-format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut said = BufReader::new(server.stdout.take().expect("it is piped")).lines();
        let greeting = said.next().expect("a greeting").expect("UTF-8");
        assert!(greeting.contains("http://127.0.0.1:"), "{greeting}");
        let last = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("Ctrl-C")));
        last.expect("the whole greeting").expect("UTF-8");
        kill(&server, signal);
        let status = server.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        let mut logs = String::new();
        let mut stderr = server.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut logs).expect("UTF-8");
        for line in logs.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
    }
}

fn kill(server: &Child, signal: &str) {
    let id = server.id().to_string();
    let killed = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(killed.expect("kill runs").success());
}

//! Configuration and key files that are gone, endless, nested without bound, or no files at all: a
//! start ends with a sentence, and a running server goes on with what it has. Nothing sleeps.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::process::{CLOSED, Folder, Limit, PUBLIC, Running, herenow};

/// Never comes back, and no engine can interrupt it.
const ENDLESS: &str = "console.log('it begins');
    Array.prototype.join.call({ length: 2 ** 53 }, '');
    export default defineConfig({});";

/// Twice what a load may take: this machine may be busy.
const GIVEN_UP: Duration = Duration::from_secs(20);

fn nested(depth: usize) -> String {
    format!("export default {}{};", "[".repeat(depth), "]".repeat(depth))
}

fn make_fifo(folder: &Folder, name: &str) {
    let made = Command::new("mkfifo").arg(folder.path().join(name)).status().expect("mkfifo runs");
    assert!(made.success());
}

/// What a server says that does not start.
fn refusal(folder: &Folder, arguments: &[&str]) -> String {
    let began = Instant::now();
    let mut command = herenow(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let child = command.args(arguments).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let _limit = Limit::of(&child);
    let output = child.wait_with_output().expect("it was started");
    assert!(began.elapsed() < GIVEN_UP, "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// The rules of [`PUBLIC`] are still asked, and the server still answers.
async fn expect_public(running: &Running) {
    let mut observer = running.observer().await;
    observer.send(json!({"type": "ping"})).await;
    assert_eq!(observer.next_message().await["type"], "pong");
}

#[tokio::test]
async fn a_file_that_is_gone_leaves_the_rules_in_force() {
    let folder = Folder::with(CLOSED);
    let running = Running::serve(&folder);
    let file = folder.path().join("edgebase.config.ts");
    for replaced_by in [None, Some("edgebase.config.json")] {
        let _ = std::fs::remove_file(&file);
        // Another file under another name is not the one that was in force.
        if let Some(name) = replaced_by {
            std::fs::write(folder.path().join(name), "{}").expect("the folder can be written");
        }
        running.hang_up();
        let said = running.wait_for("stays in force");
        assert!(
            said.contains("edgebase.config.ts cannot be read: there is no such file"),
            "{said}"
        );
        running.expect_denied().await;
    }
    folder.write(PUBLIC);
    running.hang_up();
    running.wait_for("new rules are in force");
    expect_public(&running).await;
}

#[tokio::test]
async fn a_file_that_would_be_found_first_waits_for_the_next_start() {
    let folder = Folder::with(CLOSED);
    let file = folder.path().join("edgebase.config.mjs");
    std::fs::rename(folder.path().join("edgebase.config.ts"), file)
        .expect("the folder can be written");
    let running = Running::serve(&folder);
    folder.write(PUBLIC);
    running.hang_up();
    let said = running.wait_for("the next start");
    assert!(said.contains("edgebase.config.ts"), "{said}");
    running.wait_for("new rules are in force");
    running.expect_denied().await;
}

#[tokio::test]
async fn a_hostile_file_is_given_up_and_the_server_goes_on() {
    let folder = Folder::with(PUBLIC);
    let running = Running::serve(&folder);
    for (config, says) in [
        (nested(2_000), "edgebase.config.ts"),
        (nested(200_000), "nested too deeply"),
        (ENDLESS.into(), "a loop, a regular expression or an array method without an end"),
        ("/(a*)*b/.test('a'.repeat(9999)); export default {}".into(), "for too long"),
        (" ".repeat(1024 * 1024 + 1), "longer than 1024 KiB"),
    ] {
        folder.write(&config);
        running.hang_up();
        let said = running.wait_for("stays in force");
        assert!(said.contains(says), "{said}");
        expect_public(&running).await;
    }
    std::fs::remove_file(folder.path().join("edgebase.config.ts")).expect("it is there");
    make_fifo(&folder, "edgebase.config.ts");
    running.hang_up();
    let said = running.wait_for("stays in force");
    assert!(said.contains("not a regular file"), "{said}");
    expect_public(&running).await;
}

#[tokio::test]
async fn a_file_that_is_still_being_read_delays_no_stop_and_ends_with_the_server() {
    let folder = Folder::with(PUBLIC);
    let mut running = Running::serve(&folder);
    folder.write(ENDLESS);
    running.hang_up();
    running.wait_for("it begins");
    let reader = running.child_process();
    running.signal("TERM");
    running.wait_for("stopped");
    let status = running.process.ended_within(GIVEN_UP).expect("it ends");
    assert!(status.success());
    let began = Instant::now();
    while process_runs(&reader) {
        assert!(began.elapsed() < Duration::from_secs(2), "the reader goes on by itself");
        std::thread::yield_now();
    }
}

fn process_runs(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_start_that_would_hang_or_crash_ends_with_a_sentence() {
    for (config, says) in [
        (nested(200_000), "nested too deeply"),
        (ENDLESS.into(), "a loop, a regular expression or an array method without an end"),
    ] {
        let folder = Folder::with(&config);
        std::fs::write(folder.path().join("secret"), "s".repeat(32)).expect("it can be written");
        let said = refusal(&folder, &["--secret-file", "secret"]);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn check_names_a_rule_that_does_not_come_back() {
    let folder = Folder::with(
        "export default defineConfig({ realtime: { namespaces: { 'presence:*': { access: {
            subscribe: () => Array.prototype.join.call({ length: 2 ** 53 }, '') === '' } } } } });",
    );
    let output =
        herenow(folder.path(), &["check", "presence:x"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("the rule does not return"), "{said}");
}

#[test]
fn a_configuration_sees_the_environment_without_secrets() {
    let folder = Folder::with(
        "const { JWT_USER_SECRET, SERVICE_KEY, METRICS_TOKEN, JWT_ISSUER, STAGE } = process.env;
        const secrets = [JWT_USER_SECRET, SERVICE_KEY, METRICS_TOKEN];
        throw new Error([...secrets, JWT_ISSUER, process.env.HERENOW_LOG_LEVEL, STAGE].join());",
    );
    let mut command = herenow(folder.path(), &["check"]);
    command.env("JWT_USER_SECRET", "s3cret").env("JWT_ISSUER", "me").env("STAGE", "test");
    command.env("HERENOW_LOG_LEVEL", "warn");
    command.env("SERVICE_KEY", "k".repeat(32)).env("METRICS_TOKEN", "m".repeat(16));
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("Error: ,,,me,warn,test"), "{said}");
}

#[test]
fn a_fifo_in_place_of_a_file_is_refused_and_not_waited_for() {
    let folder = Folder::with(PUBLIC);
    std::fs::write(folder.path().join("secret"), "s".repeat(32)).expect("it can be written");
    make_fifo(&folder, "fifo");
    for (arguments, names) in [
        (&["--secret-file", "fifo"][..], "JWT_USER_SECRET_FILE"),
        (&["--jwks", "fifo"], "the JWKS file"),
        (&["--secret-file", "/dev/zero"], "JWT_USER_SECRET_FILE"),
        (&["--secret-file", "secret", "--config", "fifo"], "the configuration file fifo"),
    ] {
        let said = refusal(&folder, arguments);
        assert!(said.contains(names) && said.contains("not a regular file"), "{said}");
    }
    std::fs::remove_file(folder.path().join("edgebase.config.ts")).expect("it is there");
    make_fifo(&folder, "edgebase.config.ts");
    let said = refusal(&folder, &["--secret-file", "secret"]);
    assert!(said.contains("edgebase.config.ts") && said.contains("not a regular file"), "{said}");
}

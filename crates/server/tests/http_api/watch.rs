//! `herenow watch` against a running server.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use herenow_testing::{Process, Setup};
use serde_json::{Value, json};

use crate::commands::{command, outcome};
use crate::server::{KEY, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// A command that runs, and what it writes to standard output.
struct Watching {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(server: &Server, words: &[&str]) -> Self {
        let url = format!("http://{}", server.0.addr);
        let mut command = command(&[&["watch", "--url", &url], words].concat());
        command.env("SERVICE_KEY", KEY).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let stdout = process.child().stdout.take().expect("it is piped");
        Self { process, lines: BufReader::new(stdout).lines() }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("UTF-8")
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).expect("one object a line")
    }
}

fn put(server: &Server, key: &str, n: u32) {
    let member = json!({"userId": "bot", "state": {"n": n}, "ttlMs": 3_600_000});
    let status = server.put(&format!("/channels/a/presence/{key}"), member).status;
    assert!((200..300).contains(&status), "{status}");
}

#[test]
fn watch_writes_a_line_for_each_event_and_ends_with_0_when_it_is_interrupted() {
    let server = Server::start();
    put(&server, "one", 1);
    let mut as_json = Watching::start(&server, &["a", "--json"]);
    let mut as_text = Watching::start(&server, &["presence:a"]);
    let sync = as_json.json();
    assert_eq!((&sync["type"], &sync["channel"]), (&json!("presence_sync"), &json!("presence:a")));
    assert_eq!(sync["presences"][0]["state"], json!({"n": 1}));
    assert!(as_text.line().ends_with("Z  list               members: 1"));
    assert!(as_text.line().ends_with("  {\"n\":1}"));
    let remove = || drop(server.send("DELETE", "/channels/a/presence/two", None));
    // One after the other: changes that one flush tells are merged.
    let steps: [(&dyn Fn(), &str, &str); 3] = [
        (&|| put(&server, "two", 2), "presence_join", "joined             bot"),
        (&|| put(&server, "two", 3), "presence_update", "changed            bot"),
        (&remove, "presence_leave", "left (leave)       bot"),
    ];
    for (change, kind, text) in steps {
        change();
        let (event, line) = (as_json.json(), as_text.line());
        assert_eq!(event["type"], kind);
        let id = event["connectionId"].as_str().expect("an id");
        assert!(line.contains(text) && line.contains(id), "{line}");
    }
    for mut watching in [as_json, as_text] {
        watching.process.signal("INT");
        let ended = watching.process.ended_within(PATIENCE).expect("it ends");
        assert_eq!(ended.code(), Some(0));
    }
}

#[test]
fn watch_asks_again_when_the_server_was_away_and_says_so() {
    let server = Server::start();
    put(&server, "one", 1);
    let mut watching = Watching::start(&server, &["a", "--json"]);
    assert_eq!(watching.json()["presences"][0]["state"], json!({"n": 1}));
    let addr = server.0.addr;
    server.0.join();
    watching.process.wait_for("the server has ended the stream; retrying in 0.");
    watching.process.wait_for("cannot reach");
    let server = Server::at(Setup { addr, ..Setup::default() });
    let sync = watching.json();
    assert_eq!((&sync["type"], &sync["presences"]), (&json!("presence_sync"), &json!([])));
    put(&server, "one", 2);
    assert_eq!(watching.json()["type"], "presence_join");
}

#[test]
fn watch_ends_with_1_if_it_may_not_or_there_is_no_server_and_with_2_if_its_words_are_wrong() {
    let server = Server::start();
    let url = format!("http://{}", server.0.addr);
    for (words, key, wanted) in [
        (["watch", "a", "--url", &url], "x".repeat(32), (1, "none of those in SERVICE_KEY")),
        (["watch", "a", "--url", "http://127.0.0.1:1"], KEY.into(), (1, "cannot reach")),
        (["watch", "presence:", "--url", &url], KEY.into(), (2, "channel")),
        (["watch", "a", "--url", "http:/"], KEY.into(), (2, "or https:// and its proxy")),
    ] {
        let (code, said, errors) = outcome(command(&words).env("SERVICE_KEY", key).output());
        assert_eq!((code, &*said), (wanted.0, ""), "{words:?} {errors}");
        assert!(errors.contains(wanted.1), "{words:?} {errors}");
    }
}

#[test]
fn watch_ends_when_nobody_reads_what_it_writes() {
    let server = Server::start();
    let mut watching = Watching::start(&server, &["a"]);
    watching.line();
    drop(watching.lines);
    put(&server, "one", 1);
    let ended = watching.process.ended_within(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(0));
}

//! `herenow channels`, `who`, `where`, `explain` and `kick` against a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::server::{KEY, Server};

/// The command's exit code, standard output and standard error.
fn run(server: &Server, words: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", server.0.addr);
    outcome(command(&[words, &["--url", &url]].concat()).env("SERVICE_KEY", KEY).output())
}

pub fn command(words: &[&str]) -> std::process::Command {
    herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), words)
}

pub fn outcome(ended: std::io::Result<Output>) -> (i32, String, String) {
    let ended = ended.expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (ended.status.code().expect("it exits"), text(ended.stdout), text(ended.stderr))
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

#[tokio::test]
async fn each_command_tells_what_the_api_tells_as_a_table_or_as_json() {
    let server = Server::start();
    let (_jane, id) = server.join("jane", "presence:game 1", json!({"n": 1})).await;
    let (_joe, _) = server.join("joe", "presence:lobby", json!({})).await;

    let (code, said, _) = run(&server, &["channels"]);
    let columns: Vec<Vec<_>> = said.lines().map(|l| l.split("  ").collect()).collect();
    assert_eq!((code, columns.len(), columns[0][0].trim()), (0, 3, "channel"), "{said}");
    let (code, said, _) = run(&server, &["channels", "game", "--json"]);
    assert_eq!((code, objects(&said)), (0, vec![server.get("/channels/game%201").json()]));

    let (code, said, _) = run(&server, &["who", "game 1"]);
    assert!(code == 0 && said.contains(&id) && said.contains("{\"n\":1}"), "{said}");
    let (code, said, _) = run(&server, &["who", "presence:game 1", "--json"]);
    let members = server.get("/channels/game%201/presence").json();
    assert_eq!((code, Value::from(objects(&said))), (0, members["presences"].clone()));

    let (code, said, _) = run(&server, &["where", "jane", "--json"]);
    let found = objects(&said);
    assert_eq!((code, found.len(), &found[0]["channel"]), (0, 1, &json!("presence:game 1")));
    assert_eq!(found[0]["connectionId"], json!(id));

    let (code, said, _) = run(&server, &["explain", "game 1", "jane"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(code == 0 && lines[0].starts_with("jane is in presence:game 1. "), "{said}");
    assert!(lines[1].starts_with("- A connection of jane is a member of"), "{said}");
    let (code, said, _) = run(&server, &["explain", "game 1", "nobody", "--json"]);
    assert_eq!((code, &objects(&said)[0]["isHere"]), (0, &json!(false)));

    let (code, said, _) = run(&server, &["kick", "game 1", "jane", "--for", "1h"]);
    assert!(code == 0 && said.contains("connections removed: 1"), "{said}");
    let (code, said, errors) = run(&server, &["kick", "game 1", "jane", "--json"]);
    assert_eq!((code, objects(&said)), (1, vec![json!({"connections": 0})]));
    assert!(errors.contains("jane was not in game 1"), "{errors}");
}

#[test]
fn what_is_not_there_or_not_allowed_is_1_and_wrong_words_are_2() {
    let server = Server::start();
    for (words, wanted) in [
        (&["who", "nobody"][..], (1, "nobody has no members")),
        (&["where", "jane"], (1, "jane is in no channel")),
        (&["who", "presence:"], (2, "channel")),
        (&["kick", "a", "jane", "--for", "25h"], (2, "forMs")),
        (&["kick", "a"], (2, "<USER>")),
        (&["explain", "presence:", "jane"], (2, "channel")),
    ] {
        let (code, said, errors) = run(&server, words);
        assert_eq!((code, &*said), (wanted.0, ""), "{words:?} {errors}");
        assert!(errors.contains(wanted.1), "{words:?} {errors}");
    }
    let (code, said, errors) = run(&server, &["channels"]);
    assert_eq!((code, &*said, &*errors), (0, "", ""), "no channel is in use");
    let url = format!("http://{}", server.0.addr);
    let with =
        |key: &str| outcome(command(&["channels", "--url", &url]).env("SERVICE_KEY", key).output());
    let (code, _, errors) = with(&"x".repeat(32));
    assert!(code == 1 && errors.contains("none of those in SERVICE_KEY"), "{errors}");
    let (code, _, errors) = with("caf\u{e9}");
    assert!(code == 2 && errors.contains("visible ASCII"), "{errors}");
    let (code, _, errors) = with("");
    assert!(code == 2 && errors.contains("Set SERVICE_KEY"), "{errors}");
    let mut gone = command(&["channels", "--url", "http://127.0.0.1:1"]);
    let (code, _, errors) = outcome(gone.env("SERVICE_KEY", KEY).output());
    assert!(code == 1 && errors.contains("cannot reach http://127.0.0.1:1"), "{errors}");
}

#[test]
fn the_key_may_stand_in_the_file_of_the_server() {
    let server = Server::start();
    let path = std::env::temp_dir().join(format!("herenow-command-key-{}", std::process::id()));
    std::fs::write(&path, format!("\n{KEY}\nanother-key\n")).expect("it can be written");
    let url = format!("http://{}", server.0.addr);
    let mut with_file = command(&["channels", "--url", &url]);
    let (code, _, errors) = outcome(with_file.env("SERVICE_KEY_FILE", &path).output());
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!((code, &*errors), (0, ""));
    let (code, _, errors) = outcome(with_file.env("SERVICE_KEY_FILE", &path).output());
    assert!(code == 2 && errors.contains("cannot be read"), "{errors}");
}

/// `serve` and `check` refuse to start with a key that can be guessed.
#[test]
fn a_service_key_that_is_too_short_stops_the_start_and_check_says_whether_there_is_one() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    for words in [&["serve", "--listen", "127.0.0.1:0"][..], &["check"]] {
        let mut short = command(words);
        short
            .env("JWT_USER_SECRET", "s".repeat(32))
            .env("SERVICE_KEY", "short")
            .current_dir(folder);
        let (code, _, errors) = outcome(short.output());
        assert!(code == 2 && errors.contains("has 5 bytes"), "{errors}");
    }
    let (_, none, _) = outcome(command(&["check"]).current_dir(folder).output());
    assert!(none.contains("Service key: none"), "{none}");
    let mut set = command(&["check"]);
    let (_, set, _) = outcome(set.env("SERVICE_KEY", KEY).current_dir(folder).output());
    assert!(set.contains("Service key: set") && !set.contains(KEY), "{set}");
}

//! Several places to listen, and Unix sockets among them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::{SECRET, herenow};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::process::{Launch, Process, sign_in};

/// How long a process may take to end that has nothing more to do.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// A path for a socket of this test alone.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("herenow-{name}-{}.sock", std::process::id()))
}

/// A server that listens on a port, as every one here, and at `path`.
async fn listening_at(path: &Path, settings: Vec<(&'static str, String)>) -> Process {
    let arguments = vec!["--listen".into(), format!("unix:{}", path.display())];
    let server = Process::launch(Launch { settings, arguments, ..Launch::default() }).await;
    server.wait_for(&path.display().to_string());
    server
}

async fn over(path: &Path) -> RawConnection {
    RawConnection::connect_unix(path, "").await
}

/// The status of an upgrade over the socket with these headers.
async fn status(path: &Path, headers: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("the server listens");
    let head = format!(
        "GET /api/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the server reads");
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.expect("the server answers");
    String::from_utf8_lossy(&line[9..]).into_owned()
}

/// The number of the last state that bob shows.
const LAST: usize = 99;

/// Waits until a subscriber knows bob's last state.
async fn until_last(peer: &mut RawConnection) {
    loop {
        let message = peer.next_message().await;
        let in_list = &message["presences"][0]["state"]["n"];
        if message["state"]["n"] == LAST || *in_list == LAST {
            return;
        }
    }
}

#[tokio::test]
async fn a_channel_is_the_same_over_a_port_and_over_a_unix_socket() {
    let path = path("same");
    let mut server = listening_at(&path, Vec::new()).await;
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut jane = server.sign_in("jane").await;
    let mut bob = sign_in(over(&path).await, "bob").await;
    jane.send(json!({"type": "subscribe", "channel": "presence:x"})).await;
    jane.next_of_type("presence_sync").await;
    // More than one write of a socket takes.
    for n in 0..=LAST {
        let state = json!({"n": n, "text": "x".repeat(900)});
        bob.send(json!({"type": "presence_join", "channel": "presence:x", "state": state})).await;
    }
    until_last(&mut bob).await;
    until_last(&mut jane).await;
    server.signal("TERM");
    assert_eq!(bob.expect_close().await.0, 1012);
    drop((jane, bob));
    assert_eq!(server.exit_code(ENDED_WITHIN), Some(0));
    assert!(!path.exists());
}

// P2.10
#[tokio::test]
async fn the_clients_of_a_unix_socket_are_counted_as_the_proxy_names_them() {
    let path = path("count");
    let limit = ("HERENOW_MAX_UNAUTHENTICATED_PER_ADDRESS", "1".into());
    let _server = listening_at(&path, vec![limit]).await;
    let named = |last: u8| format!("X-Forwarded-For: 6.6.6.6, 192.0.2.{last}\r\n");
    let _jane = RawConnection::connect_unix(&path, &named(1)).await;
    assert_eq!(status(&path, &named(1)).await, "429");
    assert_eq!(status(&path, &named(2)).await, "101");
    let _unnamed = over(&path).await;
    assert_eq!(status(&path, "").await, "429");
    assert_eq!(status(&path, "X-Forwarded-For: unix:\r\n").await, "429");
}

#[tokio::test]
async fn a_second_server_does_not_take_the_socket_of_one_that_lives() {
    let path = path("lives");
    let _server = listening_at(&path, Vec::new()).await;
    let place = format!("unix:{}", path.display());
    let mut second = herenow(env!("CARGO_BIN_EXE_herenow"), &["serve", "--listen", &place]);
    let said = second.env("JWT_USER_SECRET", SECRET).output().expect("it was built");
    assert_eq!(said.status.code(), Some(2));
    let sentence = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(sentence.contains("another process listens on"), "{sentence}");
    over(&path).await;
}

#[tokio::test]
async fn a_server_that_was_killed_leaves_a_socket_that_the_next_one_replaces() {
    let path = path("killed");
    let server = listening_at(&path, Vec::new()).await;
    server.signal("KILL");
    drop(server);
    assert!(path.exists());
    let mut server = listening_at(&path, Vec::new()).await;
    over(&path).await;
    server.signal("TERM");
    assert_eq!(server.exit_code(ENDED_WITHIN), Some(0));
    assert!(!path.exists());
}

#[test]
fn places_that_cannot_be_meant_stop_the_start_with_a_sentence() {
    let path = format!("unix:{}", path("words").display());
    let here = "127.0.0.1:0";
    for (words, sentence) in [
        (vec!["--listen", here, "--listen", here], "--listen names 127.0.0.1:0 twice"),
        (vec!["--listen", here, "--unix-socket-mode", "600"], "names no Unix socket"),
        (vec!["--listen", &path, "--unix-socket-mode", "888"], "write permissions in octal"),
        (vec!["--listen", "unix:"], "such as unix:/run/herenow.sock"),
        (vec!["--listen", "here:80"], "such as unix:/run/herenow.sock"),
        (vec!["--listen", "unix:/no/such/folder/s"], "cannot listen on unix:/no/such/folder/s"),
    ] {
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &["serve"]);
        command.args(&words).env("JWT_USER_SECRET", SECRET);
        let said = command.output().expect("it was built");
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(stderr.contains(sentence), "{words:?}: {stderr}");
    }
}

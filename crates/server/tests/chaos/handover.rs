//! An upgrade: a new process takes over the sockets that listen, and only if it can serve.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::{Folder, SECRET, herenow};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::process::{Launch, Process, sign_in};

/// A new process that has taken over. It ends with this.
pub struct Successor(pub u32);

impl Successor {
    /// Waits until one has taken over from `server`, and the old process has ended in order.
    pub fn of(server: &mut Process) -> Self {
        let line = server.wait_for("a new process has taken over");
        let (_, id) = line.split_once("process=").expect("the line names it");
        let successor = Self(id.trim().parse().expect("a process has a number"));
        assert_eq!(server.exit_code(ENDED_WITHIN), Some(0));
        successor
    }

    pub fn signal(&self, name: &str) {
        herenow_testing::signal(self.0, name);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended.
        let kill = format!("kill -s KILL {} 2>/dev/null", self.0);
        let _ = std::process::Command::new("sh").args(["-c", &kill]).status();
    }
}

/// Puts a file there in one step, as packages do: a program that runs cannot be written.
pub fn put(folder: &Folder, name: &str, content: &[u8]) -> PathBuf {
    let (path, new) = (folder.path().join(name), folder.path().join("new"));
    fs::write(&new, content).expect("the folder can be written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::rename(&new, &path).expect("the folder can be written");
    path
}

/// How long the old process may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// Asks again and again, each time over a new connection, until it is told to end. Returns how often
/// it was answered; panics at a request that is not.
async fn ask_until(addr: SocketAddr, is_over: Arc<AtomicBool>) -> usize {
    let mut answered = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(addr).await.expect("one of them listens");
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("one of them reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("one of them answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "after {answered} answers: {answer:?}");
        answered += 1;
    }
    answered
}

async fn join(peer: &mut RawConnection) -> u64 {
    peer.send(json!({"type": "presence_join", "channel": "presence:x", "state": {}})).await;
    peer.next_of_type("presence_sync").await["epoch"].as_u64().expect("it has an epoch")
}

pub async fn assert_serves(peer: &mut RawConnection) {
    peer.send(json!({"type": "ping"})).await;
    peer.next_of_type("pong").await;
}

// P7.7
#[tokio::test]
async fn a_new_process_takes_over_and_no_connection_is_refused() {
    let mut server = Process::start(&[("HERENOW_DRAIN_MS", "700")]).await;
    let mut jane = server.sign_in("jane").await;
    let before = join(&mut jane).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask_until(server.addr, Arc::clone(&is_over)));
    server.signal("USR2");
    let (code, reason) = jane.expect_close().await;
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("JSON");
    let retry_after_ms = reason["retryAfterMs"].as_u64().expect("it says when");
    assert!(code == 1012 && retry_after_ms < 700, "{code} {reason}");
    drop(jane);
    let mut jane = server.sign_in("jane").await;
    assert!(join(&mut jane).await > before);
    let first = Successor::of(&mut server);
    assert_serves(&mut jane).await;
    // And once more, by the process that has taken over.
    first.signal("USR2");
    assert_eq!(jane.expect_close().await.0, 1012);
    drop(jane);
    let line = server.wait_for("a new process has taken over");
    let (_, id) = line.split_once("process=").expect("the line names it");
    let second = Successor(id.trim().parse().expect("a process has a number"));
    server.wait_for("stopped");
    let mut jane = server.sign_in("jane").await;
    assert_serves(&mut jane).await;
    is_over.store(true, Ordering::Relaxed);
    let answered = asking.await.expect("every request is answered");
    assert!(answered > 0);
    println!("{answered} requests were answered");
    drop((first, second));
}

// P7.14
#[tokio::test]
async fn with_a_grace_the_first_list_after_an_upgrade_has_all_who_have_come_back() {
    let settings = [("HERENOW_DRAIN_MS", "6000"), ("HERENOW_DISCONNECT_GRACE_MS", "60000")];
    let mut server = Process::start(&settings).await;
    let (mut jane, mut bob) = (server.sign_in("jane").await, server.sign_in("bob").await);
    join(&mut jane).await;
    join(&mut bob).await;
    jane.next_of_type("presence_join").await;
    server.signal("USR2");
    assert_eq!(jane.expect_close().await.0, 1012);
    assert_eq!(bob.expect_close().await.0, 1012);
    drop((jane, bob));
    let _successor = Successor::of(&mut server);
    let track = json!({"type": "presence_join", "channel": "presence:x", "state": {}, "ref": 1});
    let mut jane = server.sign_in("jane").await;
    jane.send(track.clone()).await;
    assert_eq!(jane.next_message().await["type"], "ack");
    let mut bob = server.sign_in("bob").await;
    bob.send(track).await;
    assert_eq!(bob.next_message().await["type"], "ack");
    for peer in [&mut jane, &mut bob] {
        let list = peer.next_message().await;
        assert_eq!(list["type"], "presence_sync", "{list}");
        let users = list["presences"].as_array().expect("a list").iter();
        let users: Vec<_> =
            users.map(|member| member["userId"].as_str().expect("a user")).collect();
        assert_eq!(users, ["jane", "bob"]);
    }
}

#[tokio::test]
async fn all_places_are_handed_over_and_the_last_process_removes_its_socket() {
    let folder = Folder::new();
    let path = folder.path().join("s");
    let unix = format!("unix:{}", path.display());
    let arguments = ["--listen", &unix, "--listen", "[::1]:0", "--metrics-listen", "127.0.0.1:0"];
    let arguments = arguments.map(str::to_owned).into();
    let mut server = Process::launch(Launch { arguments, ..Launch::default() }).await;
    server.wait_for("address=[::1]");
    let mut bob = sign_in(RawConnection::connect_unix(&path, "").await, "bob").await;
    server.signal("USR2");
    assert_eq!(bob.expect_close().await.0, 1012);
    drop(bob);
    let successor = Successor::of(&mut server);
    assert!(path.exists());
    let mut bob = sign_in(RawConnection::connect_unix(&path, "").await, "bob").await;
    let mut jane = server.sign_in("jane").await;
    join(&mut jane).await;
    bob.send(json!({"type": "subscribe", "channel": "presence:x"})).await;
    let list = bob.next_of_type("presence_sync").await;
    assert_eq!(list["presences"][0]["userId"], "jane");
    successor.signal("TERM");
    assert_eq!(bob.expect_close().await.0, 1012);
    assert_eq!(jane.expect_close().await.0, 1012);
    drop((bob, jane));
    server.wait_for("stopped");
    assert!(UnixStream::connect(&path).await.is_err());
    assert!(TcpStream::connect(server.addr).await.is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn what_cannot_serve_leaves_the_old_process_serving() {
    let folder = Folder::new();
    let good = fs::read(env!("CARGO_BIN_EXE_herenow")).expect("it was built");
    let program = put(&folder, "herenow", &good);
    let config = put(&folder, "edgebase.config.json", b"{}");
    let settings = vec![("HERENOW_CONFIG", config.to_string_lossy().into_owned())];
    let launch = Launch { settings, program: Some(program), ..Launch::default() };
    let mut server = Process::launch(launch).await;
    let mut jane = server.sign_in("jane").await;
    let attempts: [(&str, &[u8], &str); 4] = [
        ("herenow", b"#!/bin/sh\nexit 7\n", "exit status: 7"),
        ("herenow", b"no program at all", "could not be started"),
        ("herenow", b"#!/bin/sh\necho hello >&0\nexec sleep 60\n", "another language"),
        ("edgebase.config.json", b"{ \"realtime\": { \"drainMs\": true } }", "drainMs"),
    ];
    for (name, content, reason) in attempts {
        if name != "herenow" {
            put(&folder, "herenow", &good);
        }
        put(&folder, name, content);
        server.signal("USR2");
        let said = server.wait_for("no upgrade: this process keeps serving");
        assert!(said.contains(reason), "{said}");
        assert_serves(&mut jane).await;
        assert_serves(&mut server.sign_in("bob").await).await;
    }
    put(&folder, "edgebase.config.json", b"{}");
    server.signal("USR2");
    assert_eq!(jane.expect_close().await.0, 1012);
    drop(jane);
    let _successor = Successor::of(&mut server);
    assert_serves(&mut server.sign_in("jane").await).await;
}

#[test]
fn a_process_that_nobody_hands_over_to_does_not_serve() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &serve);
    command.env("JWT_USER_SECRET", SECRET).env("HERENOW_HANDOVER", "stdin");
    let said = command.stdin(Stdio::null()).output().expect("it was built");
    assert_eq!(said.status.code(), Some(1));
    let sentence = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(sentence.contains("cannot communicate"), "{sentence}");
}

//! `herenow upgrade` and the pid file by which it finds the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use herenow_testing::{Folder, SECRET, herenow};

use crate::handover::{Successor, assert_serves, put};
use crate::process::{Launch, Process};

/// How long a process may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

fn with_pid_file(path: &Path) -> Launch {
    let arguments = vec!["--pid-file".into(), path.to_string_lossy().into_owned()];
    Launch { arguments, ..Launch::default() }
}

/// Runs the command to its end, while the test goes on with its connections.
async fn upgrade(pid_file: &Path) -> Output {
    let pid_file = pid_file.to_string_lossy().into_owned();
    let run = move || {
        let arguments = ["upgrade", "--pid-file", &pid_file];
        herenow(env!("CARGO_BIN_EXE_herenow"), &arguments).output().expect("it was built")
    };
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

/// What a command that fails says.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// The process that a pid file names.
fn named(path: &Path) -> u32 {
    let content = fs::read_to_string(path).expect("the pid file is there");
    content.strip_suffix('\n').expect("it is one line").parse().expect("it is a number")
}

fn files(folder: &Folder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path()).expect("it is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it is there").path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_command_returns_when_the_new_process_serves_and_the_pid_file_names_it() {
    let folder = Folder::new();
    let path = folder.path().join("herenow.pid");
    let mut server = Process::launch(with_pid_file(&path)).await;
    assert_eq!(named(&path), server.id());
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let output = upgrade(&path).await;
    let first = Successor::of(&mut server);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (new, old) = (first.0, server.id());
    assert_eq!(said, format!("process {new} has taken over from process {old} and serves\n"));
    assert_eq!(named(&path), new);
    // And once more, by the process that has taken over.
    let output = upgrade(&path).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let second = Successor(named(&path));
    assert_ne!(second.0, new);
    server.wait_for("stopped");
    assert_serves(&mut server.sign_in("jane").await).await;
    assert_eq!(files(&folder), [path]);
    second.signal("TERM");
    server.wait_for("stopped");
    assert!(herenow_testing::until(ENDED_WITHIN, || files(&folder).is_empty()));
}

#[tokio::test]
async fn the_command_says_why_there_is_no_upgrade_and_the_old_process_serves_on() {
    let folder = Folder::new();
    let path = folder.path().join("herenow.pid");
    let good = fs::read(env!("CARGO_BIN_EXE_herenow")).expect("it was built");
    let program = put(&folder, "herenow", &good);
    let config = put(&folder, "edgebase.config.json", b"{}");
    let settings = vec![("HERENOW_CONFIG", config.to_string_lossy().into_owned())];
    let launch = Launch { settings, program: Some(program), ..with_pid_file(&path) };
    let server = Process::launch(launch).await;
    let mut jane = server.sign_in("jane").await;
    let before = files(&folder);
    let attempts: [(&str, &[u8], &str); 3] = [
        ("edgebase.config.json", b"{ \"realtime\": { \"drainMs\": true } }", "drainMs"),
        ("herenow", b"#!/bin/sh\nexit 7\n", "exit status: 7"),
        ("herenow", b"no program at all", "could not be started"),
    ];
    for (name, content, reason) in attempts {
        put(&folder, name, content);
        let said = refusal(&upgrade(&path).await);
        assert!(said.contains(reason), "{said}");
        assert!(said.contains(&format!("process {} keeps serving", server.id())), "{said}");
        assert_serves(&mut jane).await;
        assert_eq!(named(&path), server.id());
        assert_eq!(files(&folder), before);
    }
}

#[tokio::test]
async fn a_pid_file_belongs_to_one_server_that_lives() {
    let folder = Folder::new();
    let path = folder.path().join("herenow.pid");
    let start_another = || {
        let text = path.to_string_lossy();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--pid-file", &text];
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
        let output = command.env("JWT_USER_SECRET", SECRET).output().expect("it was built");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refusal(&upgrade(&path).await).contains("there is no pid file"));

    fs::write(&path, "root:x:0:0\n").expect("the folder can be written");
    assert!(start_another().contains("is not a pid file"));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "root:x:0:0\n");
    fs::remove_file(&path).expect("it is there");

    let mut server = Process::launch(with_pid_file(&path)).await;
    let said = start_another();
    assert!(said.contains(&format!("runs as process {}", server.id())), "{said}");
    assert_eq!(named(&path), server.id());

    let old = server.id();
    server.signal("KILL");
    server.exit_code(ENDED_WITHIN);
    assert!(refusal(&upgrade(&path).await).contains("no server runs"));
    assert_eq!(named(&path), old);
    server.kill_and_restart();
    assert_ne!(server.id(), old);
    assert_eq!(named(&path), server.id());
    assert_eq!(files(&folder), [path]);
}

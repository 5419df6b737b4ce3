//! The configuration as an operator meets it: `herenow check`, SIGHUP, and a file that changes
//! under `herenow dev`. Nothing sleeps: what the process says or sends is waited for.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use herenow_client::raw::RawConnection;
use serde_json::json;

const PUBLIC: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => true } } } } });";
const CLOSED: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => false } } } } });";
const BROKEN: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: false } } } } });";

/// A folder with a configuration; gone with this.
struct Folder(PathBuf);

impl Folder {
    fn with(config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("herenow-process-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("the temporary folder can be written");
        folder.write(config);
        folder
    }

    /// As editors do it: a half-written file is never seen.
    fn write(&self, config: &str) {
        let (draft, file) = (self.0.join("draft"), self.0.join("edgebase.config.ts"));
        std::fs::write(&draft, config).expect("the folder can be written");
        std::fs::rename(draft, file).expect("the folder can be written");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn herenow(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herenow"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("HERENOW_") || name.starts_with("JWT_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running server; killed with this.
struct Running {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
}

impl Running {
    fn dev(folder: &Folder) -> Self {
        let mut command = herenow(&folder.0, &["dev", "--port", "0"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("it is piped");
        let greeting = BufReader::new(stdout).lines().next();
        let greeting = greeting.expect("it says where").expect("in UTF-8");
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let addr = address.and_then(|address| address.parse().ok()).expect("an address");
        let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Self { child, said, addr }
    }

    fn serve(folder: &Folder) -> Self {
        let mut command = herenow(&folder.0, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .env("JWT_USER_SECRET", "s".repeat(32))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Self { child, said, addr };
        let listening = running.wait_for("listening");
        let address = listening.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        running.addr = address.and_then(|address| address.parse().ok()).expect("an address");
        running
    }

    /// Reads its log up to a line with this in it.
    fn wait_for(&mut self, part: &str) -> String {
        let mut lines = self.said.by_ref().map(|line| line.expect("logs are UTF-8"));
        lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("it never says {part}"))
    }

    fn hang_up(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-HUP", &id]).status().expect("kill runs");
        assert!(status.success());
    }

    /// A connection that looks on in `presence:x`.
    async fn observer(&self) -> RawConnection {
        let mut observer = RawConnection::connect(self.addr, "").await;
        observer.send(json!({"type": "subscribe", "channel": "presence:x"})).await;
        assert_eq!(observer.next_message().await["type"], "subscribed");
        assert_eq!(observer.next_message().await["type"], "presence_sync");
        observer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn expect_lost(observer: &mut RawConnection) {
    let told = observer.next_message().await;
    assert_eq!((&told["type"], &told["channel"]), (&json!("unsubscribed"), &json!("presence:x")));
}

#[tokio::test]
async fn a_changed_file_is_taken_over_under_dev_and_a_broken_one_is_not() {
    let folder = Folder::with(PUBLIC);
    let mut running = Running::dev(&folder);
    let mut observer = running.observer().await;
    folder.write(BROKEN);
    let said = running.wait_for("stays in force");
    assert!(
        said.contains("should be a function") && said.contains("edgebase.config.ts:2:31"),
        "{said}"
    );
    observer.send(json!({"type": "ping"})).await;
    assert_eq!(observer.next_message().await["type"], "pong");
    folder.write(CLOSED);
    running.wait_for("new rules are in force");
    expect_lost(&mut observer).await;
}

#[tokio::test]
async fn sighup_reads_the_file_again_and_names_what_needs_a_start() {
    let folder = Folder::with(PUBLIC);
    let mut running = Running::serve(&folder);
    let mut observer = running.observer().await;
    folder.write(BROKEN);
    running.hang_up();
    running.wait_for("stays in force");
    folder.write(&CLOSED.replace("namespaces", "presenceTTL: 61000, namespaces"));
    running.hang_up();
    let said = running.wait_for("from the next start on");
    assert!(said.contains("presenceTTL"), "{said}");
    expect_lost(&mut observer).await;
}

#[test]
fn check_says_what_holds_and_who_decides() {
    let folder = Folder::with(
        "export default defineConfig({ realtime: { maxMembers: 7, namespaces: {
            'presence:*': { access: { subscribe: (auth) => auth !== null } },
            'presence:game-*': { presenceTTL: 90000, access: { track: (auth) => auth.role === 'player' } },
            'presence:broken': { access: { subscribe: (auth) => auth.team.id === 7 } },
        } } });",
    );
    let check = |arguments: &[&str]| {
        let mut command = herenow(&folder.0, &["check"]);
        let output = command.args(arguments).output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let said = check(&[]);
    for line in [
        "  presence:broken  rule       as subscribe  7           60000        0",
        "  presence:game-*  signed in  rule          7           90000        0",
        "  presence:*       rule       as subscribe  7           60000        0",
        "  (all others)     signed in  signed in     7           60000        0",
        "  maxMembers                7 entries",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\nis not in\n{said}");
    }
    let said = check(&["--as", r#"{"id":"jane"}"#, "presence:game-1"]);
    assert!(
        said.starts_with(
            "presence:game-1 for \"jane\"\n  pattern    presence:game-*\n  \
         subscribe  yes: no rule speaks, and they have signed in\n  \
         track      no: the rule `track` was asked; it returned false\n"
        ),
        "{said}"
    );
    let said = check(&["--as", r#"{"id":"jane","role":"player"}"#, "presence:game-1"]);
    assert!(
        said.contains("track      yes: the rule `track` was asked; it returned true"),
        "{said}"
    );
    let said = check(&["--as", r#"{"id":"jane"}"#, "presence:broken"]);
    assert!(
        said.contains("no: the rule `subscribe` was asked; it threw at edgebase.config.ts:4:"),
        "{said}"
    );
    let said = check(&["presence:lobby"]);
    assert!(said.contains("for somebody who has not signed in"), "{said}");
    assert!(
        said.contains("subscribe  no: the rule `subscribe` was asked; it returned false"),
        "{said}"
    );
    assert!(said.contains("track      no: nobody is seen who has not signed in"), "{said}");
}

#[test]
fn check_refuses_what_a_server_would_refuse() {
    let folder = Folder::with(BROKEN);
    for arguments in [&["check"][..], &["dev", "--port", "0"]] {
        let output = herenow(&folder.0, arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(
            said.contains("edgebase.config.ts:2:31: `namespaces['presence:*'].access.subscribe`"),
            "{said}"
        );
    }
    for (arguments, says) in [
        (["--as", "jane", "presence:x"], "write a JSON object with an id"),
        (["--as", r#"{"id":"jane"}"#, "lobby"], "a channel is written presence:<name>"),
    ] {
        let mut command = herenow(&folder.0, &["check"]);
        let output = command.args(arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains(says), "{said}");
    }
}

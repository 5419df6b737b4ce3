//! A folder with a configuration, and a server that runs in it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::Process;
use serde_json::json;

pub const PUBLIC: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => true } } } } });";
pub const CLOSED: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => false } } } } });";
/// A folder with a configuration; gone with this.
pub struct Folder(herenow_testing::Folder);

impl Folder {
    pub fn with(config: &str) -> Self {
        let folder = Self(herenow_testing::Folder::new());
        folder.write(config);
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces the configuration.
    pub fn write(&self, config: &str) {
        self.0.write("edgebase.config.ts", config);
    }
}

pub fn herenow(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), arguments);
    command.current_dir(folder);
    command
}

/// A running server; killed with this.
pub struct Running {
    pub process: Process,
    addr: SocketAddr,
}

/// Kills a process that runs for too long, so that a test that waits for it fails and does not hang.
/// Called off when dropped.
pub struct Limit {
    _called_off: Sender<()>,
}

impl Limit {
    pub fn of(child: &Child) -> Self {
        const LIMIT: Duration = Duration::from_secs(60);
        let id = child.id().to_string();
        let (called_off, end) = channel();
        std::thread::spawn(move || {
            if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &id]).status();
            }
        });
        Self { _called_off: called_off }
    }
}

impl Running {
    pub fn dev(folder: &Folder) -> Self {
        let mut command = herenow(folder.path(), &["dev", "--port", "0"]);
        let mut process = Process::spawn(command.stdout(Stdio::piped()));
        let stdout = process.child().stdout.take().expect("it is piped");
        let greeting = BufReader::new(stdout).lines().next();
        let greeting = greeting.expect("it says where").expect("in UTF-8");
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let addr = address.and_then(|address| address.parse().ok()).expect("an address");
        Self { process, addr }
    }

    pub fn serve(folder: &Folder) -> Self {
        let mut command = herenow(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        command.env("JWT_USER_SECRET", "s".repeat(32)).env("HERENOW_LOG_LEVEL", "debug");
        let process = Process::spawn(&mut command);
        let addr = process.wait_for_address();
        Self { process, addr }
    }

    /// Reads its log up to a line with this in it.
    pub fn wait_for(&self, part: &str) -> String {
        self.process.wait_for(part)
    }

    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// A connection that looks on in `presence:x`.
    pub async fn observer(&self) -> RawConnection {
        let mut observer = RawConnection::connect(self.addr, "").await;
        observer.send(json!({"type": "subscribe", "channel": "presence:x"})).await;
        assert_eq!(observer.next_message().await["type"], "subscribed");
        assert_eq!(observer.next_message().await["type"], "presence_sync");
        observer
    }
}

impl Running {
    /// Nobody may look on in `presence:x`.
    pub async fn expect_denied(&self) {
        let mut observer = RawConnection::connect(self.addr, "").await;
        observer.send(json!({"type": "subscribe", "channel": "presence:x"})).await;
        assert_eq!(observer.next_message().await["code"], "NOT_AUTHENTICATED");
    }

    /// The process that it has started.
    pub fn child_process(&self) -> String {
        let parent = self.process.id().to_string();
        let processes = std::fs::read_dir("/proc").expect("this is Linux");
        let names = processes.filter_map(|process| process.ok()?.file_name().into_string().ok());
        let is_child = |id: &String| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // The name of the program, in parentheses, may hold spaces.
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            after.split_whitespace().nth(1) == Some(&parent)
        };
        names.into_iter().find(is_child).expect("it has started one")
    }
}

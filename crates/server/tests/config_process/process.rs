//! A folder with a configuration, and a server that runs in it.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::logged_address;
use serde_json::json;

pub const PUBLIC: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => true } } } } });";
pub const CLOSED: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: () => false } } } } });";
/// A folder with a configuration; gone with this.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn with(config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("herenow-process-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("the temporary folder can be written");
        folder.write(config);
        folder
    }

    /// As editors do it: a half-written file is never seen.
    pub fn write(&self, config: &str) {
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

pub fn herenow(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), arguments);
    command.current_dir(folder);
    command
}

/// A running server; killed with this.
pub struct Running {
    pub child: Child,
    said: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
    _limit: Limit,
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
        let mut command = herenow(&folder.0, &["dev", "--port", "0"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let limit = Limit::of(&child);
        let stdout = child.stdout.take().expect("it is piped");
        let greeting = BufReader::new(stdout).lines().next();
        let greeting = greeting.expect("it says where").expect("in UTF-8");
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let addr = address.and_then(|address| address.parse().ok()).expect("an address");
        let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Self { child, said, addr, _limit: limit }
    }

    pub fn serve(folder: &Folder) -> Self {
        let mut command = herenow(&folder.0, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .env("JWT_USER_SECRET", "s".repeat(32))
            .env("HERENOW_LOG_LEVEL", "debug")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let limit = Limit::of(&child);
        let mut running = Self { child, said, addr, _limit: limit };
        let listening = running.wait_for("listening");
        running.addr = logged_address(&listening, "address").expect("an address");
        running
    }

    /// Reads its log up to a line with this in it.
    pub fn wait_for(&mut self, part: &str) -> String {
        let mut lines = self.said.by_ref().map(|line| line.expect("logs are UTF-8"));
        lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("it never says {part}"))
    }

    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    pub fn signal(&self, name: &str) {
        herenow_testing::signal(self.child.id(), name);
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
        let parent = self.child.id().to_string();
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

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

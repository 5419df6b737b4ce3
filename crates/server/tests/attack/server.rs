//! A `herenow serve` of its own: started with settings, a configuration and keys, measured from
//! outside, signalled, and killed when the test is over.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStderr, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

pub use herenow_testing::until;
use herenow_testing::{Folder, Process, SECRET, herenow, logged_address};
use serde_json::{Value, json};

use crate::flood::Flood;

/// One test at a time has a server.
static TURN: Mutex<()> = Mutex::new(());

/// See the module.
pub struct Server {
    pub addr: SocketAddr,
    process: Process,
    folder: Folder,
    /// The pipe of the log, when nobody reads it.
    _log: Option<BufReader<ChildStderr>>,
    _turn: MutexGuard<'static, ()>,
}

/// What a server is started with.
#[derive(Default)]
pub struct Setup {
    settings: Vec<(&'static str, String)>,
    config: Option<String>,
    jwks: Option<&'static str>,
    log: Log,
}

/// What becomes of the server's log.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Log {
    /// A thread reads it.
    #[default]
    Read,
    /// Everything is logged into a pipe that nobody reads after the start.
    FillsItsPipe,
}

impl Setup {
    /// A setting by its environment variable.
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }

    /// The rules of every channel: the JavaScript object `access`.
    pub fn access(mut self, rules: &str) -> Self {
        self.config = Some(config(rules));
        self
    }

    /// A key set beside the secret.
    pub fn jwks(mut self, keys: &'static str) -> Self {
        self.jwks = Some(keys);
        self
    }

    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// Starts it once no other test has a server.
    pub fn start(self) -> Server {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        raise_open_files();
        let folder = Folder::new();
        if let Some(config) = &self.config {
            folder.write("edgebase.config.ts", config);
        }
        let arguments = ["serve", "--loops", "2", "--listen", "127.0.0.1:0"];
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
        command.current_dir(folder.path()).env("JWT_USER_SECRET", SECRET);
        if let Some(keys) = self.jwks {
            folder.write("keys.json", keys);
            command.args(["--jwks", "keys.json"]);
        }
        if self.log == Log::FillsItsPipe {
            command.args(["--log-level", "trace"]);
        }
        command.envs(self.settings);
        command.stdout(Stdio::null());
        let (process, addr, log) = match self.log {
            Log::Read => {
                let process = Process::spawn(&mut command);
                let addr = process.wait_for_address();
                (process, addr, None)
            }
            Log::FillsItsPipe => {
                let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
                let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
                let addr = address(&mut log);
                (Process::without_log(child), addr, Some(log))
            }
        };
        Server { addr, process, folder, _log: log, _turn: turn }
    }
}

impl Server {
    /// Memory of its own, not of files, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.process.status_number("RssAnon")
    }

    /// Puts other rules into its configuration file. They count after a SIGHUP.
    pub fn write_access(&self, rules: &str) {
        self.folder.write("edgebase.config.ts", &config(rules));
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Sends it a signal again and again, until what is returned is dropped.
    pub fn signal_every(&self, name: &'static str, every: Duration) -> Flood {
        let pid = self.process.id();
        Flood::repeat(every, move || herenow_testing::signal(pid, name))
    }

    /// How long it took to end, or `None` if it did not within this time.
    pub fn ended_within(&mut self, patience: Duration) -> Option<(Duration, ExitStatus)> {
        let since = Instant::now();
        let status = self.process.ended_within(patience);
        status.map(|status| (since.elapsed(), status))
    }
}

/// A token for `user` that lasts longer than the test.
pub fn token(user: &str) -> String {
    token_of(json!({"sub": user}))
}

/// The same with other claims.
pub fn token_of(mut claims: Value) -> String {
    claims["exp"] = json!(4_000_000_000_u32);
    herenow_testing::token(&claims)
}

fn config(rules: &str) -> String {
    format!(
        "export default defineConfig({{ realtime: {{ namespaces: {{ 'presence:*': \
         {{ access: {rules} }} }} }} }});"
    )
}

/// Reads the log up to the line that names the address.
fn address(log: &mut BufReader<ChildStderr>) -> SocketAddr {
    let mut said = String::new();
    let mut start = 0;
    while log.read_line(&mut said).is_ok_and(|bytes| bytes > 0) {
        if let Some(addr) = logged_address(&said[start..], "address") {
            return addr;
        }
        start = said.len();
    }
    panic!("the server does not listen: {said}");
}

/// Both the server, which inherits the limit, and its attackers hold thousands of sockets.
fn raise_open_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = rlimit::increase_nofile_limit(u64::MAX).expect("the limit can be raised");
        assert!(limit >= 8_192, "the attacks need 8192 open files, and {limit} are allowed");
    });
}

/// An address of the loopback range beside 127.0.0.1.
pub fn loopback(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

//! A `herenow serve` of its own: started, asked, stopped, killed, and looked at from outside.

use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use herenow_testing::{SECRET, herenow};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// How long a gauge may take to reach its value.
const PATIENCE: Duration = Duration::from_secs(30);

static TURN: Mutex<()> = Mutex::const_new(());

/// See the module. Dropping it kills the process.
pub struct Process {
    pub addr: SocketAddr,
    launch: Launch,
    running: Running,
    _turn: MutexGuard<'static, ()>,
}

/// How a process is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// By environment variable.
    pub settings: Vec<(&'static str, String)>,
    /// Beside those that every process has.
    pub arguments: Vec<String>,
    pub log: Log,
    /// The program, if it is not the one that was built.
    pub program: Option<PathBuf>,
}

/// Who reads what the process writes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// The test does.
    #[default]
    Read,
    /// As `2> >(head -n 1)` does it: a reader that is gone after the first line.
    ReadOnce,
    /// Nobody ever: the pipe has no reader.
    Closed,
    /// Nobody: the pipe is full from the beginning and stays so.
    Full,
}

struct Running {
    process: herenow_testing::Process,
    /// Kept open, and never read.
    _unread: Option<PipeReader>,
}

/// What a process uses beside time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Memory of its own, not of files, in KiB.
    pub anonymous_kib: u64,
    pub threads: u64,
    pub open_files: usize,
}

impl Process {
    /// With these settings, by environment variable.
    pub async fn start(settings: &[(&'static str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self::launch(Launch { settings: settings.collect(), ..Launch::default() }).await
    }

    pub async fn launch(launch: Launch) -> Self {
        let turn = TURN.lock().await;
        let (running, addr) = launch.spawn(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self { addr, launch, running, _turn: turn }
    }

    /// Kills it as the kernel does when memory runs out, and starts another at the same address.
    pub fn kill_and_restart(&mut self) {
        self.running.process.kill();
        let (running, addr) = self.launch.spawn(self.addr);
        assert_eq!(addr, self.addr);
        self.running = running;
    }

    pub fn id(&self) -> u32 {
        self.running.process.id()
    }

    /// Reads its log up to a line with this in it.
    pub fn wait_for(&self, part: &str) -> String {
        self.running.process.wait_for(part)
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let status = self.running.process.ended_within(within);
        status.unwrap_or_else(|| panic!("it lives after {within:?}")).code()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        self.running.process.signal(name);
    }

    pub async fn connect(&self) -> RawConnection {
        RawConnection::connect(self.addr, "").await
    }

    pub async fn sign_in(&self, user: &str) -> RawConnection {
        sign_in(self.connect().await, user).await
    }

    /// A gauge or counter of `/metrics`.
    pub async fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.addr).await.expect("the server listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("the page is text");
        let prefix = format!("herenow_{name} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&prefix));
        line.expect("the page has the metric").parse().expect("it is a whole number")
    }

    /// Waits until a gauge shows this.
    pub async fn until_metric(&self, name: &str, value: u64) {
        let mut last = None;
        let asking = async {
            while last != Some(value) {
                last = Some(self.metric(name).await);
            }
        };
        let waited = timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "{name} became {last:?} and not {value}");
    }

    pub fn used(&self) -> Use {
        let process = &self.running.process;
        let files = std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("it runs");
        Use {
            anonymous_kib: process.status_number("RssAnon"),
            threads: process.status_number("Threads"),
            open_files: files.count(),
        }
    }
}

pub async fn sign_in(mut peer: RawConnection, user: &str) -> RawConnection {
    peer.send(json!({"type": "auth", "token": token(user)})).await;
    let reply = peer.next_message().await;
    assert_eq!(reply["type"], "auth_success", "{reply}");
    peer
}

/// A token for `user` that lasts longer than the test.
pub fn token(user: &str) -> String {
    herenow_testing::token(&json!({"sub": user, "exp": 4_000_000_000_u32}))
}

impl Launch {
    fn spawn(&self, listen: SocketAddr) -> (Running, SocketAddr) {
        let listen = match self.log {
            Log::Read => listen,
            // Nobody can read where it listens.
            _ => free_address(),
        };
        let arguments = ["serve", "--loops", "2", "--listen", &listen.to_string()];
        let built = env!("CARGO_BIN_EXE_herenow");
        let program = self.program.as_ref().map_or(built.into(), |path| path.to_string_lossy());
        let mut command = herenow(&program, &arguments);
        command.args(&self.arguments);
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).env("JWT_USER_SECRET", SECRET);
        command.env("HERENOW_METRICS_FROM", "127.0.0.1");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::null());
        let (reader, mut writer) = std::io::pipe().expect("a pipe can be had");
        if self.log == Log::Full {
            writer.write_all(&[b'.'; PIPE_BYTES]).expect("a pipe takes as much");
        }
        let child = command.stderr(writer).spawn().expect("the binary was built");
        // It holds the other end of the pipe, which would otherwise never end.
        drop(command);
        let mut log = BufReader::new(reader);
        let (process, unread) = match self.log {
            Log::Read => (herenow_testing::Process::with_log(child, log), None),
            Log::Full => (herenow_testing::Process::without_log(child), Some(log.into_inner())),
            Log::Closed => {
                drop(log);
                (herenow_testing::Process::without_log(child), None)
            }
            Log::ReadOnce => {
                log.read_line(&mut String::new()).expect("it says something");
                drop(log);
                (herenow_testing::Process::without_log(child), None)
            }
        };
        let addr = match self.log {
            Log::Read => process.wait_for_address(),
            _ => until_it_listens(listen),
        };
        (Running { process, _unread: unread }, addr)
    }
}

/// As Linux makes them.
const PIPE_BYTES: usize = 64 * 1024;

/// Below the ports that the system gives to clients: one that asks again and again whether it can
/// connect would otherwise meet itself some time, and hold the port.
fn free_address() -> SocketAddr {
    let from = 10_000 + (std::process::id() % 10_000) as u16;
    let addrs = (from..from + 10_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut free = addrs.filter(|addr| TcpListener::bind(addr).is_ok());
    free.next().expect("a port is free")
}

fn until_it_listens(addr: SocketAddr) -> SocketAddr {
    let began = Instant::now();
    while std::net::TcpStream::connect(addr).is_err() {
        assert!(began.elapsed() < PATIENCE, "nothing listens on {addr}");
        std::thread::yield_now();
    }
    addr
}

//! A `herenow serve` of its own: started, asked, stopped, killed, and looked at from outside.

use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use herenow_testing::{SECRET, herenow, logged_address, status_number};
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
    child: Child,
    said: Receiver<String>,
    /// Disconnected when the process has ended: it holds its standard output until then.
    ended: Receiver<()>,
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
        self.kill();
        let (running, addr) = self.launch.spawn(self.addr);
        assert_eq!(addr, self.addr);
        self.running = running;
    }

    /// Reads its log up to a line with this in it.
    pub fn wait_for(&self, part: &str) -> String {
        let began = Instant::now();
        let lines = std::iter::from_fn(|| {
            let left = PATIENCE.saturating_sub(began.elapsed());
            self.running.said.recv_timeout(left).ok()
        });
        let mut said = Vec::new();
        for line in lines {
            if line.contains(part) {
                return line;
            }
            said.push(line);
        }
        panic!("it never says {part}, but {said:?}");
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn exit_code(&mut self, within: Duration) -> Option<i32> {
        let ended = self.running.ended.recv_timeout(within);
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "it lives after {within:?}");
        self.running.child.wait().expect("a child can be waited for").code()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        herenow_testing::signal(self.running.child.id(), name);
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
        let child = &self.running.child;
        let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it runs");
        Use {
            anonymous_kib: status_number(child, "RssAnon"),
            threads: status_number(child, "Threads"),
            open_files: files.count(),
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.running.child.kill();
        self.running.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
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
        let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
        command.args(&self.arguments);
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).env("JWT_USER_SECRET", SECRET);
        command.env("HERENOW_METRICS_FROM", "127.0.0.1");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped());
        let (reader, mut writer) = std::io::pipe().expect("a pipe can be had");
        if self.log == Log::Full {
            writer.write_all(&[b'.'; PIPE_BYTES]).expect("a pipe takes as much");
        }
        let mut child = command.stderr(writer).spawn().expect("the binary was built");
        // It holds the other end of the pipe, which would otherwise never end.
        drop(command);
        let (said, says) = channel();
        let mut log = BufReader::new(reader);
        if self.log == Log::ReadOnce {
            log.read_line(&mut String::new()).expect("it says something");
        }
        let unread = match self.log {
            Log::Read => {
                // A pipe that nobody reads would lose what is said.
                let lines = log.lines().map_while(Result::ok);
                std::thread::spawn(move || {
                    // A test that waits for nothing takes nothing.
                    lines.for_each(|line| drop(said.send(line)));
                });
                None
            }
            Log::Full => Some(log.into_inner()),
            Log::Closed | Log::ReadOnce => {
                drop(log);
                None
            }
        };
        let (alive, ended) = channel();
        let stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(drop);
            drop::<Sender<()>>(alive);
        });
        let running = Running { child, said: says, ended, _unread: unread };
        let addr = match self.log {
            Log::Read => running.address(),
            _ => until_it_listens(listen),
        };
        (running, addr)
    }
}

impl Running {
    fn address(&self) -> SocketAddr {
        let mut said = Vec::new();
        let addr = self.said.iter().find_map(|line| {
            let addr = logged_address(&line, "address");
            said.push(line);
            addr
        });
        addr.unwrap_or_else(|| panic!("it does not listen: {said:?}"))
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

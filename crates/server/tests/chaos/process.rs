//! A `herenow serve` of its own: started, asked, stopped, killed, and looked at from outside.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_server::auth::{Secret, mint};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

const SECRET: &str = "a secret of the tests, long enough for HS256";
/// How long a gauge may take to reach its value.
const PATIENCE: Duration = Duration::from_secs(30);

static TURN: Mutex<()> = Mutex::const_new(());

/// See the module. Dropping it kills the process.
pub struct Process {
    pub addr: SocketAddr,
    settings: Vec<(&'static str, String)>,
    child: Child,
    _turn: MutexGuard<'static, ()>,
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
        let turn = TURN.lock().await;
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, addr) = spawn(any, &settings);
        Self { addr, settings, child, _turn: turn }
    }

    /// Kills it as the kernel does when memory runs out, and starts another at the same address.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        let (child, addr) = spawn(self.addr, &self.settings);
        assert_eq!(addr, self.addr);
        self.child = child;
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("there is a kill").success());
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
        let pid = self.child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.expect("the kernel tells").trim().trim_end_matches(" kB");
            text.parse().expect("it is a number")
        };
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        Use {
            anonymous_kib: number("RssAnon:"),
            threads: number("Threads:"),
            open_files: files.count(),
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
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
    let secret = Secret::new(SECRET.as_bytes()).expect("the secret is not empty");
    let claims: Value = json!({"sub": user, "exp": 4_000_000_000_u32});
    mint(&secret, claims.as_object().expect("claims are an object"), 0).expect("good claims")
}

fn spawn(listen: SocketAddr, settings: &[(&'static str, String)]) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herenow"));
    command.args(["serve", "--loops", "2", "--listen", &listen.to_string()]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).env("JWT_USER_SECRET", SECRET);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary was built");
    let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut said = Vec::new();
    let addr = log.by_ref().map_while(Result::ok).find_map(|line| {
        let addr = line.split_once("address=").and_then(|(_, rest)| {
            rest.split_whitespace().next().and_then(|addr| addr.parse().ok())
        });
        said.push(line);
        addr
    });
    // A pipe that nobody reads would stop the process that writes to it.
    std::thread::spawn(move || log.for_each(drop));
    (child, addr.unwrap_or_else(|| panic!("it does not listen: {said:?}")))
}

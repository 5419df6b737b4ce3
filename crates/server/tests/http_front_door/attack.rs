//! The front door while somebody tries to keep others out: what it holds stays bounded, and
//! `/health` and a new WebSocket are answered in time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use herenow_server::config::{Network, Pages, Settings};
use herenow_testing::{Process, SECRET, token};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::server::{PATIENCE, Server, connect_from, production, read_answer, upgrade};

/// How long anybody else may have to wait while the front door is attacked. Half of what the server
/// waits for a head, so that nobody gets in only because attackers were timed out.
const BOUND: Duration = Duration::from_secs(5);

/// More than HTTP holds at once.
const ATTACKERS: u16 = 400;

/// What an attacker's connection does until the server closes it. Then there is another.
#[derive(Clone, Copy)]
enum Habit {
    /// Sends this and no more.
    Says(&'static [u8]),
    /// Sends a head that does not end, one byte at a time.
    Drips,
    /// Sends requests as fast as it can and reads no answer.
    Floods,
}

async fn attack(server: SocketAddr, source: IpAddr, habit: Habit, there: mpsc::Sender<()>) {
    let mut rest = Vec::new();
    loop {
        // A port may be missing for a moment when all were used a moment ago.
        let Ok(mut stream) = connect_from(server, source).await else { continue };
        let _ = match habit {
            Habit::Says(bytes) => stream.write_all(bytes).await,
            Habit::Drips => stream.write_all(b"GET / HTTP/1.1\r\nX: ").await,
            Habit::Floods => Ok(()),
        };
        let _ = there.try_send(());
        match habit {
            Habit::Says(_) => drop(stream.read_to_end(&mut rest).await),
            Habit::Drips => drip(&mut stream).await,
            Habit::Floods => {
                let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
                while stream.write_all(&request).await.is_ok() {}
            }
        }
    }
}

async fn drip(stream: &mut TcpStream) {
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if stream.write_all(b"x").await.is_err() {
            return;
        }
    }
}

/// One address, and as many as there are attackers.
fn one(_: u16) -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn many(number: u16) -> IpAddr {
    let [high, low] = (number + 256).to_be_bytes();
    Ipv4Addr::new(127, 0, high, low).into()
}

/// Begins an attack and returns when every attacker has been there.
async fn attacked(server: &Server, sources: fn(u16) -> IpAddr, habit: Habit) -> JoinSet<()> {
    let (there, mut came) = mpsc::channel(ATTACKERS.into());
    let mut attackers = JoinSet::new();
    for number in 0..ATTACKERS {
        let (address, there) = (server.address, there.clone());
        attackers.spawn(attack(address, sources(number), habit, there));
    }
    for _ in 0..ATTACKERS {
        let arrived = timeout(PATIENCE, came.recv()).await;
        arrived.expect("the attack begins").expect("attackers go on");
    }
    attackers
}

/// `/health` and a WebSocket, several times, each in time.
async fn assert_others_get_in(server: &Server) {
    for round in 0..5 {
        for (request, status) in [(HEALTH.to_owned(), 200), (upgrade(""), 101)] {
            let began = Instant::now();
            let mut stream =
                server.connect_from(Ipv4Addr::new(127, 9, 9, 9).into()).await.expect("a port");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let answer = timeout(BOUND, read_answer(&mut stream)).await;
            let answer =
                answer.unwrap_or_else(|_| panic!("{status} takes too long, round {round}"));
            assert_eq!(answer.status, status);
            assert!(began.elapsed() < BOUND, "{status} took {:?}", began.elapsed());
        }
    }
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const BEGUN: Habit = Habit::Says(b"GET /health HTTP/1.1\r\nX: ");
const SILENT: Habit = Habit::Says(b"");
const IDLE: Habit = Habit::Says(HEALTH.as_bytes());

// P2.9
#[tokio::test]
async fn heads_that_are_begun_and_not_finished_keep_nobody_out() {
    for sources in [one, many] {
        let server = production().await;
        let _attack = attacked(&server, sources, BEGUN).await;
        assert_others_get_in(&server).await;
        server.stop().await;
    }
}

// P2.9
#[tokio::test]
async fn heads_that_come_one_byte_at_a_time_keep_nobody_out() {
    for sources in [one, many] {
        let server = production().await;
        let _attack = attacked(&server, sources, Habit::Drips).await;
        assert_others_get_in(&server).await;
        server.stop().await;
    }
}

// P2.9
#[tokio::test]
async fn connections_of_a_proxy_that_say_nothing_keep_nobody_out() {
    let trusted_proxies = vec![Network::parse("127.0.0.0/8").expect("a network")];
    let settings = Settings { trusted_proxies, ..Settings::default() };
    let server = Server::start(Pages::Production, settings).await;
    let _attack = attacked(&server, one, SILENT).await;
    assert_others_get_in(&server).await;
    server.stop().await;
}

// P2.9
#[tokio::test]
async fn connections_that_idle_after_an_answer_keep_nobody_out() {
    for sources in [one, many] {
        let server = production().await;
        let _attack = attacked(&server, sources, IDLE).await;
        assert_others_get_in(&server).await;
        server.stop().await;
    }
}

// P2.9
#[tokio::test]
async fn requests_whose_answers_are_not_read_keep_nobody_out() {
    for sources in [one, many] {
        let server = production().await;
        let _attack = attacked(&server, sources, Habit::Floods).await;
        assert_others_get_in(&server).await;
        server.stop().await;
    }
}

// P2.9
#[tokio::test]
async fn the_oldest_gives_way_and_the_newest_is_answered() {
    let server = production().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.expect("sent");
        held.push(stream);
    }
    let mut first = held.remove(0);
    let mut rest = Vec::new();
    let ended = timeout(BOUND, first.read_to_end(&mut rest)).await;
    let _ = ended.expect("it gives way");
    assert!(rest.is_empty(), "it never asked: {}", String::from_utf8_lossy(&rest));
    let newest = held.last_mut().expect("it holds 299");
    newest.write_all(b"\r\n").await.expect("sent");
    assert_eq!(read_answer(newest).await.status, 200);
    server.stop().await;
}

/// The real server with so few open files that they run out.
struct Cramped {
    process: Process,
    address: SocketAddr,
}

impl Cramped {
    fn start(open_files: u32) -> Self {
        let serve = format!(
            "ulimit -n {open_files} && exec {} serve --loops 1 --listen 127.0.0.1:0",
            env!("CARGO_BIN_EXE_herenow")
        );
        let mut command = Command::new("sh");
        command.args(["-c", &serve]).current_dir(env!("CARGO_TARGET_TMPDIR"));
        command.env("JWT_USER_SECRET", SECRET).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::spawn(&mut command);
        let address = process.wait_for_address();
        Self { process, address }
    }

    /// Time that the process has computed, in clock ticks of 10 ms.
    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()));
        let stat = stat.expect("it runs");
        let fields = stat.rsplit(") ").next().expect("a name in brackets").split(' ');
        let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        ticks.sum()
    }

    fn resident_kib(&self) -> u64 {
        self.process.status_number("VmRSS")
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs").count()
    }

    async fn status(&self, request: &str) -> u16 {
        let asking = async {
            let connected = TcpStream::connect(self.address).await;
            let mut stream = connected.unwrap_or_else(|error| {
                panic!("it does not listen: {error}. Its log: {}", self.process.log())
            });
            stream.write_all(request.as_bytes()).await.expect("sent");
            read_answer(&mut stream).await.status
        };
        timeout(BOUND, asking).await.expect("an answer in time")
    }
}

#[tokio::test]
async fn a_server_without_open_files_takes_one_back_from_http() {
    let server = Cramped::start(64);
    let mut held = Vec::new();
    for _ in 0..200 {
        // A busy machine may refuse some of them by itself: the others are enough.
        let Ok(mut stream) = TcpStream::connect(server.address).await else { continue };
        if stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.is_ok() {
            held.push(stream);
        }
    }
    assert!(held.len() > 64, "more than the server has files: {}", held.len());
    for _ in 0..3 {
        assert_eq!(server.status(HEALTH).await, 200);
        assert_eq!(server.status(&upgrade("")).await, 101);
    }
    // Files are short as long as the attack holds on, and the accept loop rests in between.
    let before = server.cpu_ticks();
    let mut ticks = interval(Duration::from_millis(200));
    for _ in 0..6 {
        ticks.tick().await;
        assert_eq!(server.status(HEALTH).await, 200);
    }
    let used = server.cpu_ticks() - before;
    assert!(used < 50, "{used} of 100 ticks");
}

#[tokio::test]
async fn websockets_leave_http_its_open_files() {
    let server = Cramped::start(64);
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut socket = RawConnection::connect(server.address, "").await;
        // What the loop has answered it has counted, and an authenticated connection is not closed
        // while the others are made.
        socket.send(json!({"type": "auth", "token": token(&json!({"sub": "jane", "exp": 4_000_000_000_u32}))})).await;
        assert_eq!(socket.next_message().await["type"], "auth_success");
        held.push(socket);
    }
    assert_eq!(server.status(&upgrade("")).await, 503, "half of the files are for WebSockets");
    assert_eq!(server.status(HEALTH).await, 200);
}

#[tokio::test]
async fn what_http_holds_is_bounded_in_files_and_memory() {
    let server = Cramped::start(2_048);
    assert_eq!(server.status(HEALTH).await, 200);
    let (files, memory_kib) = (server.open_files(), server.resident_kib());
    // As much of a head as is read, and never its end.
    let begun = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"x".repeat(15_000)].concat();
    let mut held = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(server.address).await.expect("the backlog has room");
        // The server may have closed it already.
        let _ = stream.write_all(&begun).await;
        held.push(stream);
        assert!(server.open_files() - files <= 256 + 64 + 1, "{} files", server.open_files());
    }
    assert_eq!(server.status(HEALTH).await, 200);
    let grown_kib = server.resident_kib().saturating_sub(memory_kib);
    assert!(grown_kib < 16 * 1024, "{grown_kib} KiB");
}

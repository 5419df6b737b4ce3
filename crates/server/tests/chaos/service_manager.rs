//! What systemd is told, over a socket as systemd makes it.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::handover::Successor;
use crate::process::{Launch, Process};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the service manager waits for the watchdog's food.
const WATCHDOG_MS: u64 = 2_000;
/// Five times as long as it takes between two messages of a live server.
const QUIET: Duration = Duration::from_millis(5 * WATCHDOG_MS / 2);
/// Enough for what has been sent already. Zero would mean no limit.
const NO_TIME: Duration = Duration::from_millis(1);
/// More messages than can be under way when a loop begins to stand still.
const LATE_MESSAGES: usize = 10;

struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl ServiceManager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("herenow-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("the temporary folder takes a socket");
        Self { socket, path }
    }

    /// A server that it supervises.
    async fn start(&self, mut launch: Launch) -> Process {
        let socket = self.path.to_string_lossy().into_owned();
        launch.settings.push(("NOTIFY_SOCKET", socket));
        launch.settings.push(("WATCHDOG_USEC", (WATCHDOG_MS * 1000).to_string()));
        Process::launch(launch).await
    }

    fn told(&self, within: Duration) -> io::Result<String> {
        self.socket.set_read_timeout(Some(within))?;
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message)?;
        Ok(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// The next message that does not feed the watchdog.
    fn next(&self) -> String {
        loop {
            let message = self.told(PATIENCE).expect("a message in time");
            if message != FOOD {
                return message;
            }
        }
    }
}

const FOOD: &str = "WATCHDOG=1\n";

impl Drop for ServiceManager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The status of the answer to a request.
async fn status(server: &Process, path: &str) -> String {
    let mut stream = TcpStream::connect(server.addr).await.expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[tokio::test]
async fn the_service_manager_is_told_of_the_start_of_reloads_and_of_the_stop() {
    let manager = ServiceManager::new("told");
    let config = std::env::temp_dir().join(format!("herenow-told-{}.json", std::process::id()));
    std::fs::write(&config, "{}").expect("the temporary folder can be written");
    let settings = vec![("HERENOW_CONFIG", config.to_string_lossy().into_owned())];
    let mut server = manager.start(Launch { settings, ..Launch::default() }).await;
    assert_eq!(manager.next(), "READY=1\n");
    assert_eq!(status(&server, "/health/ready").await, "200");
    for content in ["{}", "broken"] {
        std::fs::write(&config, content).expect("the temporary folder can be written");
        server.signal("HUP");
        assert_eq!(manager.next(), "RELOADING=1\n", "{content}");
        assert_eq!(manager.next(), "READY=1\n", "{content}");
    }
    for _ in 0..3 {
        assert_eq!(manager.told(PATIENCE).expect("the watchdog is fed"), FOOD);
    }
    server.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\n");
    assert_eq!(server.exit_code(PATIENCE), Some(0));
    std::fs::remove_file(&config).expect("it was just written");
}

#[tokio::test]
async fn an_upgrade_names_the_new_process_and_feeds_the_watchdog_for_it() {
    let manager = ServiceManager::new("upgrade");
    let mut server = manager.start(Launch::default()).await;
    assert_eq!(manager.next(), "READY=1\n");
    server.signal("USR2");
    // From the old process and from the new one, in either order. The old one does not say that it
    // stops: systemd would take that for the end of the service.
    let mut told = [manager.next(), manager.next()];
    told.sort();
    let successor = Successor::of(&mut server);
    assert_eq!(told, [format!("MAINPID={}\nWATCHDOG=1\n", successor.0), "READY=1\n".to_owned()]);
    // What the old process has sent before its end.
    while let Ok(message) = manager.told(NO_TIME) {
        assert_eq!(message, FOOD);
    }
    assert_eq!(manager.told(PATIENCE).expect("the new process feeds the watchdog"), FOOD);
    successor.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\n");
}

#[tokio::test]
async fn a_loop_that_stands_still_leaves_the_watchdog_unfed_and_the_server_not_live() {
    let manager = ServiceManager::new("still");
    let arguments = vec!["--rehearse".into(), "loop-stall=3600000=presence:still".into()];
    let server = manager.start(Launch { arguments, ..Launch::default() }).await;
    assert_eq!(manager.told(PATIENCE).expect("it starts"), "READY=1\n");
    assert_eq!(manager.told(PATIENCE).expect("the watchdog is fed"), FOOD);
    assert_eq!(status(&server, "/health/live").await, "200");
    let mut jane = server.sign_in("jane").await;
    jane.send(json!({"type": "presence_join", "channel": "presence:still", "state": {}})).await;
    server.wait_for("stands still");
    let mut late = std::iter::from_fn(|| manager.told(QUIET).ok());
    assert!(late.by_ref().nth(LATE_MESSAGES).is_none(), "the watchdog is fed all the same");
    let began = Instant::now();
    while status(&server, "/health/live").await != "503" {
        assert!(began.elapsed() < PATIENCE, "it passes for live");
    }
    assert_eq!(status(&server, "/health/ready").await, "503");
    assert_eq!(status(&server, "/health").await, "200");
}

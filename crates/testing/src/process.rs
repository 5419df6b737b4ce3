//! A `herenow` as a process of its own: started, its log read, signalled, waited for, and killed when
//! a test is over.
//!
//! Refuses to know settings and what a test does with the process. Tests that are about the log
//! itself bring a pipe of their own.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a line of the log may be waited for: far longer than anything takes that is logged.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a process is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The binary with these arguments, without the settings of the one who runs the tests. The path is
/// `env!("CARGO_BIN_EXE_herenow")`, which only the tests of `herenow-server` know.
pub fn herenow(binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    // A backtrace would stand between the lines of a report of a fault.
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["HERENOW_", "JWT_", "METRICS_", "SERVICE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command
}

/// A process that runs, and what it has logged. Dropping it kills the process.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    log: RefCell<Vec<String>>,
}

impl Process {
    /// Starts it, and reads its standard error on a thread.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("it is piped");
        Self::with_log(child, stderr)
    }

    /// A process whose log comes from `log`. A thread reads all of it: a pipe that is full would stop
    /// the process.
    pub fn with_log(child: Child, log: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // A test that waits for nothing takes nothing.
            let read = BufReader::new(log).lines().map_while(Result::ok);
            read.for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines, log: RefCell::default() }
    }

    /// A process whose log nobody reads here.
    pub fn without_log(child: Child) -> Self {
        Self::with_log(child, std::io::empty())
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process as the standard library has it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Reads its log up to a line with this in it.
    pub fn wait_for(&self, part: &str) -> String {
        self.wait_until(part, |line| line.contains(part).then(|| line.to_owned()))
    }

    /// Reads its log up to the line that states where it listens.
    pub fn wait_for_address(&self) -> SocketAddr {
        self.wait_until("address=", |line| logged_address(line, "address"))
    }

    fn wait_until<T>(&self, part: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never says {part}, but {:?}", self.log.borrow());
            };
            let result = found(&line);
            self.log.borrow_mut().push(line);
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Sends it a signal by its name, `TERM` for example.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// A number of `/proc/PID/status`: of `RssAnon`, the KiB of memory that belong to no file.
    pub fn status_number(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let prefix = format!("{name}:");
        let line = status.lines().find_map(|line| line.strip_prefix(&prefix));
        let text = line.expect("the kernel states it").trim().trim_end_matches(" kB");
        text.parse().expect("it is a number")
    }

    /// Waits until it has ended, and says how. `None` if it still runs after this time.
    pub fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut status = None;
        until(patience, || {
            status = self.child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        status
    }

    /// What it has logged up to now.
    pub fn log(&self) -> String {
        self.log.borrow_mut().extend(self.lines.try_iter());
        self.log.borrow().join("\n")
    }

    /// Everything that it has logged, once it has ended.
    pub fn whole_log(&mut self) -> String {
        self.child.wait().expect("a child can be waited for");
        let mut log = self.log.borrow_mut();
        log.extend(self.lines.iter());
        log.join("\n")
    }

    /// Kills it, unless it has ended by itself.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks again and again until something is so, or the time is over. True if it is so.
pub fn until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Sends the process with this id a signal by its name.
pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(sent.expect("there is a kill").success(), "the process runs");
}

/// The address that a line of the log states: of `address`, in `listening address=127.0.0.1:80`.
pub fn logged_address(line: &str, name: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(&format!("{name}="))?;
    rest.split_whitespace().next()?.parse().ok()
}

//! Loads the configuration, as often as it is asked for. The file is read and evaluated in a process
//! of its own, with bounds on time, stack and memory: code that never ends, nesting that overflows a
//! stack and a file system that does not answer cost that process and not the server. What it has
//! read is used as it is; nothing is read twice.

mod child;

pub use child::run as run_child;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use herenow_server::cluster::ClusterError;
use herenow_server::config::{self, ConfigError, KEY_SETTINGS, Loaded, Source, Unknown};
use serde::{Deserialize, Serialize};

use crate::cli::LOAD_CONFIG;

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The environment or the flags are wrong.
    Settings(ConfigError),
    /// The file is wrong. What the process that read it says of it.
    Refused(String),
    /// The file did not come to its end in time.
    TooSlow(PathBuf),
    /// The file ended the process that read it.
    Crashed {
        /// Which file.
        path: PathBuf,
        /// How the process ended.
        status: ExitStatus,
    },
    /// What the file stands for is too large to be used.
    TooLarge(PathBuf),
    /// It has webhooks, and nothing to sign them with.
    NoWebhookSecret,
    /// The cluster is named wrongly, or something else cannot be used in one.
    Cluster(ClusterError),
    /// The process that reads the file could not be started.
    System(io::Error),
}

/// What the process that reads has to know.
#[derive(Serialize, Deserialize)]
struct Request {
    environment: BTreeMap<String, String>,
    unknown: Unknown,
}

/// What the process that reads says of the file.
#[derive(Serialize, Deserialize)]
enum Answer {
    Read(Box<Source>),
    Refused(String),
}

/// How long reading may take in all, the waiting for a file system included.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// How much processor time it may take. Code that can be interrupted is after a second.
const CPU_TIME_S: u64 = 4;
/// How much memory it may ask for: compiling takes many times the source.
const MEMORY_BYTES: u64 = 1 << 30;
/// The stack on which it runs. What is nested more deeply than fits is refused.
const STACK_BYTES: usize = 8 << 20;
/// The longest answer. The sources are at most 1 MiB; places in them come with it.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// How long a process that has answered, or was killed, may take to end.
const END_TIME: Duration = Duration::from_secs(1);
/// How often it is looked for meanwhile.
const END_LOOK: Duration = Duration::from_millis(2);

/// Reads the file, if there is one, and judges it together with the environment.
pub fn load(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    unknown: Unknown,
) -> Result<Loaded, LoadError> {
    let request = Request { environment: without_secrets(environment), unknown };
    let source = path.map(|path| read(path, &request)).transpose()?;
    config::judge(source, environment, unknown).map_err(LoadError::Settings)
}

/// What a configuration may see of the environment.
fn without_secrets(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    // What has no flag is a secret.
    let is_secret =
        |name: &str| KEY_SETTINGS.iter().any(|key| key.env == name && key.flag.is_none());
    let mut environment = environment.clone();
    environment.retain(|name, _| !is_secret(name));
    environment
}

/// Has another process read the file.
fn read(path: &Path, request: &Request) -> Result<Source, LoadError> {
    let mut child = start(path).map_err(LoadError::System)?;
    let began = Instant::now();
    let answer = converse(&mut child, request).map_err(LoadError::System)?;
    // A process that has not answered in time is killed; so is one that has answered more than it
    // may. One that has answered has nothing more to do.
    let answer = answer.recv_timeout(LOAD_TIME.saturating_sub(began.elapsed()));
    let status = if answer.is_ok() { wait(&mut child) } else { None };
    if status.is_none() {
        let _ = child.kill();
        let _ = wait(&mut child);
    }
    let Ok(answer) = answer else { return Err(LoadError::TooSlow(path.into())) };
    if answer.len() as u64 > MAX_ANSWER_BYTES {
        return Err(LoadError::TooLarge(path.into()));
    }
    match (serde_json::from_slice(&answer), status) {
        (Ok(Answer::Read(source)), _) => Ok(*source),
        (Ok(Answer::Refused(sentence)), _) => Err(LoadError::Refused(sentence)),
        (Err(_), Some(status)) if is_out_of_time(status) => Err(LoadError::TooSlow(path.into())),
        (Err(_), Some(status)) if !status.success() => {
            Err(LoadError::Crashed { path: path.into(), status })
        }
        (Err(_), _) => Err(LoadError::TooLarge(path.into())),
    }
}

/// The same program, whatever lies at its path by now: another version may answer differently.
fn start(path: &Path) -> io::Result<Child> {
    const SELF: &str = "/proc/self/exe";
    let program = match Path::new(SELF).exists() {
        true => SELF.into(),
        false => std::env::current_exe()?,
    };
    let mut command = Command::new(program);
    command.arg0("herenow").args([OsStr::new(LOAD_CONFIG), OsStr::new("--"), path.as_os_str()]);
    // It is told all that it has to know: no secret is in its environment, and nothing there can
    // make its command line wrong.
    for (name, _) in std::env::vars_os() {
        if OWN_PREFIXES.iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes())) {
            command.env_remove(name);
        }
    }
    // Signals of a terminal are for the server, which ends this process by itself.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// What the names of the server's own variables begin with.
const OWN_PREFIXES: [&str; 2] = ["HERENOW_", "JWT_"];

/// Tells the process what it has to know, and waits for what it says.
fn converse(child: &mut Child, request: &Request) -> io::Result<Receiver<Vec<u8>>> {
    const PIPED: &str = "it was started with pipes";
    let mut stdin = child.stdin.take().expect(PIPED);
    let stdout = child.stdout.take().expect(PIPED);
    let stderr = child.stderr.take().expect(PIPED);
    let mut request = serde_json::to_vec(request)?;
    request.push(b'\n');
    let (answered, answer) = sync_channel(1);
    thread("config", move || {
        let mut bytes = Vec::new();
        // Where this fails, the process has ended and its status says more.
        let _ = stdin.write_all(&request);
        let _ = stdout.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut bytes);
        let _ = answered.send(bytes);
    })?;
    thread("config-log", move || pass_on(stderr))?;
    Ok(answer)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// What the configuration's code writes to its console, and how a crash is described.
fn pass_on(said: ChildStderr) {
    const MAX_LINES: usize = 100;
    const MAX_BYTES: u64 = 64 * 1024;
    let mut said = BufReader::new(said);
    let lines = said.by_ref().take(MAX_BYTES).lines().map_while(Result::ok);
    for line in lines.take(MAX_LINES) {
        tracing::debug!("{line}");
    }
    let _ = io::copy(&mut said, &mut io::sink());
}

/// How the process ended, unless it takes longer than it should.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if began.elapsed() < END_TIME => std::thread::sleep(END_LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn is_out_of_time(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(libc::SIGXCPU | libc::SIGKILL))
}

impl LoadError {
    /// Whether reading the same files again costs as much and gives the same.
    pub fn is_costly(&self) -> bool {
        matches!(self, Self::TooSlow(_) | Self::Crashed { .. } | Self::TooLarge(_))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Refused(sentence) => f.write_str(sentence),
            Self::TooSlow(path) => write!(
                f,
                "reading {} took more than {CPU_TIME_S} s of processor time or {} s in all. Look for \
                 a loop, a regular expression or an array method without an end, or for a file \
                 system that does not answer",
                path.display(),
                LOAD_TIME.as_secs()
            ),
            Self::Crashed { path, status } => write!(
                f,
                "reading {} ended the process that reads it ({status}). It is nested too deeply, or \
                 needs more than {} MiB of memory; simplify it",
                path.display(),
                MEMORY_BYTES >> 20
            ),
            Self::Cluster(error) => error.fmt(f),
            Self::NoWebhookSecret => f.write_str(
                "there are webhooks and no secret to sign them with. Set WEBHOOK_SECRET, or \
                 WEBHOOK_SECRET_FILE; `echo whsec_$(openssl rand -base64 32)` makes one",
            ),
            Self::TooLarge(path) => write!(
                f,
                "what {} stands for is larger than {} MiB or nested too deeply; simplify it",
                path.display(),
                MAX_ANSWER_BYTES >> 20
            ),
            Self::System(error) => {
                write!(f, "the process that reads the configuration could not be started: {error}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

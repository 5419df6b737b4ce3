//! The side of the old process.

use std::ffi::OsString;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herenow_hub::Membership;
use herenow_server::loops::Loops;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::signal::unix::Signal;

use super::{
    ANSWER_TIME, FAILED, GO, HandoverError, MAX_OFFER_BYTES, MAX_REASON_BYTES, MAX_SOCKETS, Offer,
    Outcome, READY, READY_TIME, VARIABLE,
};

/// The program that this process was started from, by the path that it was started with, so that
/// what lies there later is the new version. Known from the start: the path may be relative.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// What a new process is started with and given.
#[derive(Debug)]
pub struct Handover {
    pub program: Program,
    /// Each with what it listens on, as the operator wrote it.
    pub sockets: Vec<(String, OwnedFd)>,
    pub loops: Loops,
    pub membership: Membership,
    /// Beside which a command may wait for the outcome.
    pub pid_file: Option<PathBuf>,
}

/// The variable by which systemd says whom its watchdog watches: the new process is watched too.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

impl Program {
    /// Reads how this process was started.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().map(PathBuf::from).unwrap_or_default();
        // A name without a folder is looked for in PATH, now as then.
        let is_path = name.parent().is_some_and(|folder| folder != Path::new(""));
        let path = if is_path { std::path::absolute(name)? } else { name };
        Ok(Self { path, arguments: arguments.collect() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env(VARIABLE, "stdin").env_remove(WATCHDOG_PROCESS);
        command
    }
}

impl Handover {
    /// Hands over at a signal, as often as it takes. Returns the id of the new process when it
    /// serves.
    pub async fn succeed(self, mut signal: Signal) -> u32 {
        let handover = Arc::new(self);
        loop {
            if signal.recv().await.is_none() {
                return std::future::pending().await;
            }
            tracing::info!(program = %handover.program.path.display(), "starting a new process");
            let this = Arc::clone(&handover);
            let reason = match tokio::task::spawn_blocking(move || this.start()).await {
                Ok(Ok(process)) => return process,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a fault".to_owned(),
            };
            tracing::error!(error = %reason, "no upgrade: this process keeps serving");
            if let Some(pid_file) = &handover.pid_file {
                Outcome::Failed { reason }.tell(pid_file);
            }
        }
    }

    /// Starts the new process, and tells it to go when it is ready.
    fn start(&self) -> Result<u32, HandoverError> {
        if self.membership == Membership::OneOfSeveral {
            return Err(HandoverError::Clustered);
        }
        if std::process::id() == FIRST_PROCESS {
            return Err(HandoverError::FirstProcess);
        }
        let (channel, theirs) = UnixStream::pair().map_err(HandoverError::Start)?;
        let mut command = self.program.command();
        let child = command.stdin(OwnedFd::from(theirs)).spawn();
        // It holds their end, and the channel would have no end without them.
        drop(command);
        let mut child = child.map_err(HandoverError::Start)?;
        let answer = match self.offer(&channel) {
            // It has ended already, and may have said why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => hear(&channel),
            offered => offered.and_then(|()| hear(&channel)),
        };
        match answer.and_then(|answer| answer.tell_to_go(&channel)) {
            Ok(Answer::Ready) => Ok(child.id()),
            Ok(Answer::Failed(reason)) => {
                end(&mut child);
                Err(HandoverError::Refused(reason))
            }
            Err(error) => Err(give_up(&mut child, error)),
        }
    }

    fn offer(&self, channel: &UnixStream) -> io::Result<()> {
        let places = self.sockets.iter().map(|(place, _)| place.clone()).collect();
        let return_within_ms = self.loops.return_within().as_millis() as u64;
        let offer = serde_json::to_vec(&Offer { places, return_within_ms })?;
        let sockets: Vec<_> = self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        if offer.len() > MAX_OFFER_BYTES || sockets.len() > MAX_SOCKETS {
            return Err(io::Error::other("there is more to hand over than the new process takes"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !beside.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other("the sockets do not fit beside the offer"));
        }
        let sent = sendmsg(channel, &[IoSlice::new(&offer)], &mut beside, SendFlags::NOSIGNAL)?;
        if sent == offer.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// What the new process says of itself.
enum Answer {
    Ready,
    Failed(String),
}

impl Answer {
    fn tell_to_go(self, mut channel: &UnixStream) -> io::Result<Self> {
        if matches!(self, Self::Ready) {
            channel.set_write_timeout(Some(ANSWER_TIME))?;
            channel.write_all(GO)?;
        }
        Ok(self)
    }
}

/// Waits for the answer of the new process.
fn hear(mut channel: &UnixStream) -> io::Result<Answer> {
    let mut said = [0; READY.len()];
    channel.set_read_timeout(Some(READY_TIME))?;
    channel.read_exact(&mut said)?;
    if said == READY {
        return Ok(Answer::Ready);
    }
    if said != FAILED {
        return Err(io::Error::other("the new process speaks another language"));
    }
    let mut reason = Vec::new();
    // A process that ends without having read all it was offered resets the channel. What it has said
    // before has been read by then.
    let _ = channel.take(MAX_REASON_BYTES as u64).read_to_end(&mut reason);
    Ok(Answer::Failed(String::from_utf8_lossy(&reason).into_owned()))
}

/// Ends a process that is not going to be ready, and says what was wrong with it.
fn give_up(child: &mut Child, error: io::Error) -> HandoverError {
    let is_late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    // A process that has closed the channel is about to end, and its status says more.
    let status = if is_late { None } else { wait(child) };
    end(child);
    match status {
        Some(status) => HandoverError::Ended(status),
        None if is_late => HandoverError::TooSlow,
        None => HandoverError::Channel(error),
    }
}

/// Both fail only where it has ended.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < END_TIME {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(END_LOOK);
    }
    None
}

/// How long a process may take to end that has closed the channel.
const END_TIME: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const END_LOOK: Duration = Duration::from_millis(5);
/// The one with which a container, or the system, ends.
const FIRST_PROCESS: u32 = 1;

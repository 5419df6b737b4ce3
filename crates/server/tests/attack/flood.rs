//! A thread that sends the same bytes on many sockets, as much as they take, until it is told to
//! stop. Its pace leaves the machine to the server: what is measured is what the server does with
//! what it is sent.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::socket::Socket;

/// What an attacker does.
pub struct Attack {
    pub sockets: usize,
    /// Opens the socket of this number. `None` when the server lets no more in.
    pub open: Box<dyn Fn(usize) -> Option<Socket> + Send>,
    /// Whole frames, sent again and again.
    pub block: Vec<u8>,
    /// What comes back.
    pub replies: Replies,
    /// Time between two rounds. In each, every socket sends one block at most.
    pub every: Duration,
    /// How long its sockets last.
    pub sockets_are: Sockets,
}

/// What the attacker does with replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// They stay in the socket.
    Unread,
    /// They are read and thrown away.
    Read,
}

/// How long an attacker keeps a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// As long as the server does.
    Kept,
    /// One is given up in each round for a new one, so that an attack whose sockets the server
    /// reads no more goes on.
    Renewed,
}

/// Sockets that are opened again in one round, so that a server that closes each of them does not
/// turn every flood into a herd of handshakes.
const REOPENED_PER_ROUND: usize = 4;

/// A running attack. It stops when this is dropped, and its sockets close.
pub struct Flood {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One socket of an attack.
struct Attacker {
    socket: Option<Socket>,
    /// How much of the block the socket has taken.
    sent: usize,
}

impl Flood {
    /// Opens the sockets and then begins.
    pub fn start(attack: Attack) -> Self {
        let mut attackers: Vec<Attacker> = (0..attack.sockets)
            .map(|number| Attacker { socket: (attack.open)(number), sent: 0 })
            .collect();
        let opened = attackers.iter().filter(|attacker| attacker.socket.is_some()).count();
        assert_eq!(opened, attack.sockets, "the server lets the attackers in");
        let mut rounds = 0;
        Self::repeat(attack.every, move || {
            if attack.sockets_are == Sockets::Renewed {
                attackers[rounds % attack.sockets].socket = None;
                rounds += 1;
            }
            round(&attack, &mut attackers);
        })
    }

    /// Does something again and again, with this time between two steps.
    pub fn repeat(every: Duration, mut step: impl FnMut() + Send + 'static) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            while matches!(stopped.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
                step();
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Ends the attack, and its sockets with it.
    pub fn stop(self) {}
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        let is_well = matches!(ended, Some(Ok(())));
        assert!(is_well || std::thread::panicking(), "an attack runs until it is stopped");
    }
}

fn round(attack: &Attack, attackers: &mut [Attacker]) {
    let mut may_reopen = REOPENED_PER_ROUND;
    for (number, attacker) in attackers.iter_mut().enumerate() {
        let Some(socket) = &mut attacker.socket else {
            if may_reopen > 0 {
                may_reopen -= 1;
                *attacker = Attacker { socket: (attack.open)(number), sent: 0 };
            }
            continue;
        };
        let is_open = socket.stream.set_nonblocking(true).is_ok()
            && write_some(socket, &attack.block, &mut attacker.sent).is_ok()
            && (attack.replies == Replies::Unread || read_some(socket).is_ok());
        if !is_open {
            attacker.socket = None;
        }
    }
}

/// Writes what the socket takes of the rest of the block. The next round goes on from there, so
/// that frames stay whole.
fn write_some(socket: &mut Socket, block: &[u8], sent: &mut usize) -> io::Result<()> {
    match socket.stream.write(&block[*sent..]) {
        Ok(written) => {
            *sent = (*sent + written) % block.len();
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

fn read_some(socket: &mut Socket) -> io::Result<()> {
    let mut sink = [0; 64 * 1024];
    for _ in 0..16 {
        match socket.stream.read(&mut sink) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

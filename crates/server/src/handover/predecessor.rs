//! The side of the new process.

use std::fmt::Display;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{
    ANSWER_TIME, FAILED, GO, HandoverError, MAX_OFFER_BYTES, MAX_REASON_BYTES, MAX_SOCKETS, Offer,
    READY, VARIABLE,
};

/// The process that has started this one to take over from it.
#[derive(Debug)]
pub struct Predecessor {
    channel: UnixStream,
    /// Sockets that nobody has taken, each with what it listens on.
    sockets: Vec<(String, OwnedFd)>,
    return_within: Duration,
}

/// How long a client may take to connect and authenticate once it begins.
const RECONNECT_TIME: Duration = Duration::from_secs(2);

/// Whether another process has started this one to be replaced by it.
pub fn has_predecessor() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Tells the predecessor, if there is one, why this process ends.
pub fn report_failure(error: &dyn Display) {
    if !has_predecessor() {
        return;
    }
    let lines = error.to_string();
    // A message of several lines is one in the predecessor's log.
    let mut reason = lines.split_whitespace().collect::<Vec<_>>().join(" ");
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    // A predecessor that has handed over already does not listen.
    let _ =
        io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).and_then(|mut channel| {
            channel.set_write_timeout(Some(ANSWER_TIME))?;
            channel.write_all(&[FAILED, reason.as_bytes()].concat())
        });
}

impl Predecessor {
    /// The one that has started this process, if one has.
    pub fn of_this_process() -> Result<Option<Self>, HandoverError> {
        if !has_predecessor() {
            return Ok(None);
        }
        Self::greet().map(Some).map_err(HandoverError::Channel)
    }

    fn greet() -> io::Result<Self> {
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        channel.set_read_timeout(Some(ANSWER_TIME))?;
        channel.set_write_timeout(Some(ANSWER_TIME))?;
        let mut bytes = [0; MAX_OFFER_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&channel, &mut parts, &mut beside, RecvFlags::empty())?;
        let mut sockets = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                sockets.extend(received);
            }
        }
        // No process that this one starts is to hold them.
        for socket in &sockets {
            fcntl_setfd(socket, FdFlags::CLOEXEC)?;
        }
        let offer: Offer = serde_json::from_slice(&bytes[..received.bytes])?;
        if offer.places.len() != sockets.len() {
            return Err(io::Error::other("the sockets did not arrive"));
        }
        let sockets = offer.places.into_iter().zip(sockets).collect();
        let return_within = Duration::from_millis(offer.return_within_ms);
        Ok(Self { channel, sockets, return_within })
    }

    /// The socket that listens on `place`, if the predecessor had one.
    pub fn take(&mut self, place: &str) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(its, _)| its == place)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// How long channels wait for its clients before their first snapshot, where the members of a
    /// broken connection stay for `grace`.
    pub fn gather_for(&self, grace: Duration) -> Duration {
        grace.min(self.return_within + RECONNECT_TIME)
    }

    /// Says that this process can serve, and waits until it is to: from then on the predecessor
    /// does not. Closes the sockets that nobody has taken.
    pub fn take_over(mut self) -> Result<(), HandoverError> {
        let mut said = [0; GO.len()];
        let agreed =
            self.channel.write_all(READY).and_then(|()| self.channel.read_exact(&mut said));
        match agreed {
            Ok(()) if said == GO => Ok(()),
            Ok(()) | Err(_) => Err(HandoverError::NoPredecessor),
        }
    }
}

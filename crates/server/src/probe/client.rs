//! One client of the probe: a WebSocket over a pair of sockets, whose other end an event loop owns. The
//! loop cannot tell it from a client that a proxy has connected over a Unix socket. Knows frames and
//! JSON; what is said is the probe's to know.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use herenow_hub::Opening;
use herenow_wire::DefaultChannel;
use serde_json::Value;
use socket2::Socket;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use super::ProbeError;
use crate::loops::{AcceptedSocket, Loops};

pub(super) struct Client {
    socket: WebSocket<UnixStream>,
    /// How long it waits for a message.
    patience: Duration,
}

impl Client {
    pub(super) fn connect(loops: &Loops, patience: Duration) -> Result<Self, ProbeError> {
        let (ours, theirs) = UnixStream::pair().map_err(ProbeError::Socket)?;
        theirs.set_nonblocking(true).map_err(ProbeError::Socket)?;
        ours.set_write_timeout(Some(patience)).map_err(ProbeError::Socket)?;
        let accepted = AcceptedSocket {
            stream: Socket::from(OwnedFd::from(theirs)),
            first_bytes: Vec::new(),
            opening: Opening::Client { default_channel: DefaultChannel::None, origin: None },
            permit: None,
        };
        loops.accept(accepted).map_err(|_| ProbeError::Full)?;
        let socket = WebSocket::from_raw_socket(ours, Role::Client, None);
        Ok(Self { socket, patience })
    }

    pub(super) fn say(&mut self, message: &Value) -> Result<(), ProbeError> {
        self.socket.send(Message::text(message.to_string())).map_err(failed)
    }

    /// Reads messages up to one that is wanted.
    pub(super) fn wait_for(
        &mut self,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, ProbeError> {
        let end = Instant::now() + self.patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProbeError::Silent);
            }
            self.socket.get_ref().set_read_timeout(Some(left)).map_err(ProbeError::Socket)?;
            let message = match self.socket.read().map_err(failed)? {
                Message::Text(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
                Message::Close(_) => return Err(ProbeError::Closed),
                _ => continue,
            };
            if is_wanted(&message) {
                return Ok(message);
            }
        }
    }

    /// Sends a close frame. The socket stays open: one that ends with unread bytes breaks the
    /// connection before the frame is read.
    pub(super) fn close(&mut self) -> Result<(), ProbeError> {
        self.socket.close(None).and_then(|()| self.socket.flush()).map_err(failed)
    }
}

fn failed(error: Error) -> ProbeError {
    match error {
        Error::Io(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ProbeError::Silent,
            _ => ProbeError::Socket(error),
        },
        _ => ProbeError::Closed,
    }
}

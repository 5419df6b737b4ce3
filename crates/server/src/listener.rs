//! Where connections come in, and what a connection is over: TCP, or a Unix socket for a proxy on
//! the same machine. Beyond this file a connection is a stream of bytes with a peer.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::client_address::Peer;

/// Takes connections.
#[derive(Debug)]
pub enum Listener {
    /// At a port.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

/// A connection that has been taken.
pub(crate) enum Arrival {
    /// Over IP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// What HTTP is spoken over, until a loop takes it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket alone, for a loop: it does not wait, and sends small frames at once.
    fn into_socket(self) -> io::Result<socket2::Socket>;
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Arrival, Peer)>> {
        Poll::Ready(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                Ok((Arrival::Tcp(stream), Peer::at(peer.ip())))
            }
            Self::Unix(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Ok((Arrival::Unix(stream), Peer::Unix))
            }
        })
    }
}

/// The next connection of any of `listeners`. The one at `turn` is asked first: with a turn that
/// grows, none keeps the others waiting.
pub(crate) async fn accept(listeners: &[Listener], turn: usize) -> io::Result<(Arrival, Peer)> {
    std::future::poll_fn(|cx| {
        let (before, from) = listeners.split_at(turn % listeners.len().max(1));
        let mut polls = from.iter().chain(before).map(|listener| listener.poll_accept(cx));
        polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

impl Stream for TcpStream {
    fn into_socket(self) -> io::Result<socket2::Socket> {
        let stream = self.into_std()?;
        stream.set_nodelay(true)?;
        Ok(OwnedFd::from(stream).into())
    }
}

impl Stream for UnixStream {
    fn into_socket(self) -> io::Result<socket2::Socket> {
        Ok(OwnedFd::from(self.into_std()?).into())
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

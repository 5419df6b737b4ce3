//! Why the process cannot listen, as one sentence that says what to change.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::Place;

/// See the module. Nothing is left behind: what was bound before is released.
#[derive(Debug)]
pub enum ListenError {
    /// Another program has the port.
    PortTaken { address: SocketAddr, flag: &'static str, by: Holder },
    /// A process that lives listens at the path.
    PathTaken { path: PathBuf },
    /// What lies at the path is not a stream socket, and is not removed.
    NoSocket { path: PathBuf },
    /// The place cannot be listened on.
    System { place: Place, flag: &'static str, error: io::Error },
    /// The place was given twice.
    Twice { place: Place },
    /// More places were given than are taken.
    TooMany { limit: usize },
    /// There are permissions for Unix sockets, and no Unix socket.
    ModeForNothing,
    /// Others than this machine reach the port for metrics, and none of them may read there.
    MetricsForNobody { address: SocketAddr },
}

/// Which program has a port.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// `herenow dev`.
    Dev,
    /// One that does not answer as `herenow dev` does.
    Other,
}

impl Holder {
    /// Asks the server that listens at the address for what `herenow dev` alone has.
    pub fn of(address: SocketAddr) -> Self {
        if Self::answers_as_dev(address).unwrap_or(false) { Self::Dev } else { Self::Other }
    }

    /// A `GET` of the page that takes only a `POST`.
    fn answers_as_dev(address: SocketAddr) -> io::Result<bool> {
        const REQUEST: &[u8] = b"GET /dev/token HTTP/1.1\r\nHost: localhost\r\n\r\n";
        const ANSWER: &[u8] = b"HTTP/1.1 405 ";
        let mut stream = TcpStream::connect_timeout(&address, ASK_TIME)?;
        stream.set_read_timeout(Some(ASK_TIME))?;
        stream.set_write_timeout(Some(ASK_TIME))?;
        stream.write_all(REQUEST)?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer == ANSWER)
    }
}

/// How long another program may take for each step of an answer.
const ASK_TIME: Duration = Duration::from_secs(1);

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken { address, flag, by } => {
                let (host, port) = (address.ip(), address.port());
                let next = port.wrapping_add(1).max(1024);
                let example = match *flag {
                    "--port" => format!("--port {next}"),
                    flag => format!("{flag} {}", SocketAddr::new(host, next)),
                };
                write!(
                    f,
                    "port {port} on {host} is in use by {by}. Stop it, or choose another port \
                     with `{example}`."
                )
            }
            Self::PathTaken { path } => write!(
                f,
                "another process listens on {}. Stop it, or choose another path with --listen.",
                path.display()
            ),
            Self::NoSocket { path } => write!(
                f,
                "{} exists and is not a socket of a server. Remove it, or choose another path with \
                 --listen.",
                path.display()
            ),
            Self::System { place, flag, error } => {
                write!(f, "cannot listen on {place} ({error}). Choose another with {flag}.")
            }
            Self::Twice { place } => {
                write!(f, "--listen names {place} twice. Name it once.")
            }
            Self::TooMany { limit } => {
                write!(f, "--listen names more than {limit} places. Name fewer.")
            }
            Self::ModeForNothing => f.write_str(
                "--unix-socket-mode is set, and --listen names no Unix socket. Remove it, or listen \
                 on a path such as unix:/run/herenow.sock.",
            ),
            Self::MetricsForNobody { address } => write!(
                f,
                "metricsListen is {address}, which other machines can reach, but none of them may read \
                 the metrics. Listen on 127.0.0.1, name the machines that may in metricsFrom, or set \
                 METRICS_TOKEN_FILE."
            ),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dev => "another `herenow dev`",
            Self::Other => "another program",
        })
    }
}

impl std::error::Error for ListenError {}

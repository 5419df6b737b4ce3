//! Why the process cannot listen, as one sentence that says what to change.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Place;

/// See the module. Nothing is left behind: what was bound before is released.
#[derive(Debug)]
pub enum ListenError {
    /// Another program has the port.
    PortTaken { address: SocketAddr, flag: &'static str },
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

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken { address, flag } => {
                let (host, port) = (address.ip(), address.port());
                let next = port.wrapping_add(1).max(1024);
                let example = match *flag {
                    "--port" => format!("--port {next}"),
                    flag => format!("{flag} {}", SocketAddr::new(host, next)),
                };
                write!(
                    f,
                    "port {port} on {host} is taken by another program. Stop that one, or choose \
                     another port with `{example}`."
                )
            }
            Self::PathTaken { path } => write!(
                f,
                "another process listens on {}. Stop that one, or choose another path with --listen.",
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
                "metricsListen is {address}, which others reach, and none of them may read the \
                 metrics. Listen on 127.0.0.1, name those who may in metricsFrom, or ask for a \
                 token with METRICS_TOKEN_FILE."
            ),
        }
    }
}

impl std::error::Error for ListenError {}

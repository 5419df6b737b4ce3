//! What the process listens on, and how many files it may open. Knows addresses and limits; what is
//! answered there is known to the server.

use std::io;
use std::net::SocketAddr;

use herenow_server::Listeners;
use herenow_server::config::{Config, Settings};
use tokio::net::{TcpListener, TcpSocket};

use crate::start::StartError;

/// The server's own port, and the one for metrics where the settings ask for it.
pub fn listen_all(
    (address, flag): (SocketAddr, &'static str),
    config: &Config,
) -> Result<(Listeners, SocketAddr, Option<SocketAddr>), StartError> {
    let settings = &config.settings;
    let may_others_read = !settings.metrics_from.is_empty() || config.keys.metrics_token.is_some();
    let metrics = match settings.metrics_listen {
        Some(address) if !address.ip().is_loopback() && !may_others_read => {
            return Err(StartError::MetricsForNobody { address });
        }
        Some(address) => Some(listen(address, "--metrics-listen")?),
        None => None,
    };
    let listeners = Listeners { public: listen(address, flag)?, metrics };
    let address = listeners.public.local_addr().map_err(StartError::System)?;
    let metrics = listeners.metrics.as_ref().map(TcpListener::local_addr).transpose();
    Ok((listeners, address, metrics.map_err(StartError::System)?))
}

/// The backlog holds a herd of handshakes that come back after a restart.
fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { address, flag },
        _ => StartError::Listen { address, flag, error },
    })
}

/// The kernel lowers it to its own bound (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// This process may open `allowed` files, and `wanted` connections are more than fit.
pub struct TooFewFiles {
    pub allowed: u64,
    pub wanted: usize,
}

/// A socket is an open file, and the usual soft limit of 1024 is meant for programs with few. What
/// the hard limit does not allow is taken from `max_connections`, so that health checks are still
/// answered when the server is full.
pub fn fit_to_open_files(settings: &mut Settings) -> Result<(), TooFewFiles> {
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
    let wanted = settings.max_connections;
    let fit = allowed.saturating_sub(OTHER_OPEN_FILES).max(allowed / 2);
    settings.max_connections = wanted.min(usize::try_from(fit).unwrap_or(usize::MAX));
    if settings.max_connections < wanted { Err(TooFewFiles { allowed, wanted }) } else { Ok(()) }
}

/// Listeners, polls, logs and HTTP connections.
const OTHER_OPEN_FILES: u64 = 512;

//! What the process listens on, and how many files it may open. Knows addresses, paths and limits;
//! what is answered there is known to the server.

mod error;
mod place;
mod unix_socket;

use error::Holder;
pub use error::ListenError;
pub use place::Place;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use herenow_server::config::{Config, Settings};
use herenow_server::{Listener, Listeners};
use tokio::net::{TcpListener, TcpSocket};

use crate::handover::Predecessor;

pub use unix_socket::SocketFile;

/// What to listen on for users.
#[derive(Debug)]
pub struct Wanted {
    /// Each once.
    pub places: Vec<Place>,
    /// The flag that chooses them.
    pub flag: &'static str,
    /// The permissions of Unix sockets, if the operator chooses them.
    pub unix_mode: Option<u32>,
}

/// What the process listens on. Dropping it removes the files of Unix sockets.
#[derive(Debug, Default)]
pub struct Listening {
    pub listeners: Listeners,
    /// For the log: where users come in, in the order in which the places were given.
    pub addresses: Vec<Place>,
    pub metrics: Option<SocketAddr>,
    pub files: Vec<SocketFile>,
    /// The same sockets once more, to hand them over, each with what it listens on as the operator
    /// wrote it. Nobody else is to hold them: a socket that nobody accepts from would go on listening.
    pub sockets: Vec<(String, OwnedFd)>,
}

/// Listens wherever users come in, and for metrics where the settings ask for it. What a predecessor
/// listens on already is taken from it.
pub fn listen_all(
    wanted: &Wanted,
    config: &Config,
    mut predecessor: Option<&mut Predecessor>,
) -> Result<Listening, ListenError> {
    wanted.check()?;
    let mut listening = Listening::default();
    if let Some(address) = config.settings.metrics_listen {
        check_metrics(address, config)?;
        let key = format!("{METRICS} {address}");
        let inherited = predecessor.as_mut().and_then(|one| one.take(&key));
        let (listener, bound) = tcp((address, "--metrics-listen"), inherited)?;
        listening.sockets.push((key, duplicate(&listener, &Place::Tcp(address))?));
        listening.listeners.metrics = Some(listener);
        listening.metrics = Some(bound);
    }
    for place in &wanted.places {
        let key = place.to_string();
        let inherited = predecessor.as_mut().and_then(|one| one.take(&key));
        listening.open(place, (wanted, inherited))?;
    }
    Ok(listening)
}

impl Wanted {
    fn check(&self) -> Result<(), ListenError> {
        let Self { places, unix_mode, .. } = self;
        let has_unix = places.iter().any(|place| matches!(place, Place::Unix(_)));
        if unix_mode.is_some() && !has_unix {
            return Err(ListenError::ModeForNothing);
        }
        if let Some(twice) = places.iter().enumerate().find(|(at, one)| places[..*at].contains(one))
        {
            return Err(ListenError::Twice { place: twice.1.clone() });
        }
        if places.len() > MAX_PLACES {
            return Err(ListenError::TooMany { limit: MAX_PLACES });
        }
        Ok(())
    }
}

impl Listening {
    /// Listens on one more place, over the socket that a predecessor has left or a new one.
    fn open(
        &mut self,
        place: &Place,
        (wanted, inherited): (&Wanted, Option<OwnedFd>),
    ) -> Result<(), ListenError> {
        let (listener, address) = match place {
            Place::Tcp(address) => {
                let (listener, address) = tcp((*address, wanted.flag), inherited)?;
                self.sockets.push((place.to_string(), duplicate(&listener, place)?));
                (listener.into(), Place::Tcp(address))
            }
            Place::Unix(path) => {
                let mode = wanted.unix_mode.unwrap_or(DEFAULT_UNIX_MODE);
                let (listener, file) = match inherited {
                    Some(socket) => unix_socket::inherit(path, socket)?,
                    None => unix_socket::listen(path, mode)?,
                };
                self.files.push(file);
                self.sockets.push((place.to_string(), duplicate(&listener, place)?));
                (Listener::Unix(listener), place.clone())
            }
        };
        self.listeners.public.push(listener);
        self.addresses.push(address);
        Ok(())
    }
}

/// More have no use, and each costs a turn of the accept loop.
pub const MAX_PLACES: usize = 16;

/// Its owner and its group may connect: a proxy that runs as another user joins the group.
const DEFAULT_UNIX_MODE: u32 = 0o660;

/// What the socket for metrics is called among those that are handed over.
const METRICS: &str = "metrics";

fn check_metrics(address: SocketAddr, config: &Config) -> Result<(), ListenError> {
    let Config { settings, keys, .. } = config;
    let may_others_read = !settings.metrics_from.is_empty() || keys.metrics_token.is_some();
    if !address.ip().is_loopback() && !may_others_read {
        return Err(ListenError::MetricsForNobody { address });
    }
    Ok(())
}

/// A socket that a predecessor has left, or a new one.
fn tcp(
    (address, flag): (SocketAddr, &'static str),
    inherited: Option<OwnedFd>,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let Some(socket) = inherited else { return listen(address, flag) };
    let taken = || {
        let listener = TcpListener::from_std(std::net::TcpListener::from(socket))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    taken().map_err(|error| ListenError::System { place: Place::Tcp(address), flag, error })
}

fn duplicate(listener: &impl AsFd, place: &Place) -> Result<OwnedFd, ListenError> {
    let socket = listener.as_fd().try_clone_to_owned();
    let flag = "--listen";
    socket.map_err(|error| ListenError::System { place: place.clone(), flag, error })
}

/// The backlog holds a herd of handshakes that come back after a restart.
fn listen(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            ListenError::PortTaken { address, flag, by: Holder::of(address) }
        }
        _ => ListenError::System { place: Place::Tcp(address), flag, error },
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

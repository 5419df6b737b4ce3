//! Takes connections from listeners and bounds how many HTTP holds. Never waits for a peer: if
//! there is no room for a connection, an older one gives way, as `places` decides.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::places::{Caller, Limits, Place, Places, Room, Share};
use super::visit::Visit;
use super::{FrontDoor, Port, count};
use crate::admission::{self, Source};
use crate::client_address::Peer;
use crate::listener::{self, Arrival, Listener};

/// Connections that HTTP holds at once on the server's port, those whose head has not arrived
/// included. An HTTP connection costs kilobytes, a WebSocket does not; without a bound a herd of
/// thousands of handshakes would leave that memory behind.
const PUBLIC_LIMITS: Limits = Limits { all: 256, subnet: 32, site: 128 };

/// The same on the port for metrics.
const METRICS_LIMITS: Limits = Limits { all: 32, subnet: 8, site: 16 };

/// How long to leave the listener alone when it fails, as it does at once and again while files
/// have run out, unless a connection ends earlier.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One line about it in so much time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// How long connections may take to end once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes connections until `closing` changes, and returns when HTTP holds none any more.
pub(super) async fn serve(
    (door, port): (Arc<FrontDoor>, Port),
    listeners: Vec<Listener>,
    mut closing: watch::Receiver<bool>,
) {
    let mut entrance = Accepting::new(door, port, closing.clone());
    tokio::select! {
        () = entrance.accept(&listeners) => {}
        _ = closing.changed() => {}
    }
    drop(listeners);
    let all_left = async {
        while !entrance.places.is_empty() {
            entrance.places.one_left().await;
        }
    };
    let _ = timeout(STOP_TIMEOUT, all_left).await;
}

struct Accepting {
    door: Arc<FrontDoor>,
    port: Port,
    places: Places,
    closing: watch::Receiver<bool>,
    last_complaint: Option<Instant>,
}

impl Accepting {
    fn new(door: Arc<FrontDoor>, port: Port, closing: watch::Receiver<bool>) -> Self {
        let places = Places::new(match port {
            Port::Public => PUBLIC_LIMITS,
            Port::Metrics => METRICS_LIMITS,
        });
        Self { door, port, places, closing, last_complaint: None }
    }

    async fn accept(&mut self, listeners: &[Listener]) {
        for turn in 0.. {
            match listener::accept(listeners, turn).await {
                Ok((arrival, peer)) => self.let_in(arrival, peer).await,
                Err(error) if is_the_peers(&error) => {}
                Err(error) => self.recover(&error).await,
            }
        }
    }

    async fn let_in(&mut self, arrival: Arrival, peer: Peer) {
        let is_shared = admission::is_shared(&self.door.settings, peer);
        let share = if is_shared { Share::Unlimited } else { Share::Limited };
        let caller = Caller { source: Source::of(peer), share };
        let Some(place) = self.place(caller).await else {
            count(&self.door.metrics.refused_address_full);
            return;
        };
        let visit = Visit { door: Arc::clone(&self.door), port: self.port, peer, place };
        let closing = self.closing.clone();
        match arrival {
            Arrival::Tcp(stream) => tokio::spawn(visit.attend(stream, closing)),
            Arrival::Unix(stream) => tokio::spawn(visit.attend(stream, closing)),
        };
    }

    /// A place for a connection that has been accepted. Waits only while every connection that
    /// could give way has come a moment ago.
    async fn place(&mut self, caller: Caller) -> Option<Place> {
        loop {
            let now_ms = self.door.now_ms();
            match self.places.make_room(caller, now_ms) {
                Room::Now => return Some(self.places.take(caller, now_ms)),
                Room::No => return None,
                Room::NotBefore { ms } => {
                    let wait = Duration::from_millis(ms.saturating_sub(now_ms));
                    let _ = timeout(wait, self.places.one_left()).await;
                }
            }
        }
    }

    /// The listener has failed, most likely because this process may open no more files. HTTP
    /// gives one back, so that health checks and metrics still get through.
    async fn recover(&mut self, error: &io::Error) {
        let door = &self.door;
        door.metrics.accept_failures.fetch_add(1, Ordering::Relaxed);
        if self.last_complaint.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.last_complaint = Some(Instant::now());
            tracing::error!(%error, "cannot accept connections; the limit of open files may be too low");
        }
        if self.places.free_one(door.now_ms()).is_ok() {
            let _ = timeout(ACCEPT_PAUSE, self.places.one_left()).await;
        } else {
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Errors of one connection that was gone before it was taken; the listener is well.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

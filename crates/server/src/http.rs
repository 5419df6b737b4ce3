//! The front door: takes connections, answers HTTP, and hands upgraded sockets to the loops. Bounds
//! what is inside at any moment: if there is no room, the oldest connection of the address that
//! holds most gives way.
//!
//! What a page holds, whether a handshake is right and who may come in are known to `dev`,
//! `upgrade` and `admission`.

mod accept;
mod places;
mod routes;
mod visit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::Minter;
use crate::config::{Pages, Settings};
use crate::loops::Loops;
use crate::metrics::DoorMetrics;

/// What every request may need.
pub(crate) struct FrontDoor {
    pub settings: Arc<Settings>,
    pub loops: Loops,
    pub pages: Pages,
    /// What development tokens are signed with.
    pub minter: Option<Minter>,
    pub metrics: DoorMetrics,
    /// When the server started; times of connections are counted from it.
    pub opened: Instant,
}

/// Where WebSockets are opened.
pub const REALTIME_PATH: &str = "/api/realtime";

/// Takes connections until `closing` changes, and returns when HTTP holds none any more.
pub(crate) async fn serve(
    door: Arc<FrontDoor>,
    listener: TcpListener,
    closing: watch::Receiver<bool>,
) {
    accept::serve(door, listener, closing).await;
}

impl FrontDoor {
    fn now_ms(&self) -> u64 {
        // Half a billion years fit.
        self.opened.elapsed().as_millis() as u64
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;

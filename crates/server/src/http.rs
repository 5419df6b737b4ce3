//! The front door: takes connections, answers HTTP, and hands upgraded sockets to the loops. Bounds
//! what is inside at any moment: if there is no room, the oldest connection of the address that
//! holds most gives way.
//!
//! What a page holds, whether a handshake is right and who may come in are known to `dev`,
//! `console`, `upgrade` and `admission`.

mod accept;
mod api;
mod bearer;
mod health;
mod metrics_access;
mod places;
mod routes;
mod streams;
mod visit;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use api::Api;

use crate::admission::{Admission, AdmissionDecision};
use crate::auth::{Minter, Renewal, RunKey, Secret};
use crate::client_address::{Client, Naming, Unnamed};
use crate::cluster::Cluster;
use crate::config::{Pages, Settings};
use crate::line_rate::LineRate;
use crate::listener::Listener;
use crate::loops::Loops;
use crate::metrics::DoorMetrics;
use crate::webhooks::Webhooks;

/// What every request may need.
pub(crate) struct FrontDoor {
    pub settings: Arc<Settings>,
    /// Counts unauthenticated connections by the address of their client. Only the HTTP thread asks
    /// it, so nobody waits for the lock.
    pub admission: Mutex<Admission>,
    /// The log has said that a trusted proxy names no client.
    pub unnamed: AtomicBool,
    pub loops: Loops,
    /// If this server is one of several.
    pub cluster: Option<Cluster>,
    pub pages: Pages,
    /// What development tokens are signed with.
    pub minter: Option<Minter>,
    /// The service key that was made for a run of `dev`.
    pub run_key: Option<RunKey>,
    /// The token that opens the metrics.
    pub metrics_token: Option<Secret>,
    pub metrics: DoorMetrics,
    /// How often refused origins are logged.
    pub refused_origins: LineRate,
    pub webhooks: Webhooks,
    /// Of a key set that is fetched from a URL.
    pub renewal: Option<Arc<Renewal>>,
    /// What backends ask.
    pub api: Api,
    /// When the server started; times of connections are counted from it.
    pub opened: Instant,
    /// Whether the server has begun to stop.
    pub draining: watch::Receiver<bool>,
}

/// Where WebSockets are opened.
pub const REALTIME_PATH: &str = "/api/realtime";

/// Which listeners a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The server's own, wherever they listen.
    Public,
    /// `metricsListen`: metrics and health alone, whatever happens at the public one.
    Metrics,
}

/// Takes connections of everybody until `closing` changes, and returns when HTTP holds none any more.
pub(crate) async fn serve(
    door: Arc<FrontDoor>,
    listeners: Vec<Listener>,
    closing: watch::Receiver<bool>,
) {
    accept::serve((door, Port::Public), listeners, closing).await;
}

/// The same at the port for metrics and health.
pub(crate) async fn serve_metrics(
    door: Arc<FrontDoor>,
    listener: TcpListener,
    closing: watch::Receiver<bool>,
) {
    accept::serve((door, Port::Metrics), vec![listener.into()], closing).await;
}

impl FrontDoor {
    /// Counts a client that asks for a WebSocket towards its address.
    fn admit(&self, client: Client) -> AdmissionDecision {
        if let Naming::Unknown(why) = client.naming {
            self.report_unnamed(client, why);
        }
        // A count is one addition: a panic leaves nothing half done.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner).admit(client)
    }

    /// The clients of a proxy that names none of them share what one address may hold, so that some
    /// of them keep the others out. The operator learns of it once.
    fn report_unnamed(&self, client: Client, why: Unnamed) {
        let proxy = client.peer;
        if self.unnamed.swap(true, Ordering::Relaxed) {
            tracing::debug!(%proxy, "a trusted proxy names no client address: {why}");
        } else {
            tracing::warn!(
                %proxy,
                "a trusted proxy names no client address, so its clients count as one address \
                 towards maxUnauthenticatedPerAddress: {why}"
            );
        }
    }

    fn now_ms(&self) -> u64 {
        // Half a billion years fit.
        self.opened.elapsed().as_millis() as u64
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

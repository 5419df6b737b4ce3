//! The cluster as an operator sees it, without being a node: the list of nodes as the bucket holds it, and whose
//! heartbeats are heard.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::ConnectErrorKind;
use futures_util::StreamExt as _;
use herenow_cluster::{Key, NodeName, Read, Serving, Subject, View};
use tokio::time::{Instant, timeout_at};

use super::check::connect;
use super::error::ClusterError;
use super::requests;
use super::settings::{ClusterSettings, shown};
use super::subjects::Subjects;

/// What is known of a cluster.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of the list of nodes.
    pub view: u64,
    /// The version of the protocol between nodes.
    pub protocol: u32,
    /// The nodes.
    pub nodes: Vec<SeenNode>,
}

/// What is known of a node.
#[derive(Clone, Debug)]
pub struct SeenNode {
    /// Its name.
    pub name: String,
    /// Which of its lives.
    pub incarnation: String,
    /// Whether it is about to leave.
    pub is_draining: bool,
    /// Of how many shards, of 1024, it decides the channels.
    pub shards: usize,
    /// How long ago its last heartbeat was heard; `None`: none was.
    pub beat_age: Option<Duration>,
}

/// A living node beats each second.
const LISTEN_FOR: Duration = Duration::from_millis(1500);

/// Looks at a cluster.
pub async fn observe(settings: &ClusterSettings) -> Result<Seen, ClusterError> {
    let mut client = None;
    for (url, address) in settings.servers.iter().zip(settings.addresses()) {
        client = match connect(settings, address).await? {
            Ok(connected) => Some(connected),
            Err(ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication) => {
                return Err(ClusterError::Credentials(shown(url)));
            }
            Err(ConnectErrorKind::Tls) => return Err(ClusterError::Tls(shown(url))),
            Err(_) => continue,
        };
        break;
    }
    let (client, _events) = client.ok_or_else(|| ClusterError::Away(settings.shown_servers()))?;
    let subjects = Subjects::of(&settings.name);
    let host = || settings.servers.first().map(shown).unwrap_or_default();
    let beats = client.subscribe(subjects.subject(&Subject::Beats)).await;
    let mut beats = beats.map_err(|_| ClusterError::Away(host()))?;
    let mut heard: BTreeMap<NodeName, Instant> = BTreeMap::new();
    let end = Instant::now() + LISTEN_FOR;
    while let Ok(Some(message)) = timeout_at(end, beats.next()).await {
        if let Some(node) = Subjects::node(&message.subject) {
            heard.insert(node, Instant::now());
        }
    }
    let read = requests::read(&client, &subjects, subjects.key(&Key::View)).await;
    let view = match read {
        Ok(Read::Found(_, bytes)) => View::decode(&bytes).ok(),
        Ok(Read::Absent) | Err(requests::Failure::NoBucket) => None,
        _ => return Err(ClusterError::NoJetStream(host())),
    };
    let view = view.ok_or_else(|| ClusterError::NoCluster(settings.name.to_string()))?;
    let nodes = view.nodes.iter().map(|node| SeenNode {
        name: node.name.to_string(),
        incarnation: node.incarnation.to_string(),
        is_draining: node.serving == Serving::Draining,
        shards: view.shards_of(node.incarnation),
        beat_age: heard.get(&node.name).map(Instant::elapsed),
    });
    Ok(Seen { view: view.v, protocol: view.protocol, nodes: nodes.collect() })
}

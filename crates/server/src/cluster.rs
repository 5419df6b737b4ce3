//! One of several servers that are one presence: the node machine of `herenow_cluster` on a thread of its own,
//! between the event loops of this process and a NATS server. This carries out what the machine says,
//! and decides nothing.

mod agreement;
mod check;
mod clock;
mod engine;
mod error;
mod events;
mod metrics;
mod observe;
mod outbox;
mod pacing;
mod questions;
mod requests;
mod settings;
mod shared_key;
mod shell;
mod subjects;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use herenow_cluster::{AskError, AskId, Member, NodeName, Serving, View};
use herenow_wire::link::Incarnation;
use tokio::sync::{mpsc, oneshot, watch};

use crate::auth::ResumeKey;
use crate::mailbox::Mailbox;

pub use check::check;
pub use error::ClusterError;
pub use metrics::ClusterMetrics;
pub use observe::{Seen, SeenNode, observe};
pub use settings::{ClusterFlags, ClusterSettings};

pub(crate) use agreement::shared;
pub(crate) use clock::BootClock;
use metrics::Traffic;
pub(crate) use outbox::{NodeInbox, NodeOutbox, outbox};
pub(crate) use questions::{Place, Questions};

/// The thread of the cluster. Clones speak to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    clock: BootClock,
    node: NodeName,
    is_draining: Arc<AtomicBool>,
}

/// What the thread has to do with in this process.
pub(crate) struct Inside {
    /// From every loop.
    pub(crate) inbox: NodeInbox,
    /// To every loop, by index.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    /// Becomes that of the cluster.
    pub(crate) resume_key: ResumeKey,
    /// What other nodes should have as well.
    pub(crate) shared_settings: BTreeMap<String, String>,
}

/// What the rest of the server wants to know of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    /// Which life of this node it is.
    pub(crate) me: Option<Incarnation>,
    /// The newest view that is known.
    pub(crate) view: Option<Arc<View>>,
    /// Whether this node has ever been in a view: what is held for clients can be shown from then on.
    pub(crate) has_joined: bool,
    /// Whether this node is in the view.
    pub(crate) is_in: bool,
    /// Whether resume tokens are signed with the key of the cluster.
    pub(crate) has_key: bool,
    /// Until when it may act for the cluster.
    pub(crate) lease_until: herenow_core::Instant,
    /// Whether it has left, and does not come back.
    pub(crate) has_left: bool,
    /// What has been counted.
    pub(crate) traffic: Traffic,
}

/// What the thread is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Another node is asked.
    Ask { to: Incarnation, body: Arc<[u8]>, answer: oneshot::Sender<questions::Asked> },
    /// Another node, which has asked, is answered.
    Answer { to: Incarnation, id: AskId, body: Vec<u8> },
    /// The node's shards go to others.
    Drain,
    /// The node leaves the view, and the thread ends.
    Leave,
}

/// The version of the protocol between nodes.
const PROTOCOL: u32 = 1;
/// How long the shards of a node may take to move away.
const DRAIN_TIME: Duration = Duration::from_millis(1000);
/// How long the departure from the view may take. Without it the others notice that this node is silent.
const LEAVE_TIME: Duration = Duration::from_millis(1000);

impl Cluster {
    /// Starts the thread, which joins by itself.
    pub(crate) fn start(
        settings: Arc<ClusterSettings>,
        inside: Inside,
    ) -> io::Result<(Self, Questions)> {
        let clock = BootClock::start();
        let (commands, received) = mpsc::unbounded_channel();
        let (told, status) = watch::channel(Status::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let node = settings.node.clone();
        let (desk, questions) = questions::Desk::new(&commands);
        let parts = shell::Parts { settings, inside, commands: received, desk, told, clock };
        let thread = std::thread::Builder::new().name("cluster".into());
        thread.spawn(move || {
            runtime.block_on(shell::run(parts));
            runtime.shutdown_background();
        })?;
        let cluster = Self { commands, status, clock, node, is_draining: Arc::default() };
        Ok((cluster, questions))
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> ClusterMetrics {
        ClusterMetrics::of(&self.status.borrow(), self.clock)
    }

    /// Whether new clients should come to this node: it is an active member, and stays one.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_lease() && self.takes_clients()
    }

    /// Its name.
    pub(crate) fn node(&self) -> &NodeName {
        &self.node
    }

    /// Where this node stands, while it is in the view.
    pub(crate) fn place(&self) -> Option<Place> {
        let status = self.status.borrow();
        let (me, view) = (status.me.filter(|_| status.is_in)?, status.view.clone()?);
        Some(Place { me, view })
    }

    /// Asks another node. Answered within the time that nodes have to answer.
    pub(crate) async fn ask(&self, to: Incarnation, body: Arc<[u8]>) -> Result<Vec<u8>, AskError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.commands.send(Command::Ask { to, body, answer });
        answered.await.unwrap_or(Err(AskError::Silent))
    }

    /// Whether this node may act for the cluster now.
    pub(crate) fn has_lease(&self) -> bool {
        let status = self.status.borrow();
        status.is_in && self.clock.now() < status.lease_until
    }

    /// Whether clients may connect: their members would be seen.
    pub(crate) fn takes_clients(&self) -> bool {
        let status = self.status.borrow();
        status.has_joined && status.has_key && !self.is_draining.load(Ordering::Relaxed)
    }

    /// Has the shards of this node move to others, and returns when they have or the time is over.
    pub(crate) async fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        let _ = self.commands.send(Command::Drain);
        self.wait(DRAIN_TIME, |status| status.home_shards() == 0 || status.is_last()).await;
    }

    /// Has this node leave the view, and returns when it has or the time is over.
    pub(crate) async fn leave(&self) {
        let _ = self.commands.send(Command::Leave);
        self.wait(LEAVE_TIME, |status| status.has_left).await;
    }

    async fn wait(&self, within: Duration, is_done: impl FnMut(&Status) -> bool) {
        let mut status = self.status.clone();
        let _ = tokio::time::timeout(within, status.wait_for(is_done)).await;
    }
}

impl Status {
    /// Whether no other node could be a home.
    fn is_last(&self) -> bool {
        let others = self.view.iter().flat_map(|view| &view.nodes);
        let is_open = |node: &Member| node.serving == Serving::Open;
        !others.filter(|node| Some(node.incarnation) != self.me).any(is_open)
    }

    /// Of how many shards this node is the home.
    fn home_shards(&self) -> usize {
        let (Some(view), Some(me)) = (&self.view, self.me.filter(|_| self.is_in)) else { return 0 };
        view.shards_of(me)
    }
}

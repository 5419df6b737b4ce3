//! From the loops to the cluster's thread. A loop never waits for it: the thread takes everything at
//! once, and what cannot go to another node is owed by its link. If the thread itself is behind, the loops
//! read no sockets until it has caught up, as they do for the mailbox of another loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use herenow_core::{NodeMail, Owner, Peer};
use tokio::sync::mpsc;

/// What a loop has handed in.
#[derive(Debug)]
pub(crate) struct FromLoop {
    pub(super) hub: u16,
    pub(super) owner: Owner,
    pub(super) mail: Vec<NodeMail>,
    pub(super) items: usize,
}

/// Where loops hand in what they have for other nodes.
#[derive(Clone, Debug)]
pub(crate) struct NodeOutbox {
    queue: mpsc::UnboundedSender<FromLoop>,
    waiting_items: Arc<AtomicUsize>,
}

/// Where the cluster's thread finds it.
#[derive(Debug)]
pub(crate) struct NodeInbox {
    queue: mpsc::UnboundedReceiver<FromLoop>,
    waiting_items: Arc<AtomicUsize>,
}

/// So many items may wait before loops read no more sockets. Each shares its state, which is 16 KiB at
/// most, with the loop that sent it.
const MAX_WAITING_ITEMS: usize = 65_536;
/// What is handed over in one go.
const TAKEN_AT_ONCE: usize = 4096;

/// Both ends.
pub(crate) fn outbox() -> (NodeOutbox, NodeInbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting_items = Arc::<AtomicUsize>::default();
    let outbox = NodeOutbox { queue: sender, waiting_items: Arc::clone(&waiting_items) };
    (outbox, NodeInbox { queue: receiver, waiting_items })
}

impl NodeOutbox {
    pub(crate) fn post(&self, hub: Peer, owner: Owner, mail: Vec<NodeMail>) {
        let items = mail.iter().map(count).sum();
        self.waiting_items.fetch_add(items, Ordering::Relaxed);
        if self.queue.send(FromLoop { hub: hub.0, owner, mail, items }).is_err() {
            // The node has left, and nothing waits for it any more.
            self.waiting_items.fetch_sub(items, Ordering::Relaxed);
        }
    }

    /// Whether the cluster's thread is behind.
    pub(crate) fn is_backpressured(&self) -> bool {
        self.waiting_items.load(Ordering::Relaxed) > MAX_WAITING_ITEMS
    }
}

impl NodeInbox {
    /// Waits for mail, and takes what has come. Nothing is lost if this is dropped.
    pub(super) async fn take(&mut self) -> Vec<FromLoop> {
        let mut taken = Vec::new();
        self.queue.recv_many(&mut taken, TAKEN_AT_ONCE).await;
        let items = taken.iter().map(|from| from.items).sum();
        self.waiting_items.fetch_sub(items, Ordering::Relaxed);
        taken
    }
}

fn count(mail: &NodeMail) -> usize {
    match mail {
        NodeMail::Items { items, .. }
        | NodeMail::ToAll { items }
        | NodeMail::Owed { items, .. }
        | NodeMail::Contents { items, .. } => 1 + items.len(),
        NodeMail::Told { .. } | NodeMail::Lost { .. } => 1,
    }
}

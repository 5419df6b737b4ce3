//! The interface of the machine: what it is told, and what it wants done.
//!
//! The *owner* is the code that holds this machine and knows who has the data of presence, which makes
//! the items that are sent and applies those that come: [`crate::Exchange`].

use std::sync::Arc;

use herenow_core::{Instant, Owed};
use herenow_wire::ChannelName;
use herenow_wire::link::{Incarnation, Item, Urgency};

use crate::asking::{AskError, AskId};
use crate::engine::{Key, Read, RequestId, Revision, Subject, Swapped};
use crate::terms::Term;
use crate::value::NodeName;
use crate::view::View;

/// The time, as two clocks show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// On a clock that runs while the machine is suspended: leases are measured with it.
    pub at: Instant,
    /// On the wall. It may be wrong: only the numbers of views are made from it.
    pub unix_seconds: u64,
}

/// What the machine is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A deadline has come: see [`crate::Node::poll_timeout`].
    Timeout,
    /// The answer to [`Effect::Read`].
    Read(RequestId, Read),
    /// The answer to [`Effect::Swap`].
    Swapped(RequestId, Swapped),
    /// Something came on the node's own inbox.
    Packet(&'a [u8]),
    /// Something came on [`Subject::View`].
    Hint(&'a [u8]),
    /// Something came on [`Subject::Beats`], about this node.
    Beat(NodeName, &'a [u8]),
    /// The owner has something for another node.
    Send(Outgoing),
    /// The owner answers [`Fact::OwedWanted`]. What it was asked for may be answered in several
    /// pieces, each with the items of what it names.
    Owed(Owed, Outgoing),
    /// The owner answers [`Fact::ResetWanted`].
    Reset {
        /// Which node asked.
        to: Incarnation,
        /// Everything that is owed.
        contents: Contents,
    },
    /// Everything up to batch `n` of a node has been applied, and what follows from it has been
    /// sent: it may be acknowledged.
    Told {
        /// Whose batch.
        from: Incarnation,
        /// Its number.
        n: u64,
    },
    /// The owner asks another node.
    Ask {
        /// Comes back with the answer.
        id: AskId,
        /// Which node.
        to: Incarnation,
        /// What.
        body: Arc<[u8]>,
    },
    /// The owner answers [`Fact::Asked`].
    Answer {
        /// Which node asked.
        to: Incarnation,
        /// The number of its request.
        id: AskId,
        /// The answer.
        body: Vec<u8>,
    },
    /// The owner has lost what it had of a shard as its home in this term: another term is to begin.
    Renew(u16, Term),
    /// The node is to have no shards any more.
    Drain,
    /// The node is to leave the view, and not to come back.
    Leave,
}

/// Items for one node. They are one flush: it goes as one batch where it fits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// The receiver.
    pub to: Incarnation,
    /// What, in order.
    pub items: Vec<Item>,
    /// Whether a client waits for the acknowledgement.
    pub urgency: Urgency,
}

/// Everything that is owed to a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// A report of each shard whose home it is, and again the puts that were not acknowledged.
    /// Refusals, kicks and the like need not be said again: the link keeps those.
    pub items: Vec<Item>,
    /// The open channels of this home that it is interested in. Their snapshots are asked for by
    /// [`Fact::OwedWanted`], a few at a time.
    pub channels: Vec<ChannelName>,
}

/// What the machine wants done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Read a key.
    Read(RequestId, Key),
    /// Write a key, if it is in this revision.
    Swap {
        /// Comes back with the answer.
        id: RequestId,
        /// Which key.
        key: Key,
        /// The revision that it must be in.
        expected: Revision,
        /// What to write.
        value: Vec<u8>,
    },
    /// Publish this. It may be lost.
    Publish(Subject, Vec<u8>),
    /// Hear a subject from here on.
    Subscribe(Subject),
    /// Hear it no more.
    Unsubscribe(Subject),
    /// The owner is told this.
    Fact(Fact),
}

/// What the owner is told. It acts on each before the next. It may take its time to answer, as long as
/// it answers in the order in which it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// There is a new view.
    View(Arc<View>),
    /// The node is in the view now. The contents for every other node are asked for next.
    Joined,
    /// The node is out: it is the home of nothing, its links are gone. It goes on as this
    /// incarnation, and puts everything again when it has joined.
    Out(Incarnation),
    /// The node has left the view and does not come back.
    Left,
    /// What leaves the cluster may leave it until then: webhooks, answers over HTTP.
    LeaseUntil(Instant),
    /// A node has left the view: its members go, or keep their grace.
    Gone(Incarnation),
    /// This node is the home of a shard from here on. Its map is empty, and changes wait in it
    /// until [`Fact::Opened`].
    Home {
        /// Which shard.
        shard: u16,
        /// In which epoch.
        epoch: u64,
    },
    /// Every node has reported what it has of the shard: it decides from here on.
    Opened {
        /// Which shard.
        shard: u16,
        /// In which epoch.
        epoch: u64,
    },
    /// The shard has another home than before: what this node has in it goes there from here on, and
    /// puts that wait for an answer go again when that home asks for a report. If this node was its
    /// home, it is not any more.
    Moved {
        /// Which shard.
        shard: u16,
        /// Its home now.
        term: Term,
    },
    /// The home of these shards asks for this node's reports. Another one about the same shard
    /// follows only for another term: what is lost is asked for by [`Fact::ResetWanted`].
    ReportWanted {
        /// The receiver of the reports.
        home: Incarnation,
        /// Each shard, and the epoch that its report names.
        shards: Vec<(u16, u64)>,
    },
    /// A batch came. It is applied, and [`Input::Told`] says when what follows from it was sent.
    Received {
        /// The sender.
        from: Incarnation,
        /// Its number.
        n: u64,
        /// What it holds.
        items: Vec<Item>,
    },
    /// What was just handed in goes with the batches up to this one. Without it, what was handed in is
    /// owed, or the stream begins anew.
    Sent {
        /// The receiver.
        to: Incarnation,
        /// The number of the last batch.
        n: u64,
    },
    /// A node of the view asks. Answered by [`Input::Answer`], in any order.
    Asked {
        /// Which node.
        from: Incarnation,
        /// The number that it has given to its request.
        id: AskId,
        /// What it asks.
        body: Vec<u8>,
    },
    /// What came of [`Input::Ask`].
    Answered {
        /// The number of the request.
        id: AskId,
        /// The answer, if there is one.
        answer: Result<Vec<u8>, AskError>,
    },
    /// The node has applied and told everything up to this batch.
    Acked {
        /// Which node.
        by: Incarnation,
        /// The number of the batch.
        n: u64,
    },
    /// The stream to a node begins, or begins anew. Answered by [`Input::Reset`]; until then nothing is sent.
    /// What was sent before and is not acknowledged counts as lost: an acknowledgement that comes
    /// later is only about what is in the contents.
    ResetWanted(Incarnation),
    /// The link to a node has room again. Answered by [`Input::Owed`] with the reports and snapshots
    /// that are named. Until then the link sends nothing of what they replace, and asks for nothing
    /// more.
    OwedWanted(Incarnation, Owed),
}

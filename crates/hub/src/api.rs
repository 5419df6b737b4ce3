//! The interface of a hub: the events that it takes, and the calls that it makes to the shell.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    Asker, Auth, Claim, Instant, NodeEvent, NodeMail, Owner, Peer, Policy, Question, Ruling,
    Verification,
};
use herenow_wire::{ChannelName, ConnectionId, DefaultChannel, UserId};

use crate::announcements::Announcement;
use crate::deadline::Deadline;
use crate::history::{Origin, RuleOutcome, TokenFacts};
use crate::hub::Hub;
use crate::mail::Mail;
use crate::reading::TurnBudget;
use crate::requests::{QueryId, Request, Response};
use crate::work::Work;

/// An event for a hub.
#[derive(Debug)]
pub enum Event<'a> {
    /// A socket was opened. The slot is free: it has never been used, or [`Io::close`] named it.
    Opened {
        /// The shell's number for the socket. Small, since it is the index of arrays.
        slot: u32,
        /// The server's name for the connection: 128 bits that nobody can guess.
        id: ConnectionId,
        /// What it was opened for.
        opening: Opening,
    },
    /// Bytes came from a socket, cut anywhere. They are unmasked in place.
    Received {
        /// From which.
        slot: u32,
        /// What came.
        bytes: &'a mut [u8],
    },
    /// A socket that did not take all it was given takes more now.
    Writable {
        /// Which.
        slot: u32,
    },
    /// A socket has ended.
    Ended {
        /// Which.
        slot: u32,
        /// How.
        how: End,
    },
    /// What became of a token that [`Io::verify`] was given.
    Verified {
        /// Who asked.
        asker: Asker,
        /// What became of it.
        checked: Checked,
    },
    /// The answer to a question that [`Io::ask`] was given.
    Ruling {
        /// Who asked.
        asker: Asker,
        /// The channel in question.
        channel: ChannelName,
        /// The answer.
        ruling: Ruling,
        /// What the rule said, if one was to be run.
        rule: Option<RuleOutcome>,
    },
    /// A new connection needs the place of a detached session: the one that has been without a socket
    /// for longest is to end.
    EvictDetached,
    /// A batch from another hub.
    Mail(Vec<Mail>),
    /// The exchange says something of other nodes.
    Nodes(Vec<NodeEvent>),
    /// A backend asks.
    Request {
        /// The shell's number for it.
        id: QueryId,
        /// What.
        request: Request,
    },
    /// The rules or settings of channels are others from here on.
    Reload(Arc<Policy>),
    /// Close every connection, evenly over this time, for clients to go to other nodes. Members leave, or
    /// keep their grace.
    Drain {
        /// The time.
        over: Duration,
    },
    /// Close every connection, and end when they are gone or the time is over.
    ShutDown {
        /// How long to wait.
        within: Duration,
        /// Over how long the clients are spread that are asked to come back.
        return_within: Duration,
    },
}

/// What a socket was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A client has upgraded it.
    Client {
        /// The channel of messages that name none.
        default_channel: DefaultChannel,
        /// Where it comes from, if that is to be remembered.
        origin: Option<Box<Origin>>,
    },
    /// The server itself watches a channel by it, for a backend.
    Watch {
        /// The channel.
        channel: ChannelName,
    },
}

/// How a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has ended it, and there is nothing more to read.
    Finished,
    /// It was reset, or broke otherwise.
    Broken,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The socket took so many bytes. If that is not all, [`Event::Writable`] follows.
    Bytes(usize),
    /// The socket is broken.
    Broken,
}

/// What asking gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// The answer.
    Now(T),
    /// It comes as an event.
    Later,
}

/// What came of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What the session is told.
    pub verification: Verification,
    /// What is remembered of it, if anything is.
    pub facts: Option<Box<TokenFacts>>,
}

impl From<Verification> for Checked {
    fn from(verification: Verification) -> Self {
        Self { verification, facts: None }
    }
}

/// Why the access rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits for the answer.
    Request,
    /// The rules have changed, and what was granted is asked again.
    Review,
}

/// The calls that a hub makes to the shell. Generic, so that a write costs no call through a table.
pub trait Io {
    /// Writes the parts, in order, as far as the socket takes them.
    fn write(&mut self, slot: u32, parts: &[IoSlice<'_>]) -> Wrote;
    /// Nothing more will be written: the peer is to read what there is, then the end.
    fn shutdown_write(&mut self, slot: u32);
    /// Drops the socket. Its slot is free from here on.
    fn close(&mut self, slot: u32);
    /// The socket is to be read again: [`Hub::read_limit`] is no longer 0.
    fn resume(&mut self, slot: u32);
    /// The connection has authenticated or subscribes to a public channel.
    fn admitted(&mut self, slot: u32);
    /// Sends a batch to another hub, or gives it back if its mailbox is full.
    fn post(&mut self, to: Peer, mail: Vec<Mail>) -> Result<(), Vec<Mail>>;
    /// Hands the exchange what is for other nodes. Never waits: what cannot go is owed by the links.
    fn post_to_nodes(&mut self, from: Owner, mail: Vec<NodeMail>);
    /// Has a token verified, and the resume token that came with it.
    fn verify(&mut self, asker: Asker, token: &str, resume: Option<&str>) -> Asked<Checked>;
    /// Has the access rules asked. `auth` is the asker's, if it has authenticated.
    fn ask(
        &mut self,
        asker: (Asker, Purpose),
        question: &Question,
        auth: Option<&Auth>,
    ) -> Asked<Ruling>;
    /// Whether the rules can be asked for another review now.
    fn takes_reviews(&self) -> bool;
    /// The token with which `user` may take a connection over.
    fn resume_token(&mut self, claim: Claim, user: &UserId) -> Box<str>;
    /// The answer to [`Event::Request`].
    fn respond(&mut self, id: QueryId, response: Response);
    /// Tells those who follow channels from outside. Never waits.
    fn announce(&mut self, announcement: Announcement);
    /// Changes may be missing before the next announcements, in any channel: those who follow channels read
    /// their lists.
    fn announce_gap(&mut self);
    /// A fault was contained: the shard's channels are rebuilt.
    fn shard_lost(&mut self, shard: u16);
}

impl Hub {
    /// Takes in one thing that happened. What follows from it for sockets may wait for the turn.
    pub fn handle(&mut self, event: Event<'_>, now: Instant, io: &mut impl Io) {
        let mut work = Work { hub: self, io, now };
        match event {
            Event::Opened { slot, id, opening } => work.open(slot, id, opening),
            Event::Received { slot, bytes } => work.receive(slot, bytes),
            Event::Writable { slot } => work.drain(slot),
            Event::Ended { slot, how } => work.socket_ended(slot, how),
            Event::Verified { asker, checked } => work.verified(asker, checked),
            Event::Ruling { asker, channel, ruling, rule } => {
                work.handle_ruling(asker, channel, (ruling, rule));
            }
            Event::EvictDetached => work.end_oldest_detached(),
            Event::Mail(batch) => work.take_mail(batch),
            Event::Nodes(events) => work.take_node_events(events),
            Event::Request { id, request } => work.take_request(id, request),
            Event::Reload(policy) => work.reload(policy),
            Event::Drain { over } => work.begin_draining(over),
            Event::ShutDown { within, return_within } => {
                work.begin_shutdown(within, return_within);
            }
        }
    }

    /// Does everything that is to be done about what has happened since the last turn.
    pub fn turn(&mut self, now: Instant, io: &mut impl Io) {
        let mut work = Work { hub: self, io, now };
        work.recover_lost();
        work.continue_reading();
        work.extend_graces_by_pause();
        for deadline in Deadline::ALL {
            work.handle_deadline(deadline);
        }
        work.run_reviews();
        work.end_broken();
        work.request_snapshots();
        work.flush_channels();
        work.tell_counts();
        work.answer_requests();
        work.send_replies();
        work.send_mail();
        work.send_node_mail();
        work.close_dead();
        self.budget = TurnBudget::half_turn();
    }

    /// When the next turn is due if nothing happens before.
    pub fn poll_timeout(&self, io: &impl Io) -> Instant {
        if self.has_work() || self.has_reviews() && io.takes_reviews() {
            return Instant::default();
        }
        let next = Deadline::ALL.map(|deadline| self.next(deadline));
        next.into_iter().min().unwrap_or(Instant::NEVER)
    }
}

//! Who may see a channel and who may be seen in it, and what else a configuration says of the
//! channels of a pattern. Answers questions of sessions; knows nothing of sockets. Rules run on
//! threads of their own: a loop never waits for one.

mod complaints;
mod engine;
mod outcome;
mod patterns;
mod pool;
mod program;
mod queue;
mod rules;
mod watchdog;

pub use engine::{RULE_TIME, START_TIME};
pub use outcome::{Failure, MEMORY_BYTES, Outcome};
pub use patterns::{Pattern, Patterns, Unmatched};
pub use program::{MAX_CONFIG_BYTES, Program, ProgramError, Refusal};
pub use rules::{ChannelSettings, Explanation, Namespace, Reason, Rules};

use std::sync::Arc;

use herenow_core::{Peer, Question, Ruling, Session};
use herenow_wire::{ChannelName, ConnectionId};

use crate::config::Settings;
use crate::event_loop::Mailbox;
use pool::{Job, Pool, Unavailable};
use queue::Purpose;
use rules::Judge;

/// The rules in force, with those who run them. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    rules: Rules,
    pool: Arc<Pool>,
    defaults: ChannelSettings,
}

/// Whom an answer that comes later is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The loop that holds the connection.
    pub(crate) peer: Peer,
    /// The loop's handle of it.
    pub(crate) slot: u32,
    /// The connection itself: its slot may change hands before the answer comes.
    pub(crate) connection: ConnectionId,
    /// Which of the sockets that have had its id: one that takes it over, in the same slot too, is
    /// not to hear what the one before it has asked.
    pub(crate) generation: u32,
}

impl Asker {
    /// The connection in `slot` of the loop `peer`, whose session this is.
    pub(crate) fn new(peer: Peer, slot: u32, session: &Session) -> Self {
        let (connection, generation) = (session.connection(), session.generation());
        Self { peer, slot, connection, generation }
    }
}

/// What asking gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The answer.
    Now(Ruling),
    /// It will come as mail.
    Later,
}

impl Access {
    /// Answers that come later go to `mailboxes`, which are those of all loops by index.
    pub(crate) fn new(rules: Rules, settings: &Settings, mailboxes: Arc<[Mailbox]>) -> Self {
        let pool = Pool::new(rules.clone(), settings.rehearsals.clone(), mailboxes);
        Self { pool: Arc::new(pool), rules, defaults: settings.channel_defaults() }
    }

    /// Decides, or has it decided, for the session that asks.
    pub(crate) fn ask(&self, question: &Question, session: &Session, asker: Asker) -> Asked {
        let auth = session.auth();
        let purpose = match session.is_reviewed() {
            true => Purpose::Review,
            false => Purpose::Request,
        };
        let Question { channel, right, user } = question;
        let (row, function) = match self.rules.judge(channel, *right, auth.is_some()) {
            Judge::Nobody(reason) if reason.grants() => return Asked::Now(Ruling::Granted),
            Judge::Nobody(_) => return Asked::Now(Ruling::Denied),
            Judge::Rule { row, function } => (row, function),
        };
        let job = Job {
            asker,
            purpose,
            channel: channel.clone(),
            user: user.clone(),
            claims: auth.map(|auth| auth.claims.clone()),
            row,
            function,
        };
        match self.pool.ask(job) {
            Ok(()) => Asked::Later,
            Err(Unavailable) => Asked::Now(Ruling::Unavailable),
        }
    }

    /// Whether a review of the loop `peer` can be asked for now: there is room for its questions.
    pub(crate) fn takes_reviews(&self, peer: Peer) -> bool {
        self.pool.takes_reviews(peer)
    }

    /// Whether any channel lets the entry of a broken connection wait for it.
    pub(crate) fn allows_grace(&self) -> bool {
        self.defaults.disconnect_grace_ms > 0
            || self
                .rules
                .rows()
                .iter()
                .any(|(_, namespace)| namespace.over(self.defaults).disconnect_grace_ms > 0)
    }

    /// What holds in a channel beside the rules.
    pub(crate) fn settings_for(&self, channel: &ChannelName) -> ChannelSettings {
        self.rules.settings_for(channel, self.defaults)
    }
}

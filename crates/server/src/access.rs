//! Who may see a channel and who may be seen in it, and what else a configuration says of the
//! channels of a pattern. Answers questions of sessions; knows nothing of sockets. Rules run on
//! threads of their own: a loop never waits for one.

mod complaints;
mod engine;
mod outcome;
mod pool;
mod program;
mod queue;
mod rules;
mod watchdog;

pub use engine::{RULE_TIME, START_TIME};
pub use outcome::{Failure, MEMORY_BYTES, Outcome};
pub use program::{MAX_CONFIG_BYTES, Program, ProgramError, Refusal};
pub use rules::{Explanation, Namespace, Reason, Rules};

pub use herenow_hub::{ChannelSettings, Pattern, Patterns, Unmatched};

use std::sync::Arc;
use std::time::Instant;

use herenow_core::{Auth, Peer, Question, Right, Ruling};
use herenow_hub::{Asked, Asker, Policy, Purpose};
use herenow_wire::ChannelName;

use crate::config::{Reloadable, Settings};
use crate::durations::BesideLoops;
use crate::mailbox::Mailbox;
use crate::webhooks;
use pool::{Job, Pool, Unavailable};
use rules::Judge;

/// The rules in force, with those who run them. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    rules: Rules,
    pool: Arc<Pool>,
    policy: Arc<Policy>,
}

impl Access {
    /// Answers that come later go to `mailboxes`, which are those of all loops by index.
    pub(crate) fn new(
        Reloadable { rules, webhooks: followers }: Reloadable,
        settings: &Settings,
        mailboxes: Arc<[Mailbox]>,
        counts: Arc<BesideLoops>,
    ) -> Self {
        let policy = rules.policy(settings.channel_defaults());
        let policy = policy.announcing(webhooks::announced(&followers));
        let pool = Pool::new(rules.clone(), settings.rehearsals.clone(), mailboxes, counts);
        Self { pool: Arc::new(pool), rules, policy: Arc::new(policy) }
    }

    /// Decides, or has it decided. `auth` is the asker's, if it has authenticated.
    pub(crate) fn ask(
        &self,
        (asker, purpose): (Asker, Purpose),
        question: &Question,
        auth: Option<&Auth>,
    ) -> Asked<Ruling> {
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
            asked: Instant::now(),
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

    /// The rule that decides who may track in a channel, and its pattern.
    pub(crate) fn tracking_rule(&self, channel: &ChannelName) -> Option<(Right, Arc<str>)> {
        match self.rules.judge(channel, Right::Track, true) {
            Judge::Nobody(_) => None,
            Judge::Rule { row, function } => {
                Some((function.right(), self.rules.rows()[row].0.as_str().into()))
            }
        }
    }

    /// What holds in which channel beside the rules.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

//! The members of nodes that are gone. They stay at their home for the grace of their channel, since
//! their connections may come back at other nodes, and leave when it has ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herenow_wire::{ChannelName, LeaveReason};

use super::Replica;
use crate::change::Owner;
use crate::command::Effect;
use crate::policy::Policy;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Graces {
    policy: Arc<Policy>,
    /// When the members of an owner leave a channel. Each entry has a member at least, unless all of them
    /// have come back.
    until: BTreeSet<(Instant, ChannelName, Owner)>,
}

impl Replica {
    /// Says from here on how long the members of nodes that are gone stay. Without it they leave at once.
    /// A grace that runs already ends when it would have.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        match &mut self.graces {
            Some(graces) => graces.policy = policy,
            none => *none = Some(Box::new(Graces { policy, until: BTreeSet::new() })),
        }
    }

    /// The members of an owner that is gone since `gone_at` leave, each when the grace of its channel has
    /// ended. Until then they are the first to give way in a full channel.
    pub(super) fn begin_graces(
        &mut self,
        (owner, gone_at): (Owner, Instant),
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        for channel in self.shard.channels_of(owner) {
            let until = gone_at + self.grace_of(&channel);
            match &mut self.graces {
                Some(graces) if until > now => {
                    self.shard.lose_owner(&channel, owner);
                    graces.until.insert((until, channel, owner.lost()));
                }
                _ => self.shard.remove_owner(&channel, (owner, LeaveReason::Disconnect), now, out),
            }
        }
    }

    /// Whether members of nodes that are gone are here.
    pub(super) fn has_graces(&self) -> bool {
        self.graces.as_ref().is_some_and(|graces| !graces.until.is_empty())
    }

    /// Takes the members away whose grace has ended. Those whose connections have come back have another
    /// owner.
    pub(super) fn end_graces(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some(graces) = &mut self.graces
            && graces.until.first().is_some_and(|(until, _, _)| *until <= now)
            && let Some((_, channel, owner)) = graces.until.pop_first()
        {
            self.shard.remove_owner(&channel, (owner, LeaveReason::Disconnect), now, out);
        }
    }

    /// Another node decides from here on.
    pub(super) fn forget_graces(&mut self) {
        if let Some(graces) = &mut self.graces {
            graces.until.clear();
        }
    }

    pub(super) fn grace_of(&self, channel: &ChannelName) -> Duration {
        let graces = self.graces.as_ref();
        graces
            .map(|graces| graces.policy.settings_for(channel).disconnect_grace())
            .unwrap_or_default()
    }
}

//! The members of nodes that are gone. They stay at their home for the grace of their channel, since
//! their connections may come back at other nodes, and leave when it has ended.
//!
//! If another node becomes the home meanwhile, by a drain or a join, the one before adopts them: it reports
//! them like its own, and takes them away when their grace has ended. Their generation is the one before,
//! so a node that shows what a connection had takes its member over. A home that was excluded itself forgets
//! them. If a home dies, the next one learns of them by copies (see `gone`), and their grace begins anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herenow_wire::link::Position;
use herenow_wire::{ChannelName, ConnectionId, LeaveReason};

use super::{Replica, Role};
use crate::change::Owner;
use crate::command::{Command, Effect};
use crate::policy::Policy;
use crate::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Graces {
    policy: Arc<Policy>,
    /// The last change that this node has decided as a home, if it has been one.
    pub(super) decided: Option<Position>,
    /// When members leave a channel. Each entry has a member at least, unless all of its have come back.
    until: BTreeSet<(Instant, ChannelName, Whose)>,
}

/// Which members leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Those of an owner that is lost. Only a home has such.
    Lost(Owner),
    /// That of a connection which this node has adopted, with the generation that it has since.
    Adopted(ConnectionId, u32),
}

impl Replica {
    /// Says from here on how long the members of nodes that are gone stay. Without it they leave at once.
    /// A grace that runs already ends when it would have.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        match &mut self.graces {
            Some(graces) => graces.policy = policy,
            none => {
                let (until, decided) = (BTreeSet::new(), None);
                *none = Some(Box::new(Graces { policy, decided, until }));
            }
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
                    graces.until.insert((until, channel, Whose::Lost(owner.lost())));
                }
                _ => self.remove_owner(&channel, owner, now, out),
            }
        }
    }

    /// Nothing is known of the members of nodes that are gone any more.
    pub(super) fn forget_graces(&mut self) {
        if let Some(graces) = &mut self.graces {
            graces.until.clear();
        }
    }

    /// Whether members of nodes that are gone are here.
    pub(super) fn has_graces(&self) -> bool {
        self.graces.as_ref().is_some_and(|graces| !graces.until.is_empty())
    }

    /// Takes the members away whose grace has ended. Those whose connections have come back have another
    /// owner or another generation.
    pub(super) fn end_graces(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let reason = LeaveReason::Disconnect;
        while let Some(graces) = &mut self.graces
            && graces.until.first().is_some_and(|(until, _, _)| *until <= now)
            && let Some((_, channel, whose)) = graces.until.pop_first()
        {
            match whose {
                Whose::Lost(owner) => self.remove_owner(&channel, owner, now, out),
                Whose::Adopted(connection, generation)
                    if self.has_adopted(&channel, connection, generation) =>
                {
                    let owner = self.me;
                    let remove = Command::Remove { channel, connection, owner, generation, reason };
                    self.handle(remove, now, out);
                }
                Whose::Adopted(..) => {}
            }
        }
    }

    /// Another node decides from here on: this one reports the members of those that are gone. A put with the
    /// generation that a connection had takes its member over.
    pub(super) fn adopt_lost(&mut self) {
        let Some(graces) = &mut self.graces else { return };
        for (until, channel, whose) in std::mem::take(&mut graces.until) {
            match whose {
                Whose::Lost(owner) => {
                    let adopted = self.shard.give_members((owner, self.me), &channel);
                    graces.until.extend(adopted.into_iter().map(|(connection, generation)| {
                        (until, channel.clone(), Whose::Adopted(connection, generation))
                    }));
                }
                Whose::Adopted(..) => drop(graces.until.insert((until, channel, whose))),
            }
        }
    }

    /// This node was left out itself, and has nothing to say for others any more.
    pub(super) fn forget_adopted(&mut self) {
        let Some(graces) = &mut self.graces else { return };
        graces.decided = None;
        for (_, channel, whose) in std::mem::take(&mut graces.until) {
            if let (Whose::Adopted(connection, generation), Role::Copy(own)) =
                (whose, &mut self.role)
            {
                own.forget(&channel, (connection, generation));
                if let Some(sleep) = &mut self.sleep {
                    sleep.forget(&channel, (connection, generation));
                }
            }
        }
    }

    fn remove_owner(
        &mut self,
        channel: &ChannelName,
        owner: Owner,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let from = out.len();
        self.shard.remove_owner(channel, (owner, LeaveReason::Disconnect), now, out);
        self.tell_sleep(from, out);
    }

    fn has_adopted(
        &self,
        channel: &ChannelName,
        connection: ConnectionId,
        generation: u32,
    ) -> bool {
        match &self.role {
            Role::Home => {
                let member = self.shard.list(channel).and_then(|list| list.member(connection));
                member.is_some_and(|(member, _)| {
                    (member.owner, member.generation) == (self.me, generation)
                })
            }
            Role::Opening(_) => false,
            Role::Copy(own) => {
                let sleep = self.sleep.as_ref();
                own.has_shown(channel, (connection, generation))
                    || sleep.is_some_and(|sleep| sleep.has(channel, (connection, generation)))
            }
        }
    }

    pub(super) fn grace_of(&self, channel: &ChannelName) -> Duration {
        self.graces.as_ref().map(|graces| graces.of(channel)).unwrap_or_default()
    }

    pub(super) fn allows_grace(&self) -> bool {
        self.graces.as_ref().is_some_and(|graces| graces.policy.allows_grace())
    }

    /// Another node decides from here on: what this one has decided is in its report.
    pub(super) fn note_decided(&mut self) {
        if let Some(graces) = &mut self.graces {
            let (epoch, seq) = self.shard.position();
            graces.decided = Some(Position { epoch, seq });
        }
    }
}

impl Graces {
    pub(super) fn of(&self, channel: &ChannelName) -> Duration {
        self.policy.settings_for(channel).disconnect_grace()
    }
}

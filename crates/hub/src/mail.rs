//! What hubs tell each other, and what waits to be sent.

use std::sync::Arc;

use herenow_core::{Asker, Claim, Claimed, Command, Input, Peer, PutResult, Session, SnapshotFor};
use herenow_wire::{ChannelName, ConnectionId, Ref, UserId};

use crate::api::Io;
use crate::counts::CountMail;
use crate::detached_users::Detachment;
use crate::held::Encoded;
use crate::history::PastMember;
use crate::work::Work;

/// What one hub tells another.
#[derive(Debug)]
pub enum Mail {
    /// A command to a shard of the receiving hub.
    Command(Command),
    /// Why a member of a channel of the receiving hub's leaves. The command follows.
    Left {
        /// Which channel.
        channel: ChannelName,
        /// Who, and why.
        past: Box<PastMember>,
    },
    /// An answer to a command of one of the receiving hub's connections.
    Answer {
        /// Who asked.
        asker: Asker,
        /// The client's `ref`.
        reference: Option<Ref>,
        /// Of which channel.
        channel: ChannelName,
        /// What became of it.
        result: PutResult,
    },
    /// A connection of the asking hub claims a session that may be on the receiving one.
    Claim {
        /// Who claims.
        asker: Asker,
        /// Which session.
        claim: Claim,
        /// Whose it must be.
        user: UserId,
    },
    /// What became of such a claim.
    TakenOver {
        /// Who claimed.
        asker: Asker,
        /// The session, if it was there.
        session: Option<Box<Session>>,
    },
    /// A session of a user whose registrar is the receiving hub has lost its socket.
    Detached {
        /// The user.
        user: UserId,
        /// Which loss.
        detachment: Detachment,
    },
    /// Such a session has ended or was claimed.
    Reattached {
        /// The user.
        user: UserId,
        /// Which loss.
        detachment: Detachment,
    },
    /// A user has too many detached sessions: this one of the receiving hub is to end.
    EndDetached(Detachment),
    /// Another node vouches for a connection, from a later generation on than this.
    Taken {
        /// Which connection.
        connection: ConnectionId,
        /// The last generation that is lost.
        generation: u32,
    },
    /// A flush for the receiving hub's subscribers.
    Delivery(Delivery),
    /// What is told of counts.
    Count(CountMail),
    /// A channel's map is lost: tell the sockets that use it.
    Resync(ChannelName),
    /// A channel hibernates: its states are to be forgotten.
    Hibernated(ChannelName),
    /// A fault has cost a shard of the sending hub its maps: say what is known of them.
    ShardLost(LostShard),
    /// All that the sending hub knows of a lost shard of the receiving one has been said.
    Reported(LostShard),
}

/// One flush of one channel, encoded once for everybody.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) channel: ChannelName,
    /// How many changes it tells, those included that a newer one has replaced.
    pub(crate) changes: usize,
    pub(crate) deltas: Arc<Encoded>,
    pub(crate) snapshot: Arc<Encoded>,
    pub(crate) snapshot_for: SnapshotFor,
}

/// A shard that a fault has cost its maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostShard {
    pub(crate) shard: u16,
    /// Which of its hub's faults it was: a second one may come before all have heard of the first.
    pub(crate) fault: u32,
}

/// Mail on its way out, a batch for each hub and turn.
#[derive(Debug)]
pub(crate) struct Outgoing {
    batches: Vec<Vec<Mail>>,
    /// Sessions on their way to another hub. They go when all other mail has gone: what they caused
    /// here must not arrive after what they cause there.
    handovers: Vec<(Peer, Mail)>,
}

impl Outgoing {
    pub(crate) fn new(hubs: u16) -> Self {
        Self { batches: (0..hubs).map(|_| Vec::new()).collect(), handovers: Vec::new() }
    }

    pub(crate) fn push(&mut self, to: Peer, mail: Mail) {
        self.batches[usize::from(to.0)].push(mail);
    }

    /// To every hub but `me`.
    pub(crate) fn push_to_others(&mut self, me: Peer, mail: impl Fn() -> Mail) {
        for (index, batch) in self.batches.iter_mut().enumerate() {
            if index != usize::from(me.0) {
                batch.push(mail());
            }
        }
    }

    pub(crate) fn push_handover(&mut self, to: Peer, mail: Mail) {
        self.handovers.push((to, mail));
    }

    pub(crate) fn is_backpressured(&self) -> bool {
        self.batches.iter().any(|batch| !batch.is_empty())
    }

    /// Everything that waits.
    pub(crate) fn len(&self) -> usize {
        self.batches.iter().map(Vec::len).sum::<usize>() + self.handovers.len()
    }

    fn send(&mut self, io: &mut impl Io) {
        for (index, batch) in (0u16..).zip(&mut self.batches) {
            if !batch.is_empty()
                && let Err(unsent) = io.post(Peer(index), std::mem::take(batch))
            {
                *batch = unsent;
            }
        }
    }
}

impl<I: Io> Work<'_, I> {
    /// One batch per hub and turn. If a mailbox is full, the mail waits here.
    pub(crate) fn send_mail(&mut self) {
        let outgoing = &mut self.hub.outgoing;
        outgoing.send(self.io);
        if !outgoing.handovers.is_empty() && !outgoing.is_backpressured() {
            for (to, mail) in std::mem::take(&mut outgoing.handovers) {
                outgoing.push(to, mail);
            }
            outgoing.send(self.io);
        }
    }

    pub(crate) fn take_mail(&mut self, batch: Vec<Mail>) {
        for mail in batch {
            match mail {
                Mail::Command(command) => {
                    self.handle_command(command);
                    self.apply_shard_effects();
                }
                Mail::Left { channel, past } => self.note_left(&channel, *past),
                Mail::Answer { asker, reference, channel, result } => {
                    self.answer(asker, Input::Answer { channel, reference, result });
                }
                Mail::Claim { asker, claim, user } => self.claimed(asker, claim, user),
                Mail::TakenOver { asker, session } => {
                    self.taken_over(asker, session.map_or(Claimed::Nothing, Claimed::Session));
                }
                Mail::Detached { user, detachment } => self.register_detached(user, detachment),
                Mail::Reattached { user, detachment } => {
                    self.hub.detached_users.end(&user, detachment);
                }
                Mail::EndDetached(detachment) => self.end_detached(detachment),
                Mail::Taken { connection, generation } => {
                    self.lose_connection(connection, generation);
                }
                Mail::Count(mail) => self.take_count_mail(mail),
                Mail::Delivery(delivery) => self.deliver_forwarded(delivery),
                Mail::ShardLost(lost_shard) => self.report_to_home(lost_shard),
                Mail::Reported(lost_shard) => self.reported(lost_shard),
                Mail::Resync(channel) => self.send_resync(&channel),
                Mail::Hibernated(channel) => self.forget_states(&channel),
            }
        }
    }
}

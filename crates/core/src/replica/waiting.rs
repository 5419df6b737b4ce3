//! A put that waits for the home of its channel: why it is put, and whom its answer is for.

use herenow_wire::link::Attachment;
use herenow_wire::{ChannelName, ConnectionId, Ref};

use crate::command::{Asker, Command, Effect, Expire, Peer, PutResult};
use crate::decision::Put;

/// A put that the home has not answered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) channel: ChannelName,
    pub(super) put: Put,
    pub(super) max_members: u32,
    pub(super) attachment: Attachment,
    pub(super) cause: Cause,
    /// The member has been taken away since, so that it must not be sent again.
    pub(super) is_over: bool,
}

/// Why something is put.
#[derive(Debug)]
pub(super) enum Cause {
    /// A connection tracks, and wants to hear of it.
    Asked(Asker, Option<Ref>),
    /// A connection without a socket showed it in a map that was lost.
    Kept,
    /// Fields of a state have ended.
    Restated,
}

impl Waiting {
    pub(super) fn is_of(&self, channel: &ChannelName, peer: Peer) -> bool {
        let is_of_loop = matches!(&self.cause, Cause::Asked(asker, _) if asker.peer == peer);
        self.channel == *channel && is_of_loop
    }

    pub(super) fn is_about(&self, channel: &ChannelName, connection: ConnectionId) -> bool {
        self.put.connection == connection && self.channel == *channel && !self.is_over
    }

    pub(super) fn answer(self, result: PutResult, out: &mut Vec<Effect>) {
        let Self { channel, cause, .. } = self;
        if let Cause::Asked(asker, reference) = cause
            && (result != PutResult::Done || reference.is_some())
        {
            out.push(Effect::Answer { asker, reference, channel, result });
        }
    }

    /// What was asked, and what was said of the connection since.
    pub(super) fn into_commands(self) -> impl Iterator<Item = Command> {
        let Self { channel, put, max_members, cause, attachment, .. } = self;
        let (connection, owner) = (put.connection, put.owner);
        let is_detached = attachment == Attachment::Detached;
        let generation = put.generation;
        let detach = Command::Detach { channel: channel.clone(), connection, owner, generation };
        let command = match cause {
            Cause::Asked(asker, reference) => {
                let expire = Expire::Never;
                Command::Put { channel, put, expire, max_members, asker, reference }
            }
            Cause::Kept => Command::Keep { channel, put, max_members },
            Cause::Restated => {
                Command::Restate { channel, connection, generation, state: put.state }
            }
        };
        std::iter::once(command).chain(is_detached.then_some(detach))
    }
}

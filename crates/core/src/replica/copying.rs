//! A shard whose home is another node: what is asked here goes there, and what is said there is
//! followed here.

use herenow_wire::link::{Change, Interest, Item, Refused, RefusedWhy, Snap, Ticket};

use super::waiting::Cause;
use super::{Outgoing, Replica, Role, To};
use crate::channel::Followed;
use crate::command::{Command, Effect};
use crate::time::Instant;

impl Replica {
    /// Takes in what is asked here, which the home decides.
    pub(super) fn pass_on(&mut self, command: Command, now: Instant, out: &mut Vec<Effect>) {
        let Role::Copy(own) = &mut self.role else { return };
        let outgoing = match command {
            // Its fields are ended by this node, with a command of its own.
            Command::Put { channel, put, max_members, asker, reference, expire: _ } => {
                own.put(channel, (put, max_members), Cause::Asked(asker, reference), out)
            }
            Command::Keep { channel, put, max_members } => {
                own.put(channel, (put, max_members), Cause::Kept, out)
            }
            Command::Restate { channel, connection, state, .. } => {
                let Some(put) = own.restated(&channel, connection, state, out) else {
                    return;
                };
                put
            }
            Command::Remove { channel, connection, generation, reason, .. } => {
                if let Some(sleep) = &mut self.sleep {
                    sleep.forget(&channel, (connection, generation));
                }
                own.remove(channel, (connection, generation), reason)
            }
            Command::Detach { channel, connection, generation, .. } => {
                if let Some(sleep) = &mut self.sleep {
                    sleep.detach(&channel, (connection, generation));
                }
                own.detach(channel, (connection, generation))
            }
            Command::Subscribe { channel, peer, request_id } => {
                if !self.request(&channel, (peer, request_id), now, out) {
                    return self.tell_use(channel, now);
                }
                return self.want(channel);
            }
            Command::Unsubscribe { channel, peer } => {
                own.held.forget(&channel, peer);
                if !self.shard.unsubscribe_from_copy(&channel, peer) {
                    return;
                }
                let interest = Interest::Nothing;
                Outgoing { to: To::Home, item: Item::Interest { channel, interest } }
            }
            // The home has what there was: a copy that is lost is asked for anew, and so are the states
            // of the clients here.
            Command::Recover { channel, peer, request_id, trackers } => {
                self.request(&channel, (peer, request_id), now, out);
                if !trackers.is_empty() {
                    out.push(Effect::Resync { channel: channel.clone(), peers: vec![peer] });
                }
                return self.want(channel);
            }
        };
        self.outgoing.push(outgoing);
    }

    /// The puts that wait for an answer, to be sent once more: each gets a new ticket, so that what is
    /// said of an earlier attempt is not about this one. Gives those that need no sending.
    pub fn put_again(&mut self, out: &mut Vec<Effect>) {
        if let Role::Copy(own) = &mut self.role {
            self.outgoing.extend(own.put_again(out));
            self.answer_requests(out);
        }
    }

    /// The home has applied these puts, and told of them.
    pub fn done(&mut self, tickets: &[Ticket], out: &mut Vec<Effect>) {
        if let Role::Copy(own) = &mut self.role {
            for ticket in tickets {
                own.done(*ticket, out);
            }
            self.answer_requests(out);
        }
    }

    pub(super) fn copy_snapshot(&mut self, snap: Snap, now: Instant, out: &mut Vec<Effect>) {
        if let Role::Copy(_) = &self.role {
            self.shard.follow_snapshot(snap, now, out);
        }
    }

    pub(super) fn copy_change(&mut self, change: Change, now: Instant, out: &mut Vec<Effect>) {
        let Role::Copy(_) = &self.role else { return };
        let channel = change.channel.clone();
        if self.shard.follow_change(change, now, out) == Followed::Gap {
            self.want(channel);
        }
    }

    /// A home has refused a put of this node.
    pub(super) fn refused(&mut self, refused: &Refused, out: &mut Vec<Effect>) {
        if let Role::Copy(own) = &mut self.role {
            own.refused(refused, out);
            self.answer_requests(out);
        }
    }

    /// Whether a put waits that was answered so: it is sent once more when the home is another one.
    pub fn waits_for_another_home(&self, refused: &Refused) -> bool {
        let Role::Copy(own) = &self.role else { return false };
        refused.why == RefusedWhy::NotHome && refused.ticket.is_some_and(|ticket| own.has(ticket))
    }
}

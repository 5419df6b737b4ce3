//! A backend kicks a user or a connection, or disconnects a user. It is kept out at once; what it has
//! already, its connections, sessions without a socket and keyed members, is looked for over as many
//! turns as that takes.
//!
//! A session that is claimed meanwhile is not missed: it asks for its rights again, and is kept out.

use std::time::Duration;

use herenow_core::{Input, Session, Target};
use herenow_wire::link::Kick;
use herenow_wire::{ChannelName, ConnectionId, UserId};

use crate::answers::{LOOKS_PER_USER, Looks};
use crate::api::Io;
use crate::keyed_members::MemberKey;
use crate::requests::{QueryId, Response};
use crate::work::Work;

/// What is in force and has not ended everything yet that it concerns.
#[derive(Debug)]
pub(crate) struct Removal {
    /// Which request it answers, if it is not another node that asks.
    id: Option<QueryId>,
    target: Target,
    /// `None`: from the server.
    channel: Option<ChannelName>,
    time: Duration,
    place: Place,
    count: usize,
}

/// What is looked at next. Of a channel the connections and the sessions are known from the start.
#[derive(Debug)]
enum Place {
    Start,
    Subscribers(std::vec::IntoIter<u32>),
    Connections(u32),
    DetachedOfChannel(std::vec::IntoIter<ConnectionId>),
    Detached(Option<ConnectionId>),
    Keyed(Option<(ChannelName, MemberKey)>),
    End,
}

/// What it costs to remove a connection from a channel, or to close it.
const LOOKS_PER_REMOVAL: usize = 1024;

impl<I: Io> Work<'_, I> {
    /// Removes a user or a connection from a channel, and keeps it out for a time.
    pub(crate) fn kick(
        &mut self,
        id: QueryId,
        (channel, target): (ChannelName, Target),
        time: Duration,
    ) {
        let kicks = self.hub.policy.kicks_mut();
        match kicks.keep_out_of(channel.clone(), target.clone(), (self.now, time)) {
            Ok(()) => self.hub.requests.remove(Removal::new(id, (target, Some(channel)), time)),
            Err(_) => self.io.respond(id, Response::Full),
        }
    }

    /// Disconnects a user, and keeps it out for a time. Members without a connection are the
    /// backend's own and stay.
    pub(crate) fn disconnect(&mut self, id: QueryId, user: UserId, time: Duration) {
        match self.hub.policy.kicks_mut().keep_out(user.clone(), (self.now, time)) {
            Ok(()) => {
                let target = Target::User(user);
                self.hub.requests.remove(Removal::new(id, (target, None), time));
            }
            Err(_) => self.io.respond(id, Response::Full),
        }
    }

    /// Goes on with a removal as far as the turn allows. Whether it is done.
    pub(crate) fn advance_removal(&mut self, removal: &mut Removal, looks: &mut Looks) -> bool {
        while !looks.is_spent() {
            looks.spend(LOOKS_PER_USER);
            let place = std::mem::replace(&mut removal.place, Place::End);
            removal.place = match place {
                Place::Start => self.start_removal(removal, looks),
                Place::Subscribers(mut slots) => match slots.next() {
                    Some(slot) => {
                        self.remove_connection(removal, slot, looks);
                        Place::Subscribers(slots)
                    }
                    None => self.detached_of(removal, looks),
                },
                Place::Connections(slot) if (slot as usize) < self.hub.connections.slots_end() => {
                    self.remove_connection(removal, slot, looks);
                    Place::Connections(slot + 1)
                }
                Place::Connections(_) => Place::Detached(None),
                Place::DetachedOfChannel(mut ids) => match ids.next() {
                    Some(id) => {
                        self.remove_detached(removal, id, looks);
                        Place::DetachedOfChannel(ids)
                    }
                    None => {
                        let channel = removal.channel.as_ref();
                        Place::Keyed(channel.and_then(|it| self.hub.keyed_members.before(it)))
                    }
                },
                Place::Detached(after) => {
                    let next = self.hub.detached.next_after(after).map(Session::connection);
                    next.map_or(Place::End, |id| {
                        self.remove_detached(removal, id, looks);
                        Place::Detached(Some(id))
                    })
                }
                Place::Keyed(after) => self.remove_keyed(removal, after.as_ref(), looks),
                Place::End => {
                    if let Some(id) = removal.id {
                        self.io.respond(id, Response::Counts(vec![removal.count]));
                    }
                    return true;
                }
            };
        }
        false
    }

    fn start_removal(&self, removal: &Removal, looks: &mut Looks) -> Place {
        let Some(channel) = &removal.channel else { return Place::Connections(0) };
        let mut slots: Vec<u32> = self.hub.audience.slots(channel).collect();
        slots.extend(self.hub.taken_over.in_channel(channel));
        slots.sort_unstable();
        slots.dedup();
        looks.spend(slots.len());
        Place::Subscribers(slots.into_iter())
    }

    fn detached_of(&self, removal: &Removal, looks: &mut Looks) -> Place {
        let Some(channel) = &removal.channel else { return Place::Detached(None) };
        let ids: Vec<ConnectionId> = self.hub.detached.ids_in_channel(channel).collect();
        looks.spend(ids.len());
        Place::DetachedOfChannel(ids.into_iter())
    }

    fn remove_connection(&mut self, removal: &mut Removal, slot: u32, looks: &mut Looks) {
        let Some(connection) = self.hub.connections.get(slot) else { return };
        let is_meant = match removal.channel {
            Some(_) => removal.means(&connection.session),
            None => connection.is_open() && removal.means(&connection.session),
        };
        if is_meant {
            self.dispatch(slot, removal.input());
            removal.count += 1;
            looks.spend(LOOKS_PER_REMOVAL);
        }
    }

    fn remove_detached(&mut self, removal: &mut Removal, id: ConnectionId, looks: &mut Looks) {
        if self.hub.detached.get(id).is_some_and(|session| removal.means(session)) {
            self.dispatch_detached(id, removal.input());
            self.apply_shard_effects();
            removal.count += 1;
            looks.spend(LOOKS_PER_REMOVAL);
        }
    }

    fn remove_keyed(
        &mut self,
        removal: &mut Removal,
        after: Option<&(ChannelName, MemberKey)>,
        looks: &mut Looks,
    ) -> Place {
        let next = self.hub.keyed_members.next_after(after);
        let here = next.filter(|(at, _)| Some(&at.0) == removal.channel.as_ref());
        let Some((at, member)) = here else { return Place::End };
        let at = at.clone();
        if removal.target.is(member.connection, Some(&member.user)) {
            self.kick_keyed(&at);
            removal.count += 1;
            looks.spend(LOOKS_PER_REMOVAL);
        }
        Place::Keyed(Some(at))
    }
}

impl Removal {
    fn new(id: QueryId, (target, channel): (Target, Option<ChannelName>), time: Duration) -> Self {
        Self { id: Some(id), target, channel, time, place: Place::Start, count: 0 }
    }

    /// What another node has in force.
    pub(crate) fn of_another_node(kick: Kick) -> Self {
        let (target, time) = (kick.target.into(), Duration::from_millis(kick.for_ms));
        Self { id: None, target, channel: kick.channel, time, place: Place::Start, count: 0 }
    }

    fn means(&self, session: &Session) -> bool {
        let user = session.auth().map(|auth| auth.user.id());
        let uses = |channel| session.subscriptions().any(|(name, _)| name == channel);
        self.target.is(session.connection(), user) && self.channel.as_ref().is_none_or(uses)
    }

    fn input(&self) -> Input {
        match self.channel.clone() {
            Some(channel) => Input::Kicked { channel, time: self.time },
            None => Input::Disconnected { time: self.time },
        }
    }
}

//! Answering who of some users is here, and where a user is. Whom a hub shows stands in three places,
//! which are walked one after the other, over as many turns as it takes.

use herenow_core::{Contents, Session};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use crate::answers::{LOOKS_PER_CHANNEL, LOOKS_PER_USER, Looks, Progress, Step, cost_of_users};
use crate::api::Io;
use crate::keyed_members::MemberKey;
use crate::requests::{ListedMember, Response};
use crate::work::Work;

/// How far a walk over all that show something has come.
#[derive(Debug)]
pub(crate) enum Place {
    /// At the connection in this slot.
    Connection(u32),
    /// At the first session without a socket after this one.
    Detached(Option<ConnectionId>),
    /// At the first member without a connection after this one.
    Keyed(Option<(ChannelName, MemberKey)>),
    /// At the end.
    End,
}

/// What such a walk comes by.
enum Shown<'a> {
    Session(&'a Session),
    Keyed(&'a ChannelName, &'a UserId),
}

/// How often each of some users was met, in the order of a request.
struct Counting<'a> {
    /// Sorted by user.
    places: Vec<(&'a UserId, usize)>,
    counts: Vec<usize>,
}

impl Default for Place {
    fn default() -> Self {
        Self::Connection(0)
    }
}

impl<I: Io> Work<'_, I> {
    /// Shows the rest of what this hub's connections, its detached sessions and its keyed members
    /// show to `look`, as far as the turn allows. Whether that was all.
    fn walk_shown(
        &self,
        place: &mut Place,
        looks: &mut Looks,
        mut look: impl FnMut(Shown<'_>),
    ) -> bool {
        while !looks.is_spent() {
            looks.spend(LOOKS_PER_USER);
            *place = match std::mem::replace(place, Place::End) {
                Place::End => return true,
                Place::Connection(slot) if (slot as usize) < self.hub.connections.slots_end() => {
                    if let Some(connection) = self.hub.connections.get(slot) {
                        look(Shown::Session(&connection.session));
                    }
                    Place::Connection(slot + 1)
                }
                Place::Connection(_) => Place::Detached(None),
                Place::Detached(after) => match self.hub.detached.next_after(after) {
                    Some(session) => {
                        look(Shown::Session(session));
                        Place::Detached(Some(session.connection()))
                    }
                    None => Place::Keyed(None),
                },
                Place::Keyed(after) => match self.hub.keyed_members.next_after(after.as_ref()) {
                    Some((at, member)) => {
                        look(Shown::Keyed(&at.0, &member.user));
                        Place::Keyed(Some(at.clone()))
                    }
                    None => return true,
                },
            };
        }
        false
    }

    /// Where connections, detached sessions and keyed members of this hub show a user.
    pub(crate) fn find_user(&self, user: &UserId, at: &mut Progress, looks: &mut Looks) -> Step {
        let Progress { place, names, .. } = at;
        let is_done = self.walk_shown(place, looks, |shown| {
            if shown.user() == Some(user) {
                names.extend(shown.channels().cloned());
            }
        });
        if !is_done {
            return Step::Later;
        }
        Step::Done(Response::ChannelNames(std::mem::take(names).into_iter().collect()))
    }

    pub(crate) fn list_user(
        &self,
        (user, channels): (&UserId, &[ChannelName]),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> Step {
        for channel in &channels[at.next..] {
            if looks.is_spent() {
                return Step::Later;
            }
            at.next += 1;
            looks.spend(LOOKS_PER_CHANNEL);
            if let Contents::Live(live) = self.hub.shards.contents(channel) {
                looks.spend(cost_of_users(live));
                let theirs = live.members_of(user);
                looks.spend(theirs.len() * LOOKS_PER_USER);
                let mut members: Vec<ListedMember> =
                    theirs.into_iter().map(ListedMember::of).collect();
                members.sort_unstable_by_key(|member| member.seq);
                if !members.is_empty() {
                    at.members.push((channel.clone(), members));
                }
            }
        }
        Step::Done(Response::UserMembers(std::mem::take(&mut at.members)))
    }

    /// How many members of a channel show each of these users.
    pub(crate) fn count_users_in(
        &self,
        (channel, users): (&ChannelName, &[UserId]),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> Step {
        let Contents::Live(live) = self.hub.shards.contents(channel) else {
            return Step::Done(Response::Counts(vec![0; users.len()]));
        };
        if !live.is_indexed_by_user() {
            looks.spend(cost_of_users(live) + users.len());
            let mut counting = Counting::new(users, &mut at.counts);
            live.members().for_each(|(member, _)| counting.count(&member.user));
            return Step::Done(Response::Counts(counting.counts));
        }
        for user in &users[at.counts.len()..] {
            if looks.is_spent() {
                return Step::Later;
            }
            let count = live.members_of(user).len();
            looks.spend((count + 1) * LOOKS_PER_USER);
            at.counts.push(count);
        }
        Step::Done(Response::Counts(std::mem::take(&mut at.counts)))
    }

    /// Connections, detached sessions and keyed members of this hub that show a user somewhere.
    pub(crate) fn count_users(
        &self,
        users: &[UserId],
        at: &mut Progress,
        looks: &mut Looks,
    ) -> Step {
        let Progress { place, counts, .. } = at;
        let mut counting = Counting::new(users, counts);
        looks.spend(users.len());
        let is_done = self.walk_shown(place, looks, |shown| {
            if let Some(user) = shown.user()
                && shown.channels().next().is_some()
            {
                counting.count(user);
            }
        });
        if !is_done {
            *counts = counting.counts;
            return Step::Later;
        }
        Step::Done(Response::Counts(counting.counts))
    }
}

impl<'a> Shown<'a> {
    fn user(&self) -> Option<&'a UserId> {
        match *self {
            Self::Session(session) => session.auth().map(|auth| auth.user.id()),
            Self::Keyed(_, user) => Some(user),
        }
    }

    fn channels(&self) -> impl Iterator<Item = &'a ChannelName> {
        let (session, keyed) = match *self {
            Self::Session(session) => (Some(session), None),
            Self::Keyed(channel, _) => (None, Some(channel)),
        };
        session.into_iter().flat_map(Session::tracked).chain(keyed)
    }
}

impl<'a> Counting<'a> {
    /// Goes on with what was counted in turns before, if that is anything.
    fn new(users: &'a [UserId], counted: &mut Vec<usize>) -> Self {
        let mut places: Vec<_> = users.iter().zip(0..).collect();
        places.sort_unstable();
        let mut counts = std::mem::take(counted);
        counts.resize(users.len(), 0);
        Self { places, counts }
    }

    /// A user that was asked for twice counts in both places.
    fn count(&mut self, user: &UserId) {
        let first = self.places.partition_point(|(known, _)| *known < user);
        for (_, place) in self.places[first..].iter().take_while(|(known, _)| *known == user) {
            self.counts[*place] += 1;
        }
    }
}

//! Answering why a user is, or is not, in a channel, with what this hub knows of it.

use herenow_core::{Contents, Session, Since};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use crate::answers::{LOOKS_PER_CHANNEL, LOOKS_PER_USER, Looks, Progress, Step, cost_of_users};
use crate::api::Io;
use crate::history::facts::{
    Life, Lost, MAX_EXPLAINED, MemberFacts, PresentConnection, PresentMember, UserFacts,
};
use crate::requests::Response;
use crate::user_answers::Place;
use crate::work::Work;

/// What a walk has found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    connections: Vec<PresentConnection>,
    count: usize,
    /// Members without a connection.
    keyed: Vec<PresentMember>,
}

impl<I: Io> Work<'_, I> {
    /// What the home of the channel knows.
    pub(crate) fn explain_member(
        &self,
        (channel, user): (&ChannelName, &UserId),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> Step {
        let Some(history) = &self.hub.history else { return Step::Done(Response::NotFound) };
        if !self.walk_keyed((channel, user), at, looks) {
            return Step::Later;
        }
        looks.spend(LOOKS_PER_CHANNEL);
        let mut members = Vec::new();
        if let Contents::Live(live) = self.hub.shards.contents(channel) {
            looks.spend(cost_of_users(live));
            members.extend(live.members_of(user).into_iter().map(|(member, joined)| {
                PresentMember { connection: member.connection, joined, key: None }
            }));
        }
        looks.spend(members.len() * LOOKS_PER_USER);
        let count = members.len();
        members.sort_unstable_by_key(|member| std::cmp::Reverse(member.joined));
        members.truncate(MAX_EXPLAINED);
        for keyed in std::mem::take(&mut at.found.keyed) {
            if let Some(member) = members.iter_mut().find(|one| one.connection == keyed.connection)
            {
                member.key = keyed.key;
            }
        }
        let left = history.left.of(channel).filter(|past| past.what.user == *user);
        let connection = ConnectionId::from_bytes([0; 16]);
        let kicks = self.hub.policy.kicks();
        Step::Done(Response::MemberFacts(Box::new(MemberFacts {
            members,
            count,
            left: left.cloned().collect(),
            pattern: self.pattern_of(channel),
            kept_out: kicks.of_channel(channel, (connection, Some(user)), self.now),
            complete_since: history.left.complete_since(channel, self.now),
        })))
    }

    /// Looks for the user's members of the channel that have no connection. Whether that was all.
    fn walk_keyed(
        &self,
        (channel, user): (&ChannelName, &UserId),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> bool {
        let mut after = match std::mem::replace(&mut at.place, Place::End) {
            Place::Keyed(after) => after,
            _ => self.hub.keyed_members.before(channel),
        };
        while !looks.is_spent() {
            looks.spend(LOOKS_PER_USER);
            let next = self.hub.keyed_members.next_after(after.as_ref());
            let Some((place, member)) = next.filter(|((of, _), _)| of == channel) else {
                return true;
            };
            if member.user == *user {
                let (connection, key) = (member.connection, place.1.clone());
                let key = Some((key, member.until));
                at.found.keyed.push(PresentMember { connection, joined: Since::default(), key });
            }
            after = Some(place.clone());
        }
        at.place = Place::Keyed(after);
        false
    }

    /// What the hub of connections knows.
    pub(crate) fn explain_user(
        &self,
        (channel, user): (&ChannelName, &UserId),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> Step {
        let Some(history) = &self.hub.history else { return Step::Done(Response::NotFound) };
        if !self.walk_connections((channel, user), at, looks) {
            return Step::Later;
        }
        let of_channel =
            |asked: &Option<ChannelName>| asked.as_ref().is_none_or(|of| of == channel);
        let events = history.of_users.of(user).filter(|past| of_channel(past.what.channel()));
        let Found { connections, count, .. } = std::mem::take(&mut at.found);
        let own = history.of_users.complete_since(user, self.now);
        Step::Done(Response::UserFacts(Box::new(UserFacts {
            now: self.now,
            connections,
            count,
            events: events.cloned().collect(),
            refused_tokens: history.named.of(user).cloned().collect(),
            kept_out: self.hub.policy.kicks().of_server(user, self.now),
            complete_since: own.max(history.named.complete_since(user, self.now)),
            never_authenticated: history.never_authenticated,
        })))
    }

    /// Looks for the user's connections and detached sessions. Whether that was all.
    fn walk_connections(
        &self,
        (channel, user): (&ChannelName, &UserId),
        at: &mut Progress,
        looks: &mut Looks,
    ) -> bool {
        let Some(history) = &self.hub.history else { return true };
        while !looks.is_spent() {
            looks.spend(LOOKS_PER_USER);
            at.place = match std::mem::replace(&mut at.place, Place::End) {
                Place::Connection(slot) if slot < history.lives.slots_end() => {
                    let kept = history.lives.get(slot);
                    if kept
                        .is_some_and(|kept| kept.end.is_none() && kept.user.as_ref() == Some(user))
                    {
                        at.found.add(self.present(slot, channel));
                    }
                    Place::Connection(slot + 1)
                }
                Place::Connection(_) => Place::Detached(None),
                Place::Detached(after) => match history.lost_after(after) {
                    Some((id, (of, life, lost))) => {
                        if of == user {
                            let session = self.hub.detached.get(*id);
                            let one = (*id, life.clone(), Some(*lost));
                            at.found.add(session.map(|session| seen(session, one, channel)));
                        }
                        Place::Detached(Some(*id))
                    }
                    None => return true,
                },
                Place::Keyed(_) | Place::End => return true,
            };
        }
        false
    }

    fn present(&self, slot: u32, channel: &ChannelName) -> Option<PresentConnection> {
        let session = &self.hub.connections.get(slot)?.session;
        let life = self.hub.history.as_ref()?.life(slot, &self.hub.leases, self.now)?;
        Some(seen(session, (session.connection(), life, None), channel))
    }
}

impl Found {
    fn add(&mut self, connection: Option<PresentConnection>) {
        let Some(connection) = connection else { return };
        self.count += 1;
        if self.connections.len() < MAX_EXPLAINED {
            self.connections.push(connection);
        }
    }
}

/// What a session does in a channel.
fn seen(
    session: &Session,
    (connection, life, lost): (ConnectionId, Life, Option<Lost>),
    channel: &ChannelName,
) -> PresentConnection {
    PresentConnection {
        connection,
        life,
        lost,
        is_subscriber: session.subscriptions().any(|(name, _)| name == channel),
        is_tracking: session.tracked().any(|name| name == channel),
    }
}

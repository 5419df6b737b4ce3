//! Answering what a backend asks: the same truth that subscribers are told, at the same
//! `(epoch, seq)`. A turn spends a bounded amount on it; what is left is done in the next.

use std::collections::{BTreeSet, HashMap, VecDeque};

use herenow_core::{Channel, Contents, Member, Session, Since};
use herenow_wire::{ChannelName, UserId};

use crate::api::Io;
use crate::requests::{
    ChannelCount, ListedMember, MemberPage, QueryId, ReadRequest, Request, Response, WriteRequest,
};
use crate::work::Work;

/// Requests that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: VecDeque<(QueryId, ReadRequest)>,
    /// Those that wait for a channel's map to be rebuilt, which has its own time.
    rebuilding: Vec<(QueryId, ReadRequest)>,
    /// How far the one at the front has come.
    progress: Progress,
}

/// What a request that is not finished in one turn has found so far.
#[derive(Debug, Default)]
struct Progress {
    /// What is looked at next: the index of a channel in the request, or a slot.
    next: usize,
    counts: Vec<usize>,
    channels: Vec<ChannelCount>,
    members: Vec<(ChannelName, Vec<ListedMember>)>,
    names: BTreeSet<ChannelName>,
}

/// What a step of a request has come to.
enum Step {
    Done(Response),
    /// The turn has done enough, or a flush comes first.
    Later,
    /// A channel's map is being rebuilt.
    Rebuilding,
}

/// What a request may still look at in this turn: members and connections.
struct Looks(usize);

/// A millisecond's worth. A channel is looked at whole, so a turn may go beyond it by one channel.
const LOOKS_PER_TURN: usize = 16 * 1024;
/// What a look at a channel costs beside its members, in the same measure.
const LOOKS_PER_CHANNEL: usize = 8;

impl Looks {
    fn spend(&mut self, looks: usize) {
        self.0 = self.0.saturating_sub(looks);
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

impl Requests {
    /// Whether something is to be done whatever the time.
    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.rebuilding.len()
    }
}

impl<I: Io> Work<'_, I> {
    /// A backend asks. The answer comes with [`Io::respond`], in this turn or a later one.
    pub(crate) fn take_request(&mut self, id: QueryId, request: Request) {
        match request {
            Request::Read(read) => self.hub.requests.waiting.push_back((id, read)),
            Request::Write(write) => {
                let response = self.write(write);
                self.io.respond(id, response);
            }
        }
    }

    fn write(&mut self, write: WriteRequest) -> Response {
        match write {
            WriteRequest::PutMember(member) => self.put_member(member),
            WriteRequest::RemoveMember { channel, key } => self.remove_member(channel, key),
            WriteRequest::Kick { channel, target, time } => self.kick(channel, target, time),
            WriteRequest::Disconnect { user, time } => self.disconnect(user, time),
        }
    }

    /// Answers requests, as far as one turn allows. After the flushes: a list shows what
    /// subscribers have been told.
    pub(crate) fn answer_requests(&mut self) {
        self.retry_rebuilt();
        let mut looks = Looks(LOOKS_PER_TURN);
        while !looks.is_spent()
            && let Some((id, request)) = self.hub.requests.waiting.pop_front()
        {
            let mut progress = std::mem::take(&mut self.hub.requests.progress);
            match self.advance(&request, &mut progress, &mut looks) {
                Step::Done(response) => self.io.respond(id, response),
                Step::Rebuilding => self.hub.requests.rebuilding.push((id, request)),
                Step::Later => {
                    self.hub.requests.progress = progress;
                    self.hub.requests.waiting.push_front((id, request));
                    return;
                }
            }
        }
    }

    /// Requests whose channels have been rebuilt wait for their turn again.
    fn retry_rebuilt(&mut self) {
        let shards = &self.hub.shards;
        let is_rebuilding = |(_, request): &mut (QueryId, ReadRequest)| {
            let is_freed = |name| matches!(shards.contents(name), Contents::Freed { .. });
            request.looks_into().iter().any(is_freed)
        };
        let requests = &mut self.hub.requests;
        let rebuilt = requests.rebuilding.extract_if(.., |waiting| !is_rebuilding(waiting));
        requests.waiting.extend(rebuilt);
    }

    fn advance(&mut self, request: &ReadRequest, at: &mut Progress, looks: &mut Looks) -> Step {
        if self.wakes_freed(request.looks_into()) {
            return Step::Rebuilding;
        }
        match request {
            ReadRequest::ListChannels { prefix, after, limit } => {
                if at.channels.is_empty() && at.names.is_empty() {
                    let after = after.as_ref().map(ChannelName::as_str);
                    let names = self.hub.shards.channels_after(prefix, after);
                    at.names = names.take(*limit).cloned().collect();
                }
                while let Some(name) = at.names.pop_first() {
                    at.channels.push(self.count_members(&name, looks));
                    if looks.is_spent() && !at.names.is_empty() {
                        return Step::Later;
                    }
                }
                Step::Done(Response::Channels(std::mem::take(&mut at.channels)))
            }
            ReadRequest::CountMembers { channels } => {
                for name in &channels[at.next..] {
                    if looks.is_spent() {
                        return Step::Later;
                    }
                    at.channels.push(self.count_members(name, looks));
                    at.next += 1;
                }
                Step::Done(Response::Channels(std::mem::take(&mut at.channels)))
            }
            ReadRequest::CountSubscribers { channels } => {
                looks.spend(channels.len());
                let audience = &mut self.hub.audience;
                let counts = channels.iter().map(|channel| audience.subscribers(channel).len());
                Step::Done(Response::Counts(counts.collect()))
            }
            ReadRequest::ListMembers { channel, after, limit } => {
                self.list_members(channel, (*after, *limit), looks)
            }
            ReadRequest::FindUser { user } => self.find_user(user, at, looks),
            ReadRequest::ListUser { user, channels } => self.list_user((user, channels), at, looks),
            ReadRequest::CountUsers { users, channel: Some(channel) } => {
                self.count_users_in(channel, users, looks)
            }
            ReadRequest::CountUsers { users, channel: None } => self.count_users(users, at, looks),
        }
    }

    /// Has the maps rebuilt of those of the channels that hibernate. Whether there are any.
    fn wakes_freed(&mut self, channels: &[ChannelName]) -> bool {
        let mut is_freed = false;
        for channel in channels {
            if let Contents::Freed { .. } = self.hub.shards.contents(channel) {
                let effects = &mut self.hub.shard_effects;
                self.hub.shards.wake_to_look(channel, self.now, effects);
                is_freed = true;
            }
        }
        if is_freed {
            self.apply_shard_effects();
        }
        is_freed
    }

    fn count_members(&self, channel: &ChannelName, looks: &mut Looks) -> ChannelCount {
        let (users, connections, position) = match self.hub.shards.contents(channel) {
            Contents::Nothing => (0, 0, None),
            Contents::Live(live) => {
                looks.spend(live.len());
                (live.users(), live.len(), Some(live.position()))
            }
            Contents::Freed { users, connections, position } => (users, connections, position),
        };
        looks.spend(LOOKS_PER_CHANNEL);
        ChannelCount { channel: channel.clone(), users, connections, position }
    }

    fn list_members(
        &mut self,
        channel: &ChannelName,
        (after, limit): (Option<u64>, usize),
        looks: &mut Looks,
    ) -> Step {
        let Contents::Live(live) = self.hub.shards.contents(channel) else {
            return Step::Done(Response::Members(MemberPage::default()));
        };
        if !live.has_no_pending() {
            let channel = channel.clone();
            self.hub.shards.plan(channel, self.now);
            return Step::Later;
        }
        looks.spend(2 * live.len() + LOOKS_PER_CHANNEL);
        Step::Done(Response::Members(page_of(live, after, limit)))
    }

    /// Shows every session with a socket, from slot `next` on, as far as the turn allows. Whether
    /// that was the last of them.
    fn walk_sessions(
        &self,
        next: &mut usize,
        looks: &mut Looks,
        mut look: impl FnMut(&Session),
    ) -> bool {
        while *next < self.hub.connections.slots_end() {
            if looks.is_spent() {
                return false;
            }
            looks.spend(1);
            if let Some(connection) = self.hub.connections.get(*next as u32) {
                look(&connection.session);
            }
            *next += 1;
        }
        true
    }

    /// Where connections, detached sessions and keyed members of this hub show a user.
    fn find_user(&mut self, user: &UserId, at: &mut Progress, looks: &mut Looks) -> Step {
        let Progress { next, names, .. } = &mut *at;
        let is_done = self.walk_sessions(next, looks, |session| {
            if session.auth().is_some_and(|auth| auth.user == *user) {
                names.extend(session.tracked().cloned());
            }
        });
        if !is_done {
            return Step::Later;
        }
        let detached = self.hub.detached.sessions();
        let theirs = detached.filter(|s| s.auth().is_some_and(|auth| auth.user == *user));
        at.names.extend(theirs.flat_map(|session| session.tracked().cloned()));
        let keyed = self.hub.keyed_members.iter().filter(|(_, member)| member.user == *user);
        at.names.extend(keyed.map(|((channel, _), _)| channel.clone()));
        Step::Done(Response::ChannelNames(std::mem::take(&mut at.names).into_iter().collect()))
    }

    fn list_user(
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
                looks.spend(live.len());
                let theirs = live.members().filter(|(member, _)| member.user == *user);
                let mut members: Vec<ListedMember> = theirs.map(ListedMember::of).collect();
                members.sort_unstable_by_key(|member| member.seq);
                if !members.is_empty() {
                    at.members.push((channel.clone(), members));
                }
            }
        }
        Step::Done(Response::UserMembers(std::mem::take(&mut at.members)))
    }

    fn count_users_in(&self, channel: &ChannelName, users: &[UserId], looks: &mut Looks) -> Step {
        let mut counts = Counting::new(users);
        if let Contents::Live(live) = self.hub.shards.contents(channel) {
            looks.spend(live.len());
            for (member, _) in live.members() {
                counts.count(&member.user);
            }
        }
        Step::Done(Response::Counts(counts.counts))
    }

    /// Connections, detached sessions and keyed members of this hub that show a user somewhere.
    fn count_users(&self, users: &[UserId], at: &mut Progress, looks: &mut Looks) -> Step {
        let counted = std::mem::take(&mut at.counts);
        let mut counts = Counting::new(users);
        if !counted.is_empty() {
            counts.counts = counted;
        }
        looks.spend(users.len());
        let is_done = self.walk_sessions(&mut at.next, looks, |session| {
            if let Some(auth) = session.auth()
                && session.tracked().next().is_some()
            {
                counts.count(&auth.user);
            }
        });
        if !is_done {
            at.counts = counts.counts;
            return Step::Later;
        }
        for session in self.hub.detached.sessions() {
            if let Some(auth) = session.auth() {
                counts.count(&auth.user);
            }
        }
        for (_, member) in self.hub.keyed_members.iter() {
            counts.count(&member.user);
        }
        Step::Done(Response::Counts(counts.counts))
    }
}

impl ReadRequest {
    /// The channels of this hub whose maps must be there for the answer.
    fn looks_into(&self) -> &[ChannelName] {
        match self {
            Self::ListMembers { channel, .. } | Self::CountUsers { channel: Some(channel), .. } => {
                std::slice::from_ref(channel)
            }
            Self::ListUser { channels, .. } => channels,
            _ => &[],
        }
    }
}

impl ListedMember {
    fn of((member, since): (&Member, Since)) -> Self {
        let Member { connection, user, state, seq, .. } = member.clone();
        Self { user, connection, state, since, seq }
    }
}

/// How often each of some users was met.
struct Counting<'a> {
    places: HashMap<&'a UserId, usize>,
    counts: Vec<usize>,
}

impl<'a> Counting<'a> {
    fn new(users: &'a [UserId]) -> Self {
        let places = users.iter().enumerate().map(|(place, user)| (user, place)).collect();
        Self { places, counts: vec![0; users.len()] }
    }

    fn count(&mut self, user: &UserId) {
        if let Some(place) = self.places.get(user) {
            self.counts[*place] += 1;
        }
    }
}

fn page_of(live: &Channel, after: Option<u64>, limit: usize) -> MemberPage {
    let is_after = |member: &Member| after.is_none_or(|after| member.seq > after);
    let mut found: Vec<(&Member, Since)> = match limit {
        0 => Vec::new(),
        _ => live.members().filter(|(member, _)| is_after(member)).collect(),
    };
    let has_more = limit < found.len();
    if has_more {
        found.select_nth_unstable_by_key(limit, |(member, _)| member.seq);
        found.truncate(limit);
    }
    found.sort_unstable_by_key(|(member, _)| member.seq);
    MemberPage {
        position: Some(live.position()),
        users: live.users(),
        connections: live.len(),
        members: found.into_iter().map(ListedMember::of).collect(),
        has_more,
    }
}

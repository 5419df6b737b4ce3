//! Answering what a backend asks: the same truth that subscribers are told, at the same
//! `(epoch, seq)`. A turn spends a bounded amount on it; what is left is done in the next.

use std::collections::{BTreeSet, VecDeque};

use herenow_core::{Channel, Contents, Member, Since};
use herenow_wire::ChannelName;

use crate::api::Io;
use crate::history::Found;
use crate::kicking::Removal;
use crate::requests::{
    ChannelCount, Concerns, ListedMember, MemberPage, QueryId, ReadRequest, Request, Response,
    WriteRequest,
};
use crate::shards::Shards;
use crate::user_answers::Place;
use crate::work::Work;

/// Requests that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    waiting: VecDeque<(QueryId, ReadRequest)>,
    /// Those that wait for a channel's map to be rebuilt, which has its own time.
    rebuilding: Vec<Rebuilding>,
    /// How far the one at the front has come.
    progress: Progress,
    /// Kicks and disconnections that are not done.
    removals: VecDeque<Removal>,
    /// What they have cost since the start.
    looks: u64,
}

/// See [`Requests::rebuilding`].
#[derive(Debug)]
struct Rebuilding {
    id: QueryId,
    request: ReadRequest,
    /// The index of a channel of the request whose map was not there when that was last looked at. So
    /// a turn looks at one of them, and not at all.
    awaits: usize,
}

/// What a request that is not finished in one turn has found so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The index of the channel of the request that is looked at next.
    pub(crate) next: usize,
    /// Where a walk over all that show something goes on.
    pub(crate) place: Place,
    pub(crate) counts: Vec<usize>,
    channels: Vec<ChannelCount>,
    pub(crate) members: Vec<(ChannelName, Vec<ListedMember>)>,
    pub(crate) names: BTreeSet<ChannelName>,
    pub(crate) found: Found,
}

/// What a step of a request has come to.
pub(crate) enum Step {
    Done(Response),
    /// The turn has done enough, or a flush comes first.
    Later,
    /// A channel's map is being rebuilt.
    Rebuilding,
}

/// What the requests of one turn have cost. The measure is a look at one member of a channel in
/// passing, some 10 ns.
pub(crate) struct Looks(usize);

/// After so many the turn ends: less than a millisecond's worth. The members of a channel are listed
/// whole, at one moment, so a turn may go beyond it by the members of one channel.
pub const LOOKS_PER_TURN: usize = 64 * 1024;
/// What it costs to find a channel.
pub(crate) const LOOKS_PER_CHANNEL: usize = 32;
/// What it costs to read whom a member or a session shows: it lies elsewhere in memory.
pub(crate) const LOOKS_PER_USER: usize = 16;

impl Looks {
    pub(crate) fn spend(&mut self, looks: usize) {
        self.0 += looks;
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0 >= LOOKS_PER_TURN
    }
}

impl Requests {
    /// Whether something is to be done whatever the time.
    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.removals.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.rebuilding.len() + self.removals.len()
    }

    /// Ends what a kick concerns, after those that came before.
    pub(crate) fn remove(&mut self, removal: Removal) {
        self.removals.push_back(removal);
    }

    /// What they have cost since the start.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }
}

impl<I: Io> Work<'_, I> {
    /// A backend asks. The answer comes with [`Io::respond`], in this turn or a later one.
    pub(crate) fn take_request(&mut self, id: QueryId, request: Request) {
        match request {
            Request::Read(read) => self.hub.requests.waiting.push_back((id, read)),
            Request::Write(_) if !request.concerns().are_decided_by(&self.hub.shards) => {
                self.io.respond(id, Response::NotHome);
            }
            Request::Write(write) => self.write(id, write),
        }
    }

    fn write(&mut self, id: QueryId, write: WriteRequest) {
        let response = match write {
            WriteRequest::PutMember(member) => self.put_member(member),
            WriteRequest::RemoveMember { channel, key, connection } => {
                self.remove_member((channel, key), connection)
            }
            WriteRequest::Kick { channel, target, time } => {
                return self.kick(id, (channel, target), time);
            }
            WriteRequest::Disconnect { user, time } => return self.disconnect(id, user, time),
        };
        self.io.respond(id, response);
    }

    /// Answers requests, as far as one turn allows. After the flushes: a list shows what
    /// subscribers have been told.
    pub(crate) fn answer_requests(&mut self) {
        let mut looks = Looks(0);
        self.retry_rebuilt(&mut looks);
        self.remove_until_spent(&mut looks);
        self.answer_until_spent(&mut looks);
        self.hub.requests.looks += looks.0 as u64;
    }

    fn remove_until_spent(&mut self, looks: &mut Looks) {
        while !looks.is_spent()
            && let Some(mut removal) = self.hub.requests.removals.pop_front()
        {
            if !self.advance_removal(&mut removal, looks) {
                self.hub.requests.removals.push_front(removal);
            }
        }
    }

    fn answer_until_spent(&mut self, looks: &mut Looks) {
        while !looks.is_spent()
            && let Some((id, request)) = self.hub.requests.waiting.pop_front()
        {
            let mut progress = std::mem::take(&mut self.hub.requests.progress);
            match self.advance(&request, &mut progress, looks) {
                Step::Done(response) => self.io.respond(id, response),
                Step::Rebuilding => {
                    self.hub.requests.rebuilding.push(Rebuilding { id, request, awaits: 0 });
                }
                Step::Later => {
                    self.hub.requests.progress = progress;
                    self.hub.requests.waiting.push_front((id, request));
                    return;
                }
            }
        }
    }

    /// Requests whose channels have been rebuilt wait for their turn again.
    fn retry_rebuilt(&mut self, looks: &mut Looks) {
        let shards = &self.hub.shards;
        let requests = &mut self.hub.requests;
        let rebuilt = requests.rebuilding.extract_if(.., |rebuilding| {
            let mut rest = rebuilding.request.looks_into()[rebuilding.awaits..].iter();
            let missing = rest.position(|name| {
                looks.spend(LOOKS_PER_CHANNEL);
                matches!(shards.contents(name), Contents::Freed { .. })
            });
            rebuilding.awaits += missing.unwrap_or_default();
            // Another node may have become the home, and this one would wait for ever.
            missing.is_none() || !rebuilding.request.concerns().are_decided_by(shards)
        });
        requests.waiting.extend(rebuilt.map(|rebuilding| (rebuilding.id, rebuilding.request)));
    }

    fn advance(&mut self, request: &ReadRequest, at: &mut Progress, looks: &mut Looks) -> Step {
        if !request.concerns().are_decided_by(&self.hub.shards) {
            return Step::Done(Response::NotHome);
        }
        let channels = &request.looks_into()[at.next..];
        looks.spend(channels.len() * LOOKS_PER_CHANNEL);
        if self.wakes_freed(channels) {
            return Step::Rebuilding;
        }
        match request {
            ReadRequest::ListChannels { prefix, after, limit } => {
                if at.channels.is_empty() && at.names.is_empty() {
                    let after = after.as_ref().map(ChannelName::as_str);
                    let shards = &self.hub.shards;
                    let names = shards.channels_after(prefix, after);
                    let names = names.filter(|name| shards.is_home_of(name));
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
                looks.spend(channels.len() * LOOKS_PER_CHANNEL);
                let counts =
                    channels.iter().map(|channel| self.hub.audience.subscribers_of(channel));
                Step::Done(Response::Counts(counts.collect()))
            }
            ReadRequest::ListMembers { channel, after, limit } => {
                self.list_members(channel, (after, limit), looks)
            }
            ReadRequest::FindUser { user } => self.find_user(user, at, looks),
            ReadRequest::ListUser { user, channels } => self.list_user((user, channels), at, looks),
            ReadRequest::ExplainMember { channel, user } => {
                self.explain_member((channel, user), at, looks)
            }
            ReadRequest::ExplainUser { channel, user } => {
                self.explain_user((channel, user), at, looks)
            }
            ReadRequest::CountUsers { users, channel: Some(channel) } => {
                self.count_users_in((channel, users), at, looks)
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
                looks.spend(cost_of_users(live));
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
        (after, limit): (&Option<u64>, &usize),
        looks: &mut Looks,
    ) -> Step {
        let Contents::Live(live) = self.hub.shards.contents(channel) else {
            return Step::Done(Response::Members(MemberPage::default()));
        };
        if !live.has_no_pending() {
            let channel = channel.clone();
            self.hub.shards.plan(channel, self.now, self.now);
            return Step::Later;
        }
        let cost = if *limit == 0 { cost_of_users(live) } else { live.len() };
        looks.spend(cost + LOOKS_PER_CHANNEL);
        Step::Done(Response::Members(page_of(live, *after, *limit)))
    }
}

impl Concerns<'_> {
    /// Whether this node decides about all channels that a request names. A copy does not know what
    /// has changed at the home since.
    fn are_decided_by(self, shards: &Shards) -> bool {
        match self {
            Self::Channel(channel) => shards.is_home_of(channel),
            Self::Channels(all) => all.iter().all(|channel| shards.is_home_of(channel)),
            Self::Everything => true,
        }
    }
}

impl ReadRequest {
    /// The channels of this hub whose maps must be there for the answer.
    fn looks_into(&self) -> &[ChannelName] {
        match self {
            Self::ListMembers { channel, .. }
            | Self::ExplainMember { channel, .. }
            | Self::CountUsers { channel: Some(channel), .. } => std::slice::from_ref(channel),
            Self::ListUser { channels, .. } => channels,
            _ => &[],
        }
    }
}

impl ListedMember {
    pub(crate) fn of((member, since): (&Member, Since)) -> Self {
        let Member { connection, user, state, seq, .. } = member.clone();
        Self { user, connection, state, since, seq }
    }
}

/// What it costs to count the users of a channel, or to find the members of one.
pub(crate) fn cost_of_users(live: &Channel) -> usize {
    if live.is_indexed_by_user() { LOOKS_PER_USER } else { live.len() * LOOKS_PER_USER }
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

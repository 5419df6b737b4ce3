//! What backends ask, put to the loops that know: each channel's numbers and members come from the
//! loop of its shard, connections and subscriptions from all. Knows no HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_core::{ListPosition, Peer, UserIndex};
use herenow_hub::{
    ChannelCount, ListedMember, MemberKey, MemberPage, PutMember, ReadRequest, Remembers, Request,
    Response, Target, WriteRequest,
};
use herenow_wire::{ChannelName, UserId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::explanation::{Asked, Explanation, Moments};
use crate::loops::Loops;
use crate::watched::Watched;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    loops: Loops,
    /// When the clock of the loops was zero.
    started_at_unix_ms: u64,
}

/// A loop was too busy to be asked, or did not answer in time. To be asked again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// How many use a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelUse {
    pub(crate) channel: ChannelName,
    /// How far its list had come.
    pub(crate) position: Option<ListPosition>,
    /// Different users who are members.
    pub(crate) users: usize,
    /// Members.
    pub(crate) connections: usize,
    /// Connections that subscribe.
    pub(crate) subscribers: usize,
}

/// Some of what was asked for, and whether there is more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) has_more: bool,
}

/// What became of a member that was to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It is shown.
    Yes {
        connection: herenow_wire::ConnectionId,
        /// Whether it was not there before.
        is_new: bool,
    },
    /// There is no room for it.
    Full,
}

/// Whether backends may ask. Without them nothing is kept for their questions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backends {
    /// There is no service key.
    Refused,
    /// There is one.
    Admitted,
}

impl Backends {
    pub(crate) fn user_index(self) -> UserIndex {
        match self {
            Self::Refused => UserIndex::None,
            Self::Admitted => UserIndex::LargeChannels,
        }
    }

    pub(crate) fn remembers(self) -> Remembers {
        match self {
            Self::Refused => Remembers::Nothing,
            Self::Admitted => Remembers::Causes,
        }
    }
}

/// How long loops may take to answer: a channel's map that hibernates is rebuilt first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Backend {
    pub(crate) fn new(loops: Loops, started_at_unix_ms: u64) -> Self {
        Self { loops, started_at_unix_ms }
    }

    /// A moment on the clock of the loops, in milliseconds since the Unix epoch.
    pub(crate) fn unix_ms(&self, since: herenow_core::Since) -> u64 {
        self.started_at_unix_ms + since.instant().as_millis()
    }

    /// Whether a channel is the server's own, which backends are not shown.
    pub(crate) fn hides(&self, channel: &ChannelName) -> bool {
        self.loops.probe().is_some_and(|probe| probe.has(channel))
    }

    /// Channels in use, by name.
    pub(crate) async fn channels(
        &self,
        prefix: &str,
        after: Option<ChannelName>,
        limit: usize,
    ) -> Result<Page<ChannelUse>, Unavailable> {
        // One more says whether there are more, and one may be hidden.
        let request = ReadRequest::ListChannels { prefix: prefix.into(), after, limit: limit + 2 };
        let mut all: Vec<ChannelCount> =
            self.ask_all(request).await?.into_iter().flat_map(channels_of).collect();
        all.retain(|count| !self.hides(&count.channel));
        all.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        let has_more = all.len() > limit;
        all.truncate(limit);
        Ok(Page { items: self.with_subscribers(all).await?, has_more })
    }

    /// The same of these channels, in the order asked.
    pub(crate) async fn count_channels(
        &self,
        channels: Vec<ChannelName>,
    ) -> Result<Vec<ChannelUse>, Unavailable> {
        let count = |channels| ReadRequest::CountMembers { channels };
        let answers = self.ask_homes(channels.clone(), count).await?;
        let found = answers.into_iter().flat_map(channels_of);
        let counts: BTreeMap<ChannelName, ChannelCount> =
            found.map(|count| (count.channel.clone(), count)).collect();
        let in_order = channels.into_iter().filter_map(|channel| counts.get(&channel).cloned());
        self.with_subscribers(in_order.collect()).await
    }

    /// Some members of a channel, in the order of a snapshot, and how many use it.
    pub(crate) async fn members(
        &self,
        channel: ChannelName,
        after: Option<u64>,
        limit: usize,
    ) -> Result<MemberPage, Unavailable> {
        let home = self.loops.home(&channel);
        match self.ask(home, ReadRequest::ListMembers { channel, after, limit }).await? {
            Response::Members(page) => Ok(page),
            _ => Err(Unavailable),
        }
    }

    /// How many subscribe to a channel.
    pub(crate) async fn subscribers(&self, channel: ChannelName) -> Result<usize, Unavailable> {
        Ok(self.count_subscribers(vec![channel]).await?.into_iter().sum())
    }

    /// Where a user is, by the name of the channel.
    pub(crate) async fn user(
        &self,
        user: UserId,
        after: Option<ChannelName>,
        limit: usize,
    ) -> Result<Page<(ChannelName, Vec<ListedMember>)>, Unavailable> {
        let found = self.ask_all(ReadRequest::FindUser { user: user.clone() }).await?;
        let mut names: Vec<ChannelName> = found.into_iter().flat_map(names_of).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| after.as_ref().is_none_or(|after| name > after));
        let has_more = names.len() > limit;
        names.truncate(limit);
        let list = |channels| ReadRequest::ListUser { user: user.clone(), channels };
        let answers = self.ask_homes(names, list).await?;
        let mut items: Vec<_> = answers.into_iter().flat_map(members_of).collect();
        items.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Page { items, has_more })
    }

    /// How many connections show each of these users, in a channel or anywhere.
    pub(crate) async fn count_users(
        &self,
        users: Vec<UserId>,
        channel: Option<ChannelName>,
    ) -> Result<Vec<usize>, Unavailable> {
        let count = users.len();
        let home = channel.as_ref().map(|channel| self.loops.home(channel));
        let request = ReadRequest::CountUsers { users, channel };
        let counts = match home {
            Some(home) => vec![self.ask(home, request).await?],
            None => self.ask_all(request).await?,
        };
        Ok(sum(count, counts))
    }

    /// Shows a member that has no connection.
    pub(crate) async fn put_member(&self, member: PutMember) -> Result<Shown, Unavailable> {
        let home = self.loops.home(&member.channel);
        match self.ask(home, WriteRequest::PutMember(member)).await? {
            Response::Put { connection, is_new } => Ok(Shown::Yes { connection, is_new }),
            Response::Full => Ok(Shown::Full),
            _ => Err(Unavailable),
        }
    }

    /// Takes it away. Whether it was there.
    pub(crate) async fn remove_member(
        &self,
        channel: ChannelName,
        key: MemberKey,
    ) -> Result<bool, Unavailable> {
        let home = self.loops.home(&channel);
        let answer = self.ask(home, WriteRequest::RemoveMember { channel, key }).await?;
        Ok(answer == Response::Removed)
    }

    /// Removes a user or a connection from a channel and keeps it out. How many connections that
    /// were, or `None` where too many are kept out already. Every loop has been told.
    pub(crate) async fn kick(
        &self,
        channel: ChannelName,
        target: Target,
        time: Duration,
    ) -> Result<Option<usize>, Unavailable> {
        Ok(kicked(self.ask_all(WriteRequest::Kick { channel, target, time }).await?))
    }

    /// The same with all connections of a user and the whole server.
    pub(crate) async fn disconnect(
        &self,
        user: UserId,
        time: Duration,
    ) -> Result<Option<usize>, Unavailable> {
        Ok(kicked(self.ask_all(WriteRequest::Disconnect { user, time }).await?))
    }

    /// Why a user is, or is not, in a channel.
    pub(crate) async fn explain(
        &self,
        channel: ChannelName,
        user: UserId,
    ) -> Result<(Explanation, Moments), Unavailable> {
        let of_member = (
            self.loops.home(&channel),
            ReadRequest::ExplainMember { channel: channel.clone(), user: user.clone() }.into(),
        );
        let of_user = ReadRequest::ExplainUser { channel: channel.clone(), user: user.clone() };
        let of_loops = self.loops.peers().map(|peer| (peer, Request::from(of_user.clone())));
        let answers = self.ask_each(std::iter::once(of_member).chain(of_loops)).await?;
        let (mut member, mut loops) = (None, Vec::new());
        for answer in answers {
            match answer {
                Response::MemberFacts(facts) => member = Some(*facts),
                Response::UserFacts(facts) => loops.push(*facts),
                _ => return Err(Unavailable),
            }
        }
        let now = loops.iter().map(|facts| facts.now).max().ok_or(Unavailable)?;
        let moments = Moments { started_at_unix_ms: self.started_at_unix_ms, now };
        let rule = self.loops.tracking_rule(&channel);
        let member = member.ok_or(Unavailable)?;
        let asked = Asked { channel, user, member, loops, rule };
        Ok((Explanation::of(&asked, moments), moments))
    }

    /// Watches a channel from here on.
    pub(crate) fn watch(&self, channel: ChannelName) -> Result<Watched, Unavailable> {
        Watched::new(&self.loops, channel)
    }

    async fn with_subscribers(
        &self,
        counts: Vec<ChannelCount>,
    ) -> Result<Vec<ChannelUse>, Unavailable> {
        let names = counts.iter().map(|count| count.channel.clone()).collect();
        let subscribers = self.count_subscribers(names).await?;
        let both = counts.into_iter().zip(subscribers);
        let uses = both.map(|(count, subscribers)| {
            let ChannelCount { channel, users, connections, position } = count;
            ChannelUse { channel, position, users, connections, subscribers }
        });
        Ok(uses.collect())
    }

    async fn count_subscribers(
        &self,
        channels: Vec<ChannelName>,
    ) -> Result<Vec<usize>, Unavailable> {
        let count = channels.len();
        Ok(sum(count, self.ask_all(ReadRequest::CountSubscribers { channels }).await?))
    }

    async fn ask(&self, peer: Peer, request: impl Into<Request>) -> Result<Response, Unavailable> {
        answered(self.loops.request(peer, request.into())?).await
    }

    /// Asks each loop about those of the channels whose shards it has, all at once.
    async fn ask_homes(
        &self,
        channels: Vec<ChannelName>,
        request: impl Fn(Vec<ChannelName>) -> ReadRequest,
    ) -> Result<Vec<Response>, Unavailable> {
        let mut by_loop: BTreeMap<Peer, Vec<ChannelName>> = BTreeMap::new();
        for channel in channels {
            by_loop.entry(self.loops.home(&channel)).or_default().push(channel);
        }
        let asked = by_loop.into_iter().map(|(peer, channels)| (peer, request(channels).into()));
        self.ask_each(asked).await
    }

    /// Asks all loops at once.
    async fn ask_all(&self, request: impl Into<Request>) -> Result<Vec<Response>, Unavailable> {
        let request = request.into();
        self.ask_each(self.loops.peers().map(|peer| (peer, request.clone()))).await
    }

    async fn ask_each(
        &self,
        requests: impl Iterator<Item = (Peer, Request)>,
    ) -> Result<Vec<Response>, Unavailable> {
        let mut asked = Vec::new();
        for (peer, request) in requests {
            asked.push(self.loops.request(peer, request)?);
        }
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answered(answer).await?);
        }
        Ok(answers)
    }
}

async fn answered(answer: oneshot::Receiver<Response>) -> Result<Response, Unavailable> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

fn channels_of(response: Response) -> Vec<ChannelCount> {
    match response {
        Response::Channels(channels) => channels,
        _ => Vec::new(),
    }
}

fn members_of(response: Response) -> Vec<(ChannelName, Vec<ListedMember>)> {
    match response {
        Response::UserMembers(members) => members,
        _ => Vec::new(),
    }
}

fn names_of(response: Response) -> Vec<ChannelName> {
    match response {
        Response::ChannelNames(names) => names,
        _ => Vec::new(),
    }
}

fn sum(count: usize, responses: Vec<Response>) -> Vec<usize> {
    let mut sums = vec![0; count];
    for response in responses {
        if let Response::Counts(counts) = response {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }
    sums
}

fn kicked(responses: Vec<Response>) -> Option<usize> {
    let has_room = !responses.contains(&Response::Full);
    has_room.then(|| sum(1, responses)[0])
}

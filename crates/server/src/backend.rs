//! What backends ask, put to the loops that know: each channel's numbers and members come from the
//! loop of its shard, connections and subscriptions from all. Knows no HTTP.

mod answer;
mod gathering;
mod unavailable;

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_cluster::NodeName;
use herenow_core::{Instant, ListPosition, UserIndex};
use herenow_hub::{
    ChannelCount, ListedMember, MemberKey, MemberPage, PutMember, ReadRequest, Remembers, Response,
    Target, WriteRequest,
};
use herenow_wire::{ChannelName, ConnectionId, UserId};
use sha2::{Digest as _, Sha256};

pub(crate) use self::answer::DatedMember;
use self::gathering::Part;
pub(crate) use self::unavailable::Unavailable;
use crate::clock;
use crate::cluster::Cluster;
use crate::explanation::{Asked, Explanation, Moments};
use crate::loops::Loops;
use crate::watched::Watched;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    loops: Loops,
    /// When the clock of the loops was zero.
    started_at_unix_ms: u64,
    /// The other nodes, if this is one of several.
    cluster: Option<Cluster>,
}

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

/// Some members of a channel at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    /// How far the list had come at that moment; `None` if nobody uses the channel.
    pub(crate) position: Option<ListPosition>,
    /// Different users in the whole channel.
    pub(crate) users: usize,
    /// Members of the whole channel.
    pub(crate) connections: usize,
    /// In the order of a snapshot.
    pub(crate) page: Page<DatedMember>,
}

/// Where a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// By the name of the channel.
    pub(crate) page: Page<(ChannelName, Vec<DatedMember>)>,
    /// The nodes that did not answer in time. The user may be in more channels than those of the page.
    pub(crate) silent: Vec<NodeName>,
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

/// The moment, on the clock of an explanation, at which several nodes answer: before it there is room
/// for what a node remembers from before another one was started.
const ANSWERED_AT: Instant = Instant::from_millis(10 * 365 * 24 * 3600 * 1000);

impl Backend {
    pub(crate) fn new(loops: Loops, cluster: Option<Cluster>) -> Self {
        let started_at_unix_ms = loops.started_at_unix_ms();
        Self { loops, started_at_unix_ms, cluster }
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
            self.responses(request).await?.into_iter().flat_map(channels_of).collect();
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
        let request = ReadRequest::CountMembers { channels: channels.clone() };
        let answers = self.responses(request).await?;
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
    ) -> Result<Members, Unavailable> {
        let request = ReadRequest::ListMembers { channel, after, limit };
        let mut parts = self.gather(request).await?.whole()?;
        let Some(Part { clock, responses }) = parts.pop() else { return Err(Unavailable::Busy) };
        match responses.into_iter().next() {
            Some(Response::Members(found)) => {
                let MemberPage { position, users, connections, members, has_more } = found;
                let items = members.into_iter().map(|member| clock.dated(member)).collect();
                Ok(Members { position, users, connections, page: Page { items, has_more } })
            }
            _ => Err(Unavailable::Busy),
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
    ) -> Result<Whereabouts, Unavailable> {
        let found = self.gather(ReadRequest::FindUser { user: user.clone() }).await?;
        let mut silent = found.silent;
        let responses = found.parts.into_iter().flat_map(|part| part.responses);
        let mut names: Vec<ChannelName> = responses.flat_map(names_of).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| after.as_ref().is_none_or(|after| name > after));
        let has_more = names.len() > limit;
        names.truncate(limit);
        let listed = self.gather(ReadRequest::ListUser { user, channels: names }).await?;
        silent.extend(listed.silent);
        silent.sort_unstable();
        silent.dedup();
        let mut items: Vec<_> = listed.parts.into_iter().flat_map(dated_members_of).collect();
        items.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Whereabouts { page: Page { items, has_more }, silent })
    }

    /// How many connections show each of these users, in a channel or anywhere.
    pub(crate) async fn count_users(
        &self,
        users: Vec<UserId>,
        channel: Option<ChannelName>,
    ) -> Result<Vec<usize>, Unavailable> {
        let count = users.len();
        Ok(sum(count, self.responses(ReadRequest::CountUsers { users, channel }).await?))
    }

    /// Shows a member that has no connection.
    pub(crate) async fn put_member(&self, member: PutMember) -> Result<Shown, Unavailable> {
        let connection = match self.cluster {
            Some(_) => id_of(&member.channel, &member.key),
            None => member.connection,
        };
        let member = PutMember { connection, ..member };
        match self.responses(WriteRequest::PutMember(member)).await?.pop() {
            Some(Response::Put { connection, is_new }) => Ok(Shown::Yes { connection, is_new }),
            Some(Response::Full) => Ok(Shown::Full),
            _ => Err(Unavailable::Busy),
        }
    }

    /// Takes it away. Whether it was there.
    pub(crate) async fn remove_member(
        &self,
        channel: ChannelName,
        key: MemberKey,
    ) -> Result<bool, Unavailable> {
        let connection = id_of(&channel, &key);
        let remove = WriteRequest::RemoveMember { channel, key, connection };
        let answers = self.responses(remove).await?;
        Ok(answers.contains(&Response::Removed))
    }

    /// Removes a user or a connection from a channel and keeps it out. How many connections that
    /// were, or `None` where too many are kept out already. Every loop of every node has been told.
    pub(crate) async fn kick(
        &self,
        channel: ChannelName,
        target: Target,
        time: Duration,
    ) -> Result<Option<usize>, Unavailable> {
        Ok(kicked(self.responses(WriteRequest::Kick { channel, target, time }).await?))
    }

    /// The same with all connections of a user and the whole server.
    pub(crate) async fn disconnect(
        &self,
        user: UserId,
        time: Duration,
    ) -> Result<Option<usize>, Unavailable> {
        Ok(kicked(self.responses(WriteRequest::Disconnect { user, time }).await?))
    }

    /// Why a user is, or is not, in a channel.
    pub(crate) async fn explain(
        &self,
        channel: ChannelName,
        user: UserId,
    ) -> Result<(Explanation, Moments), Unavailable> {
        let of_member = ReadRequest::ExplainMember { channel: channel.clone(), user: user.clone() };
        let of_user = ReadRequest::ExplainUser { channel: channel.clone(), user: user.clone() };
        let (of_member, of_user) = tokio::try_join!(self.gather(of_member), self.gather(of_user))?;
        let mut parts = of_member.whole()?;
        parts.extend(of_user.whole()?);
        let moments = self.moments_of_answers();
        let (mut member, mut loops) = (None, Vec::new());
        for Part { clock, responses } in parts {
            // Each node has a clock of its own, and may have started at another time.
            let shift = self.cluster.is_some().then_some((clock.now, moments.now));
            for response in responses {
                match response {
                    Response::MemberFacts(mut facts) => {
                        shift.inspect(|(from, to)| facts.move_to(*from, *to));
                        member = Some(*facts);
                    }
                    Response::UserFacts(mut facts) => {
                        shift.inspect(|(from, to)| facts.move_to(*from, *to));
                        loops.push(*facts);
                    }
                    _ => return Err(Unavailable::Busy),
                }
            }
        }
        let now = loops.iter().map(|facts| facts.now).max().ok_or(Unavailable::Busy)?;
        let moments = Moments { now, ..moments };
        let rule = self.loops.tracking_rule(&channel);
        let member = member.ok_or(Unavailable::Busy)?;
        let asked = Asked { channel, user, member, loops, rule };
        Ok((Explanation::of(&asked, moments), moments))
    }

    /// The clock on which an explanation tells moments: that of the loops, or one on which nodes that
    /// were started at different times answer at one moment.
    fn moments_of_answers(&self) -> Moments {
        let Self { started_at_unix_ms, .. } = *self;
        match self.cluster {
            None => Moments { started_at_unix_ms, now: self.clock().now },
            Some(_) => {
                let began = clock::unix_ms().saturating_sub(ANSWERED_AT.as_millis());
                Moments { started_at_unix_ms: began, now: ANSWERED_AT }
            }
        }
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
        Ok(sum(count, self.responses(ReadRequest::CountSubscribers { channels }).await?))
    }
}

/// The id of a key's member on every node of a cluster.
fn id_of(channel: &ChannelName, key: &MemberKey) -> ConnectionId {
    // No name holds a zero byte.
    let text = format!("member\0{channel}\0{}", key.as_str());
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    ConnectionId::from_bytes(id)
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

fn dated_members_of(part: Part) -> impl Iterator<Item = (ChannelName, Vec<DatedMember>)> {
    let Part { clock, responses } = part;
    responses.into_iter().flat_map(members_of).map(move |(channel, members)| {
        (channel, members.into_iter().map(|member| clock.dated(member)).collect())
    })
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

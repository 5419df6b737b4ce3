//! One client: it folds what it reads to a list, and checks every frame against what it may rely
//! on.

use std::collections::{BTreeMap, VecDeque};

use herenow_core::{Member, Op, Snapshot};
use herenow_wire::{ChannelName, ConnectionId, State};

use crate::Answers;
use crate::truth::Rows;

/// What a socket carries to a client.
#[derive(Clone, Debug)]
pub enum Frame {
    Unsubscribed(ChannelName),
    Resync(ChannelName),
    Snapshot(ChannelName, Snapshot),
    Delta(ChannelName, Op),
    /// No frame of the protocol: what the list must be after those before it.
    Check(ChannelName, Rows),
    /// No frame either: the next snapshot must hold the client's own member.
    Expect(ChannelName),
}

/// See the module.
pub struct Client {
    connection: ConnectionId,
    answers: Answers,
    /// What it was sent and has not read.
    pub inbox: VecDeque<Frame>,
    /// The list of each channel that it has had a snapshot of.
    lists: BTreeMap<ChannelName, Rows>,
    /// The last epoch and the greatest number of each channel, whatever became of the subscription.
    numbers: BTreeMap<ChannelName, (u64, u64)>,
    /// Channels whose first snapshot must hold its own member.
    expected_in: Vec<ChannelName>,
}

impl Client {
    pub fn new(connection: ConnectionId, answers: Answers) -> Self {
        Self {
            connection,
            answers,
            inbox: VecDeque::new(),
            lists: BTreeMap::new(),
            numbers: BTreeMap::new(),
            expected_in: Vec::new(),
        }
    }

    pub fn answers(&self) -> Answers {
        self.answers
    }

    pub fn list(&self, channel: &ChannelName) -> Option<&Rows> {
        self.lists.get(channel)
    }

    /// It tracked without having subscribed.
    pub fn expects_itself_in(&mut self, channel: &ChannelName) {
        self.inbox.push_back(Frame::Expect(channel.clone()));
    }

    /// It has taken its word back, or the map was lost since.
    pub fn expects_itself_no_more_in(&mut self, channel: &ChannelName) {
        self.expected_in.retain(|name| name != channel);
        self.inbox.retain(|frame| !matches!(frame, Frame::Expect(name) if name == channel));
    }

    /// What waits of a channel is dropped, but for the answers to requests.
    pub fn drop_waiting(&mut self, channel: &ChannelName) {
        self.inbox.retain(|frame| match frame {
            Frame::Snapshot(name, _) | Frame::Delta(name, _) | Frame::Check(name, _) => {
                name != channel
            }
            _ => true,
        });
    }

    /// Reads one frame. Returns the channel of a resync that it answers.
    pub fn read(&mut self) -> Option<ChannelName> {
        match self.inbox.pop_front()? {
            Frame::Unsubscribed(channel) => drop(self.lists.remove(&channel)),
            Frame::Resync(channel) => {
                return (self.answers == Answers::Always).then_some(channel);
            }
            Frame::Snapshot(channel, snapshot) => self.replace(channel, snapshot),
            Frame::Delta(channel, op) => self.fold(&channel, op),
            Frame::Check(channel, rows) => self.check(&channel, &rows),
            Frame::Expect(channel) => self.expected_in.push(channel),
        }
        None
    }

    fn replace(&mut self, channel: ChannelName, snapshot: Snapshot) {
        let Snapshot { epoch, seq, members } = snapshot;
        let (before_epoch, before_seq) = self.numbers.get(&channel).copied().unwrap_or_default();
        assert!(
            (before_epoch, before_seq) <= (epoch, seq),
            "{before_epoch}:{before_seq} came before"
        );
        self.numbers.insert(channel.clone(), (epoch, seq.max(before_seq)));
        let seqs: Vec<u64> = members.iter().map(|member| member.seq).collect();
        assert!(seqs.is_sorted(), "rows stand in the order of their last track: {seqs:?}");
        let rows: Rows = members.into_iter().map(row).collect();
        if self.expected_in.contains(&channel) {
            let is_in = rows.iter().any(|(one, _)| *one == self.connection);
            assert!(is_in, "who tracked without subscribing finds itself in its first snapshot");
            self.expects_itself_no_more_in(&channel);
        }
        self.lists.insert(channel, rows);
    }

    fn fold(&mut self, channel: &ChannelName, op: Op) {
        let rows = self.lists.get_mut(channel).expect("no delta comes before the first snapshot");
        let numbers = self.numbers.get_mut(channel).expect("it came with the snapshot");
        let (seq, connection) = match &op {
            Op::Put { new, .. } => (new.seq, new.connection),
            Op::Remove { old, seq, .. } => (*seq, old.connection),
        };
        assert!(seq > numbers.1, "{seq} is not greater than {}, which came before", numbers.1);
        numbers.1 = seq;
        let known = rows.iter().position(|(one, _)| *one == connection);
        match op {
            Op::Put { old: None, new } => {
                assert_eq!(known, None, "a join is of a member that was not there");
                rows.push(row(new));
            }
            Op::Put { old: Some(old), new } => {
                let at = known.expect("an update is of a member that was there");
                assert_eq!(rows.remove(at), row(old), "an update says what was there");
                rows.push(row(new));
            }
            Op::Remove { old, .. } => {
                let at = known.expect("a leave is of a member that was there");
                assert_eq!(rows.remove(at), row(old), "a leave says what was there");
            }
        }
    }

    fn check(&self, channel: &ChannelName, rows: &Rows) {
        assert_eq!(self.list(channel), Some(rows), "what it was told is what was true");
    }
}

fn row(member: Member) -> (ConnectionId, State) {
    (member.connection, member.state)
}

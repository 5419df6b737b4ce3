//! What was sent, who has read it, and how long that took.
//!
//! Knows, for each receiver and each member of its channel, the last state read. So it
//! can say at any time what is still under way, and at the end whether all is true.
//! Refuses to know sockets.

use crate::driver::{Arrival, Nanos};
use crate::histogram::Histogram;
use crate::inbound::{Event, Mark};

/// How many of a member's latest updates have their moment of sending on record.
const SENDINGS_KEPT: usize = 1024;

/// Channels of equal size. Connection `c * size + k` is number `k` in channel `c`; the
/// first `members` of a channel track a state, the others only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    pub members: usize,
    pub observers: usize,
}

impl Shape {
    pub fn of_members(channels: usize, members: usize) -> Self {
        Self { channels, members, observers: 0 }
    }

    pub fn size(&self) -> usize {
        self.members + self.observers
    }

    pub fn connections(&self) -> usize {
        self.channels * self.size()
    }

    pub fn channel_of(&self, connection: usize) -> usize {
        connection / self.size()
    }

    pub fn is_member(&self, connection: usize) -> bool {
        connection % self.size() < self.members
    }

    /// The connection of the tracker with this number, counted over all channels.
    pub fn tracker(&self, number: usize) -> usize {
        let number = number % (self.channels * self.members);
        // Neighbours in time sit in different channels, as in life.
        (number % self.channels) * self.size() + number / self.channels
    }
}

/// Counts since the beginning.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub ready: u64,
    /// Updates that arrived as a frame of their own.
    pub seen: u64,
    /// Updates that arrived, or that a newer one of the same entry overtook.
    pub covered: u64,
    pub joins: u64,
    pub leaves: u64,
    pub snapshots: u64,
    pub rows: u64,
    pub closed: u64,
    pub errors: u64,
    /// Frames that told something older than what the receiver had already.
    pub backwards: u64,
}

/// See the module.
pub struct Ledger {
    pub shape: Shape,
    pub tally: Tally,
    /// From the sending of an update to the reading of that same update.
    pub latency: Histogram,
    /// From the sending of the oldest update that a frame covers to its reading.
    pub staleness: Histogram,
    /// The same as `latency`, for leaves.
    pub leave_latency: Histogram,
    pub first_error: Option<String>,
    /// A receiver that the latencies leave out.
    pub excluded: Option<usize>,
    is_recording: bool,
    sent: Vec<u32>,
    sent_at: Vec<Nanos>,
    left_at: Vec<Nanos>,
    /// For each connection the last number read of each member of its channel.
    last: Vec<u32>,
    present: Vec<i8>,
    /// Pairs of receiver and member of which `present` is exactly one.
    known_pairs: usize,
}

impl Ledger {
    pub fn new(shape: Shape) -> Self {
        let (connections, pairs) = (shape.connections(), shape.connections() * shape.members);
        Self {
            shape,
            tally: Tally::default(),
            latency: Histogram::new(),
            staleness: Histogram::new(),
            leave_latency: Histogram::new(),
            first_error: None,
            excluded: None,
            is_recording: false,
            sent: vec![0; connections],
            sent_at: vec![0; shape.channels * shape.members * SENDINGS_KEPT],
            left_at: vec![0; connections],
            last: vec![0; pairs],
            present: vec![0; pairs],
            known_pairs: 0,
        }
    }

    /// From now on latencies count, those recorded before are forgotten.
    pub fn record(&mut self) {
        self.latency.clear();
        self.staleness.clear();
        self.leave_latency.clear();
        self.is_recording = true;
    }

    pub fn stop_recording(&mut self) {
        self.is_recording = false;
    }

    /// Numbers the next state of `member`, which is sent at `now`.
    pub fn next_state(&mut self, member: usize, now: Nanos) -> u32 {
        self.sent[member] += 1;
        let number = self.sent[member];
        let slot = self.sending(member, number);
        self.sent_at[slot] = now;
        number
    }

    /// The number of the state that `member` sent last.
    pub fn sent(&self, member: usize) -> u32 {
        self.sent[member]
    }

    /// The connection of `member` was cut, so it knows nobody and the others hear of it.
    pub fn cut(&mut self, member: usize, now: Nanos) {
        self.left_at[member] = now;
        self.forget_all(member);
        let row = self.row(member);
        self.last[row].fill(0);
    }

    /// `member` leaves its channel at `now`.
    pub fn leaves(&mut self, member: usize, now: Nanos) {
        self.left_at[member] = now;
    }

    /// Every receiver knows every member of its channel, once.
    pub fn all_know_all(&self) -> bool {
        self.known_pairs == self.present.len()
    }

    /// Every receiver has read the last state of every member of its channel.
    pub fn all_is_read(&self) -> bool {
        (0..self.shape.connections()).all(|receiver| self.unread(receiver).is_none())
    }

    /// What is untrue where everything should have arrived, in words.
    pub fn untruth(&self) -> Option<String> {
        let tally = &self.tally;
        if tally.errors + tally.closed + tally.backwards > 0 {
            let first = self.first_error.as_deref().unwrap_or("");
            return Some(format!(
                "{} errors, {} closed, {} frames out of order {first}",
                tally.errors, tally.closed, tally.backwards
            ));
        }
        if !self.all_know_all() {
            return Some(format!(
                "{} of {} pairs know each other",
                self.known_pairs,
                self.present.len()
            ));
        }
        (0..self.shape.connections()).find_map(|receiver| self.unread(receiver))
    }

    /// An update that was lost: sent last by its member, and never read by `receiver`.
    pub fn unread(&self, receiver: usize) -> Option<String> {
        let first = self.shape.channel_of(receiver) * self.shape.size();
        let sent = &self.sent[first..first + self.shape.members];
        let read = &self.last[self.row(receiver)];
        let at = (0..sent.len()).find(|at| read[*at] != sent[*at])?;
        Some(format!(
            "connection {receiver} read number {} of member {}, which sent {}",
            read[at],
            first + at,
            sent[at]
        ))
    }

    /// Enters an arrival into the books.
    pub fn enter(&mut self, arrival: &Arrival) {
        let receiver = arrival.connection;
        match &arrival.event {
            Event::Updated(mark) => self.updated(receiver, *mark, arrival.at),
            Event::Row(mark) => {
                self.tally.rows += 1;
                self.count(receiver, mark.member, 1);
                self.cover(receiver, *mark);
            }
            Event::Joined(mark) => {
                self.tally.joins += 1;
                self.count(receiver, mark.member, 1);
                self.cover(receiver, *mark);
            }
            Event::Left { member } => {
                self.tally.leaves += 1;
                self.count(receiver, *member, -1);
                if self.is_recording {
                    let waited = arrival.at.saturating_sub(self.left_at[*member]);
                    self.leave_latency.record(waited);
                }
            }
            Event::SnapshotBegins => {
                self.tally.snapshots += 1;
                self.forget_all(receiver);
            }
            Event::SnapshotEnds => self.tally.ready += 1,
            Event::Closed => self.tally.closed += 1,
            Event::Error(text) => {
                self.tally.errors += 1;
                self.first_error.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            }
            Event::Opened
            | Event::Authenticated
            | Event::Counted { .. }
            | Event::Pong
            | Event::Ping(_)
            | Event::Other => {}
        }
    }

    fn updated(&mut self, receiver: usize, mark: Mark, at: Nanos) {
        self.tally.seen += 1;
        let covered = self.cover(receiver, mark);
        if self.is_recording && covered > 0 && self.excluded != Some(receiver) {
            let oldest = mark.number - covered + 1;
            let sent_at = self.sent_at[self.sending(mark.member, mark.number)];
            let oldest_at = self.sent_at[self.sending(mark.member, oldest)];
            self.latency.record(at.saturating_sub(sent_at));
            self.staleness.record(at.saturating_sub(oldest_at));
        }
    }

    /// Notes a state as read and says how many updates that settles.
    fn cover(&mut self, receiver: usize, mark: Mark) -> u32 {
        let pair = self.pair(receiver, mark.member);
        let last = self.last[pair];
        if mark.number < last {
            self.tally.backwards += 1;
            return 0;
        }
        self.last[pair] = mark.number;
        let covered = mark.number - last;
        self.tally.covered += u64::from(covered);
        covered
    }

    fn count(&mut self, receiver: usize, member: usize, change: i8) {
        let pair = self.pair(receiver, member);
        let was = self.present[pair];
        let is = was.saturating_add(change);
        self.present[pair] = is;
        self.known_pairs += usize::from(is == 1);
        self.known_pairs -= usize::from(was == 1);
    }

    fn forget_all(&mut self, receiver: usize) {
        let row = self.row(receiver);
        let present = &mut self.present[row];
        self.known_pairs -= present.iter().filter(|count| **count == 1).count();
        present.fill(0);
    }

    fn row(&self, receiver: usize) -> std::ops::Range<usize> {
        let first = receiver * self.shape.members;
        first..first + self.shape.members
    }

    fn pair(&self, receiver: usize, member: usize) -> usize {
        receiver * self.shape.members + member % self.shape.size()
    }

    fn sending(&self, member: usize, number: u32) -> usize {
        let (channel, place) = (self.shape.channel_of(member), member % self.shape.size());
        let tracker = channel * self.shape.members + place;
        tracker * SENDINGS_KEPT + number as usize % SENDINGS_KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_of_two() -> Ledger {
        let mut ledger = Ledger::new(Shape::of_members(1, 2));
        for receiver in 0..2 {
            enter(&mut ledger, receiver, Event::SnapshotBegins);
            for member in 0..2 {
                enter(&mut ledger, receiver, Event::Row(Mark { member, number: 0 }));
            }
            enter(&mut ledger, receiver, Event::SnapshotEnds);
        }
        ledger
    }

    fn enter(ledger: &mut Ledger, connection: usize, event: Event) {
        ledger.enter(&Arrival { connection, at: 5_000, event });
    }

    #[test]
    fn an_overtaken_update_counts_as_covered_and_not_as_seen() {
        let mut ledger = ledger_of_two();
        ledger.record();
        for now in 1..=3 {
            ledger.next_state(0, now * 1_000);
        }
        enter(&mut ledger, 1, Event::Updated(Mark { member: 0, number: 3 }));
        assert_eq!((ledger.tally.seen, ledger.tally.covered), (1, 3));
        assert!(ledger.latency.percentile_ms(1.0) < ledger.staleness.percentile_ms(1.0));
    }

    #[test]
    fn a_lost_last_update_is_an_untruth() {
        let mut ledger = ledger_of_two();
        assert_eq!(ledger.untruth(), None);
        ledger.next_state(0, 1);
        enter(&mut ledger, 0, Event::Updated(Mark { member: 0, number: 1 }));
        assert!(ledger.untruth().is_some_and(|text| text.contains("connection 1 read number 0")));
    }

    #[test]
    fn a_ghost_and_a_missing_member_are_untruths() {
        let mut ledger = ledger_of_two();
        enter(&mut ledger, 0, Event::Joined(Mark { member: 1, number: 0 }));
        assert!(ledger.untruth().is_some());
        enter(&mut ledger, 0, Event::Left { member: 1 });
        assert_eq!(ledger.untruth(), None);
        enter(&mut ledger, 0, Event::Left { member: 1 });
        assert!(ledger.untruth().is_some());
    }

    #[test]
    fn a_frame_out_of_order_is_an_untruth() {
        let mut ledger = ledger_of_two();
        ledger.next_state(0, 1);
        ledger.next_state(0, 1);
        for number in [2, 1] {
            enter(&mut ledger, 0, Event::Updated(Mark { member: 0, number }));
        }
        assert_eq!(ledger.tally.backwards, 1);
    }
}

//! One direction of a link, at the receiver: batches are applied in the order of their numbers, and
//! a gap is answered by asking for a stream that begins anew.

use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::{Assembler, Follows, Item, Urgency};

use crate::sending::TICK_EVERY;

/// When an acknowledgement that a client waits for goes alone.
const ACK_AFTER: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(crate) struct Receiving {
    assembler: Assembler,
    /// The batch with which the stream last began anew.
    begun_at: u64,
    /// The last batch that was handed to the owner.
    applied: u64,
    /// The last batch that the owner has applied and told.
    told: u64,
    /// The last that the sender knows to be told.
    acked: u64,
    /// The sender was told that everything up to this has come.
    said: u64,
    /// The highest number that was heard of.
    seen: u64,
    /// A batch is missing. When to say so next.
    nack_at: Option<Instant>,
    /// When to acknowledge without a batch that goes back.
    ack_at: Option<Instant>,
    /// The sender has asked, and not everything was told yet.
    is_asked: bool,
}

/// What a batch is to its receiver.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// It is the next one.
    Next {
        items: Vec<Item>,
        /// How many were of kinds that are not known.
        skipped: usize,
    },
    /// It has come before.
    Again,
    /// One before it is missing, or it cannot be read.
    Broken,
}

/// What has come of a stream, compared with what its sender had sent when it wrote a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Everything has come.
    Complete,
    /// A batch is missing.
    Missing,
    /// The stream has begun anew since. The packet may acknowledge a put whose refusal was lost with
    /// the old stream and is still to come with the new one, so what it says does not count.
    Old,
}

impl Receiving {
    pub(crate) fn new(max_item_bytes: usize) -> Self {
        Self {
            assembler: Assembler::new(max_item_bytes),
            begun_at: 0,
            applied: 0,
            told: 0,
            acked: 0,
            said: 0,
            seen: 0,
            nack_at: None,
            ack_at: None,
            is_asked: false,
        }
    }

    /// The last batch that has come, with all before it: a packet that goes to the sender says so.
    pub(crate) fn say_received(&mut self) -> u64 {
        self.said = self.applied;
        self.applied
    }

    /// The highest number that was heard of.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether nothing is missing, and nothing is still to be said.
    pub(crate) fn is_idle(&self) -> bool {
        self.nack_at.is_none() && self.ack_at.is_none() && !self.assembler.has_begun()
    }

    /// The parts of an item that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.assembler.held_bytes()
    }

    /// A batch came.
    pub(crate) fn batch(
        &mut self,
        (n, follows, urgency): (u64, Follows, Urgency),
        body: &[u8],
        now: Instant,
    ) -> Arrival {
        self.seen = self.seen.max(n);
        if n <= self.applied {
            return Arrival::Again;
        }
        match follows {
            Follows::Nothing => {
                self.assembler.reset();
                self.nack_at = None;
                self.begun_at = n;
            }
            Follows::Previous if self.nack_at.is_none() && n == self.applied + 1 => {}
            Follows::Previous => return Arrival::Broken,
        }
        let mut items = Vec::new();
        let Ok(skipped) = self.assembler.read(body, &mut items) else { return Arrival::Broken };
        self.applied = n;
        if urgency == Urgency::Soon {
            self.ack_at.get_or_insert(now + ACK_AFTER);
        }
        Arrival::Next { items, skipped }
    }

    /// A packet without a batch says that the sender has sent everything up to `n`.
    pub(crate) fn compare(&mut self, n: u64) -> Standing {
        self.seen = self.seen.max(n);
        if self.nack_at.is_some() || n > self.applied {
            Standing::Missing
        } else if n < self.begun_at {
            Standing::Old
        } else {
            Standing::Complete
        }
    }

    /// Something is missing. Whether that is news.
    pub(crate) fn break_off(&mut self, now: Instant) -> bool {
        let is_news = self.nack_at.is_none();
        self.nack_at.get_or_insert(now);
        self.ack_at = None;
        self.is_asked = false;
        is_news
    }

    /// The sender asks whether everything has come, and it has.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.ack_at = Some(now);
        self.is_asked = self.told < self.applied;
    }

    /// The owner has applied and told everything up to `n`.
    pub(crate) fn tell(&mut self, n: u64, now: Instant) {
        self.told = self.told.max(n.min(self.applied));
        if self.is_asked && self.told == self.applied {
            self.is_asked = false;
            self.ack_at = Some(now);
        }
    }

    /// A packet goes to the sender, with the acknowledgement of everything told.
    pub(crate) fn acknowledge(&mut self) -> u64 {
        self.acked = self.told;
        if self.told == self.applied {
            self.ack_at = None;
        }
        self.told
    }

    fn has_news(&self) -> bool {
        self.applied > self.said || self.told > self.acked || self.told == self.applied
    }

    /// When something is to be said without a batch that goes back.
    pub(crate) fn next_deadline(&self) -> Instant {
        let ack = self.ack_at.filter(|_| self.has_news());
        self.nack_at.into_iter().chain(ack).min().unwrap_or(Instant::NEVER)
    }

    /// Whether to say that something is missing.
    pub(crate) fn poll_nack(&mut self, now: Instant) -> bool {
        let is_due = self.nack_at.is_some_and(|at| at <= now);
        if is_due {
            self.nack_at = Some(now + TICK_EVERY);
        }
        is_due
    }

    /// Whether to acknowledge alone.
    pub(crate) fn poll_ack(&mut self, now: Instant) -> bool {
        let is_due = self.has_news() && self.ack_at.is_some_and(|at| at <= now);
        if is_due {
            self.ack_at = (self.told < self.applied).then(|| now + ACK_AFTER);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    /// A stream that began at batch 10.
    fn begun() -> Receiving {
        let mut receiving = Receiving::new(1024);
        assert!(is_next(receiving.batch((10, Follows::Nothing, Urgency::Whenever), &[], at(0))));
        receiving
    }

    fn next(receiving: &mut Receiving, n: u64) -> Arrival {
        receiving.batch((n, Follows::Previous, Urgency::Whenever), &[], at(0))
    }

    fn is_next(arrival: Arrival) -> bool {
        matches!(arrival, Arrival::Next { .. })
    }

    #[test]
    fn batches_are_applied_in_the_order_of_their_numbers_and_once() {
        let mut receiving = begun();
        assert!(is_next(next(&mut receiving, 11)));
        assert_eq!(next(&mut receiving, 11), Arrival::Again);
        assert_eq!(next(&mut receiving, 13), Arrival::Broken);
    }

    #[test]
    fn nothing_is_applied_after_a_gap_until_the_stream_begins_anew() {
        let mut receiving = begun();
        assert!(receiving.break_off(at(0)));
        assert!(!receiving.break_off(at(1)), "it is news once");
        assert_eq!(next(&mut receiving, 11), Arrival::Broken, "the sender is asked to begin anew");
        assert!(is_next(receiving.batch((12, Follows::Nothing, Urgency::Whenever), &[], at(0))));
        assert!(is_next(next(&mut receiving, 13)));
    }

    #[test]
    fn a_gap_is_said_at_once_and_again_each_250_milliseconds() {
        let mut receiving = begun();
        receiving.break_off(at(0));
        assert!(receiving.poll_nack(at(0)));
        assert!(!receiving.poll_nack(at(249)));
        assert!(receiving.poll_nack(at(250)));
    }

    #[test]
    fn a_packet_that_names_a_batch_which_has_not_come_shows_a_gap() {
        let mut receiving = begun();
        assert_eq!(receiving.compare(10), Standing::Complete);
        assert_eq!(receiving.compare(11), Standing::Missing);
    }

    #[test]
    fn a_packet_from_before_the_stream_began_anew_is_old() {
        let mut receiving = begun();
        assert_eq!(receiving.compare(9), Standing::Old);
    }

    #[test]
    fn only_what_was_told_is_acknowledged() {
        let mut receiving = begun();
        assert_eq!(receiving.acknowledge(), 0, "it is applied, and nobody was told");
        receiving.tell(10, at(0));
        assert_eq!(receiving.acknowledge(), 10);
    }

    #[test]
    fn an_acknowledgement_that_a_client_waits_for_goes_alone_after_50_milliseconds() {
        let mut receiving = begun();
        receiving.tell(10, at(0));
        assert_eq!(receiving.next_deadline(), Instant::NEVER, "no client waits");
        receiving.batch((11, Follows::Previous, Urgency::Soon), &[], at(0));
        receiving.tell(11, at(1));
        assert!(!receiving.poll_ack(at(49)));
        assert!(receiving.poll_ack(at(50)));
        assert_eq!(receiving.acknowledge(), 11);
        assert!(receiving.is_idle());
    }

    #[test]
    fn a_sender_that_asks_hears_what_has_come_and_again_when_everything_was_told() {
        let mut receiving = begun();
        receiving.asked(at(5));
        assert!(receiving.poll_ack(at(5)));
        assert_eq!((receiving.say_received(), receiving.acknowledge()), (10, 0));
        assert!(!receiving.poll_ack(at(5)));
        receiving.tell(10, at(9));
        assert!(receiving.poll_ack(at(9)));
    }
}

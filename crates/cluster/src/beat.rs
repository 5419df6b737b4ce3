//! The node's own beat: a swap of its own key each second, acknowledged by the bucket. An acknowledged
//! beat gives the node a lease. Another node can end it only by a swap of the same key.

use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::Incarnation;

use crate::api::Effect;
use crate::engine::{Key, Read, RequestId, Revision, Swapped};
use crate::value::{Beat, NodeName};

/// How often a node beats.
pub(crate) const BEAT_EVERY: Duration = Duration::from_millis(1000);
/// How long after a beat was sent that was acknowledged the node may act for the cluster.
pub(crate) const LEASE: Duration = Duration::from_millis(2500);
/// When a request that was not answered is given up.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(2000);
/// When the engine is asked again after it did not answer.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Where the numbers of requests come from.
#[derive(Debug, Default)]
pub(crate) struct Requests(u64);

impl Requests {
    pub(crate) fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId(self.0)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Beating {
    name: NodeName,
    incarnation: Incarnation,
    /// How many beats are acknowledged.
    count: u64,
    /// The revision of the key, if it is known.
    revision: Option<Revision>,
    request: Option<Request>,
    /// When the beat that is not acknowledged yet was first sent.
    first_sent: Option<Instant>,
    /// A try of that beat may have been written without an answer.
    is_uncertain: bool,
    /// When to send the next beat, or to ask again.
    next_at: Instant,
    lease_until: Instant,
    /// What stood in the key before the first beat.
    found: Option<Predecessor>,
    first_acked_at: Option<Instant>,
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    /// When it is given up.
    late_at: Instant,
}

/// What stood in a node's beat key before its first beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Predecessor {
    /// An incarnation that was judged dead: its lease is over.
    Closed,
    /// Nothing, or an incarnation whose lease may not be over yet.
    MayLive,
}

/// What became of a beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Pending,
    /// It is acknowledged. It was first sent then.
    Acknowledged(Instant),
    /// The key is another's, or closed: the incarnation can have no lease any more.
    Lost,
}

impl Beating {
    pub(crate) fn new(name: NodeName, incarnation: Incarnation, from: Instant) -> Self {
        Self {
            name,
            incarnation,
            count: 0,
            revision: None,
            request: None,
            first_sent: None,
            is_uncertain: false,
            next_at: from,
            lease_until: Instant::default(),
            found: None,
            first_acked_at: None,
        }
    }

    /// Until when the node may act.
    pub(crate) fn lease_until(&self) -> Instant {
        self.lease_until
    }

    /// Since when another incarnation of this name can have had no beat acknowledged, and what it
    /// was. `None` before the first beat.
    pub(crate) fn took_over(&self) -> Option<(Instant, Predecessor)> {
        self.first_acked_at.zip(self.found)
    }

    /// When [`Beating::poll`] is next worth a call.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.request.as_ref().map_or(self.next_at, |request| request.late_at)
    }

    /// Sends what is due: a beat, or a read if the revision of the key is not known.
    pub(crate) fn poll(
        &mut self,
        (now, v): (Instant, u64),
        requests: &mut Requests,
        out: &mut Vec<Effect>,
    ) {
        if self.request.as_ref().is_some_and(|request| request.late_at <= now) {
            self.request = None;
            self.is_uncertain |= self.revision.is_some();
            self.revision = None;
            self.next_at = now;
        }
        if self.request.is_some() || now < self.next_at {
            return;
        }
        let id = requests.next();
        self.request = Some(Request { id, late_at: now + REQUEST_TIMEOUT });
        let key = Key::Beat(self.name.clone());
        match self.revision {
            None => out.push(Effect::Read(id, key)),
            Some(expected) => {
                self.first_sent.get_or_insert(now);
                let (incarnation, count) = (self.incarnation, self.count + 1);
                let value = Beat::Alive { incarnation, count, v }.encode();
                out.push(Effect::Swap { id, key, expected, value });
            }
        }
    }

    /// Takes in what the key holds, if this is the answer that is waited for.
    pub(crate) fn read(&mut self, id: RequestId, read: &Read, now: Instant) -> Outcome {
        if !self.takes(id) {
            return Outcome::Pending;
        }
        self.next_at = now;
        let (revision, beat) = match read {
            Read::Unknown => {
                self.next_at = now + RETRY_AFTER;
                return Outcome::Pending;
            }
            Read::Absent => (Revision::default(), None),
            // What cannot be read is written over, like a key that is not there.
            Read::Found(revision, bytes) => (*revision, Beat::decode(bytes).ok()),
        };
        match beat {
            Some(Beat::Closed { incarnation }) if incarnation == self.incarnation => {
                return Outcome::Lost;
            }
            Some(Beat::Alive { incarnation, count, .. }) if incarnation == self.incarnation => {
                if count == self.count + 1 && self.is_uncertain {
                    return self.acknowledge(revision, now);
                }
                // A twin beats under this incarnation, as after a machine was restored from a copy.
                if count > self.count {
                    return Outcome::Lost;
                }
            }
            // Another process has taken the name.
            Some(_) if self.count > 0 => return Outcome::Lost,
            _ => {}
        }
        if self.count == 0 {
            let is_closed = matches!(beat, Some(Beat::Closed { .. }));
            let found = if is_closed { Predecessor::Closed } else { Predecessor::MayLive };
            self.found = Some(found);
        }
        self.revision = Some(revision);
        Outcome::Pending
    }

    /// Takes in what became of a beat, if this is the answer that is waited for.
    pub(crate) fn swapped(&mut self, id: RequestId, swapped: Swapped, now: Instant) -> Outcome {
        if !self.takes(id) {
            return Outcome::Pending;
        }
        match swapped {
            Swapped::Done(revision) => self.acknowledge(revision, now),
            Swapped::Conflict => {
                self.revision = None;
                self.next_at = now;
                Outcome::Pending
            }
            Swapped::Unknown => {
                self.revision = None;
                self.is_uncertain = true;
                self.next_at = now + RETRY_AFTER;
                Outcome::Pending
            }
        }
    }

    fn takes(&mut self, id: RequestId) -> bool {
        self.request.take_if(|request| request.id == id).is_some()
    }

    fn acknowledge(&mut self, revision: Revision, now: Instant) -> Outcome {
        let sent_at = self.first_sent.take().expect("what is acknowledged was sent");
        self.revision = Some(revision);
        self.is_uncertain = false;
        self.count += 1;
        self.next_at = sent_at + BEAT_EVERY;
        self.lease_until = sent_at + LEASE;
        self.first_acked_at.get_or_insert(now);
        Outcome::Acknowledged(sent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(7);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn alive(incarnation: Incarnation, count: u64) -> Read {
        Read::Found(Revision(count), Beat::Alive { incarnation, count, v: 1 }.encode())
    }

    struct Rig {
        beating: Beating,
        requests: Requests,
    }

    impl Rig {
        fn new() -> Self {
            let name = NodeName::parse("me").expect("a valid name");
            Self { beating: Beating::new(name, ME, at(0)), requests: Requests::default() }
        }

        /// The id of the one request that is sent at this time, and whether it is a beat.
        fn poll(&mut self, ms: u64) -> Option<(RequestId, bool)> {
            let mut out = Vec::new();
            self.beating.poll((at(ms), 1), &mut self.requests, &mut out);
            assert!(out.len() <= 1, "one request at a time: {out:?}");
            out.pop().map(|effect| match effect {
                Effect::Read(id, _) => (id, false),
                Effect::Swap { id, .. } => (id, true),
                other => panic!("no request: {other:?}"),
            })
        }

        fn read(&mut self, ms: u64, read: &Read) -> Outcome {
            let (id, is_beat) = self.poll(ms).expect("something is due");
            assert!(!is_beat, "the key is read first");
            self.beating.read(id, read, at(ms))
        }

        fn swap(&mut self, ms: u64, swapped: Swapped) -> Outcome {
            let (id, is_beat) = self.poll(ms).expect("something is due");
            assert!(is_beat, "the revision is known");
            self.beating.swapped(id, swapped, at(ms))
        }
    }

    #[test]
    fn a_node_beats_each_second_from_the_revision_that_its_last_beat_got() {
        let mut rig = Rig::new();
        rig.read(0, &Read::Absent);
        assert_eq!(rig.swap(0, Swapped::Done(Revision(1))), Outcome::Acknowledged(at(0)));
        assert_eq!(rig.poll(999), None);
        assert_eq!(rig.swap(1_000, Swapped::Done(Revision(2))), Outcome::Acknowledged(at(1_000)));
        assert_eq!(rig.beating.lease_until(), at(3_500));
    }

    #[test]
    fn the_lease_counts_from_when_a_beat_was_first_sent() {
        let mut rig = Rig::new();
        rig.read(0, &Read::Absent);
        rig.swap(0, Swapped::Done(Revision(1)));
        rig.swap(1_000, Swapped::Unknown);
        rig.read(1_250, &alive(ME, 1));
        let outcome = rig.swap(1_250, Swapped::Done(Revision(2)));
        assert_eq!(outcome, Outcome::Acknowledged(at(1_000)));
        assert_eq!(rig.beating.lease_until(), at(3_500));
    }

    #[test]
    fn a_beat_whose_answer_was_lost_is_found_in_the_key() {
        let mut rig = Rig::new();
        rig.read(0, &Read::Absent);
        rig.swap(0, Swapped::Unknown);
        assert_eq!(rig.read(250, &alive(ME, 1)), Outcome::Acknowledged(at(0)));
    }

    #[test]
    fn a_request_that_is_not_answered_is_given_up_after_2_seconds() {
        let mut rig = Rig::new();
        let (id, _) = rig.poll(0).expect("it reads its key");
        assert_eq!(rig.poll(1_999), None);
        rig.read(2_000, &Read::Absent);
        assert_eq!(rig.beating.read(id, &alive(ME, 9), at(2_100)), Outcome::Pending, "too late");
    }

    #[test]
    fn a_closed_key_ends_the_incarnation() {
        let mut rig = Rig::new();
        rig.read(0, &Read::Absent);
        rig.swap(0, Swapped::Done(Revision(1)));
        rig.swap(1_000, Swapped::Conflict);
        let closed = Read::Found(Revision(5), Beat::Closed { incarnation: ME }.encode());
        assert_eq!(rig.read(1_000, &closed), Outcome::Lost);
    }

    #[test]
    fn a_copy_of_this_machine_that_beats_too_ends_the_incarnation() {
        let mut rig = Rig::new();
        rig.read(0, &Read::Absent);
        rig.swap(0, Swapped::Done(Revision(1)));
        rig.swap(1_000, Swapped::Conflict);
        assert_eq!(rig.read(1_000, &alive(ME, 5)), Outcome::Lost);
    }

    #[test]
    fn an_earlier_incarnation_may_still_have_its_lease_if_its_key_was_not_closed() {
        let closed = Beat::Closed { incarnation: Incarnation(3) }.encode();
        let cases = [
            (alive(Incarnation(3), 8), Predecessor::MayLive),
            (Read::Found(Revision(8), closed), Predecessor::Closed),
        ];
        for (read, expected) in cases {
            let mut rig = Rig::new();
            rig.read(0, &read);
            assert_eq!(rig.beating.took_over(), None, "the other one may beat until then");
            rig.swap(0, Swapped::Done(Revision(9)));
            assert_eq!(rig.beating.took_over(), Some((at(0), expected)));
        }
    }
}

//! Whether this node is in the view, and what it writes into it: itself, the end of the dead, what
//! the bucket has forgotten. Every write is one swap from the view that was read, so two nodes never
//! make two views from one.

mod incarnations;
mod judging;
mod reading;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::Incarnation;

use crate::api::{Effect, Now};
use crate::beat::{Beating, Outcome, REQUEST_TIMEOUT, RETRY_AFTER, Requests};
use crate::engine::{Key, Read, RequestId, Revision, Subject, Swapped};
use crate::hearing::Hearing;
use crate::terms::{Term, Terms};
use crate::value::{Beat, NodeName};
use crate::view::View;

use self::incarnations::Incarnations;

/// How often the view is read.
const POLL_EVERY: Duration = Duration::from_millis(1000);
/// How long the lease of an earlier incarnation of this name may last after the first beat of this
/// one, with clocks that differ by a tenth.
const TAKEOVER: Duration = Duration::from_millis(3000);
/// How long a node waits for others that know a view before it founds a cluster.
const FOUND_AFTER: Duration = Duration::from_millis(2000);

/// What a node is given at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, which no other node has.
    pub name: NodeName,
    /// The version of the protocol that it speaks. It joins only views of this one.
    pub protocol: u32,
    /// Random: incarnations are drawn from it.
    pub seed: u64,
    /// The largest payload that the engine takes.
    pub max_payload_bytes: usize,
    /// The largest item that is put together from parts.
    pub max_item_bytes: usize,
}

/// What has happened, for the machine above.
#[derive(Debug)]
pub(crate) enum News {
    Out,
    View(Arc<View>),
    Joined,
    Lease(Instant),
    Left,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Membership {
    name: NodeName,
    protocol: u32,
    incarnations: Incarnations,
    me: Incarnation,
    place: Place,
    want: Want,
    beating: Beating,
    hearing: Hearing,
    requests: Requests,
    /// The highest view that is known.
    known: Option<Arc<View>>,
    /// Its bytes: most reads give the same again.
    known_bytes: Vec<u8>,
    bucket: Option<Bucket>,
    poll: Polling,
    swap: Option<Swapping>,
    judging: Option<Judging>,
    judge_not_before: Instant,
    no_view_since: Option<Instant>,
    /// Shards that this node has lost as their home, each with the term that is to end.
    lost: BTreeMap<u16, Term>,
    pub(crate) news: VecDeque<News>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Waiting { until: Instant },
    Joining(Admission),
    In,
    Left,
}

/// Whether the view may hold this incarnation without its knowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    NotAsked,
    Uncertain,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Want {
    Serve,
    Drain,
    Leave,
}

/// What the bucket holds, as it was last read.
#[derive(Debug)]
struct Bucket {
    revision: Revision,
    /// The view that the next one is made from.
    view: Arc<View>,
    /// The bucket holds an older one, or another one of the same number.
    must_raise: bool,
    /// With so many terms learned, the view was found to have forgotten none.
    checked: Option<u64>,
}

#[derive(Debug, Default)]
struct Polling {
    request: Option<(RequestId, Instant)>,
    next_at: Instant,
    /// A newer view was heard of while the answer was under way.
    again: bool,
}

#[derive(Debug)]
struct Swapping {
    id: RequestId,
    late_at: Instant,
    next: Arc<View>,
}

#[derive(Debug)]
struct Judging {
    id: RequestId,
    late_at: Instant,
    name: NodeName,
    /// Whose key is being closed; `None` while it is read.
    closing: Option<Incarnation>,
}

impl Membership {
    pub(crate) fn new(config: &Config, now: Instant, out: &mut Vec<Effect>) -> Self {
        let mut incarnations = Incarnations::new(config.seed);
        let me = incarnations.first();
        out.push(Effect::Subscribe(Subject::Beats));
        out.push(Effect::Subscribe(Subject::View));
        out.push(Effect::Subscribe(Subject::Inbox(me)));
        Self {
            name: config.name.clone(),
            protocol: config.protocol,
            incarnations,
            me,
            place: Place::Joining(Admission::NotAsked),
            want: Want::Serve,
            beating: Beating::new(config.name.clone(), me, now),
            hearing: Hearing::default(),
            requests: Requests::default(),
            known: None,
            known_bytes: Vec::new(),
            bucket: None,
            poll: Polling { next_at: now, ..Polling::default() },
            swap: None,
            judging: None,
            judge_not_before: Instant::default(),
            no_view_since: None,
            lost: BTreeMap::new(),
            news: VecDeque::new(),
        }
    }

    pub(crate) fn me(&self) -> Incarnation {
        self.me
    }

    pub(crate) fn is_in(&self) -> bool {
        self.place == Place::In
    }

    pub(crate) fn has_left(&self) -> bool {
        self.place == Place::Left
    }

    pub(crate) fn view(&self) -> Option<&Arc<View>> {
        self.known.as_ref()
    }

    /// Whether the node may act for the cluster.
    pub(crate) fn has_lease(&self, now: Instant) -> bool {
        self.is_in() && self.want != Want::Leave && now < self.beating.lease_until()
    }

    /// Until when, if nothing else happens.
    pub(crate) fn lease_until(&self) -> Instant {
        self.beating.lease_until()
    }

    pub(crate) fn drain(&mut self) {
        self.want = self.want.max(Want::Drain);
    }

    /// The map of a shard is lost whose home is this node: another term is to begin.
    pub(crate) fn renew(&mut self, shard: u16, term: Term) {
        self.lost.insert(shard, term);
    }

    /// The node gives up its lease, so its successor need not wait for the end of it.
    pub(crate) fn leave(&mut self, out: &mut Vec<Effect>) {
        self.want = Want::Leave;
        self.news.push_back(News::Lease(Instant::default()));
        if !self.is_in() {
            self.end(out);
        }
    }

    pub(crate) fn heard(&mut self, name: &NodeName, bytes: &[u8], now: Instant) {
        let Ok(beat) = Beat::decode(bytes) else { return };
        self.hearing.hear(name, beat, now);
        if let Beat::Alive { v, .. } = beat {
            self.hinted(v, now);
        }
    }

    /// There is said to be a view of this number.
    pub(crate) fn hinted(&mut self, v: u64, now: Instant) {
        if self.known.as_ref().map_or(0, |known| known.v) < v {
            match self.poll.request {
                Some(_) => self.poll.again = true,
                None => self.poll.next_at = self.poll.next_at.min(now),
            }
        }
    }

    pub(crate) fn read(&mut self, id: RequestId, read: Read, now: Instant, out: &mut Vec<Effect>) {
        if self.poll.request.take_if(|(asked, _)| *asked == id).is_some() {
            self.poll.next_at = if self.poll.again { now } else { now + POLL_EVERY };
            self.poll.again = false;
            self.view_read(read, now, out);
        } else if let Some(judging) = self.judging.take_if(|judging| judging.id == id) {
            self.judge(judging, &read, now, out);
        } else {
            let outcome = self.beating.read(id, &read, now);
            self.beaten(outcome, now, out);
        }
    }

    pub(crate) fn swapped(
        &mut self,
        id: RequestId,
        swapped: Swapped,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        if let Some(swap) = self.swap.take_if(|swap| swap.id == id) {
            self.view_swapped(swap.next, swapped, now, out);
        } else if let Some(judging) = self.judging.take_if(|judging| judging.id == id) {
            match (swapped, judging.closing) {
                (Swapped::Done(_), Some(victim)) => self.hearing.closed(&judging.name, victim),
                (Swapped::Unknown, _) => self.judge_not_before = now + RETRY_AFTER,
                (Swapped::Conflict, _) | (Swapped::Done(_), None) => {}
            }
        } else {
            let outcome = self.beating.swapped(id, swapped, now);
            self.beaten(outcome, now, out);
        }
    }

    /// Sends what is due.
    pub(crate) fn act(&mut self, now: Now, terms: &Terms, out: &mut Vec<Effect>) {
        if self.has_left() {
            return;
        }
        self.give_up_late(now.at);
        if let Place::Waiting { until } = self.place
            && until <= now.at
        {
            self.place = Place::Joining(Admission::NotAsked);
        }
        let v = self.known.as_ref().map_or(0, |known| known.v);
        self.beating.poll((now.at, v), &mut self.requests, out);
        if self.poll.request.is_none() && self.poll.next_at <= now.at {
            let id = self.requests.next();
            self.poll.request = Some((id, now.at + REQUEST_TIMEOUT));
            out.push(Effect::Read(id, Key::View));
        }
        self.look_at_suspect(now.at, out);
        if self.swap.is_none()
            && let Some(next) = self.next_view(now, terms)
            && let Some(bucket) = self.bucket.take()
        {
            let id = self.requests.next();
            let (expected, value) = (bucket.revision, next.encode());
            let next = Arc::new(next);
            self.swap = Some(Swapping { id, late_at: now.at + REQUEST_TIMEOUT, next });
            out.push(Effect::Swap { id, key: Key::View, expected, value });
        }
    }

    /// When [`Membership::act`] is next worth a call.
    pub(crate) fn next_deadline(&self) -> Instant {
        if self.has_left() {
            return Instant::NEVER;
        }
        let poll = self.poll.request.map_or(self.poll.next_at, |(_, late_at)| late_at);
        let swap = self.swap.as_ref().map_or(Instant::NEVER, |swap| swap.late_at);
        let judge = match &self.judging {
            Some(judging) => judging.late_at,
            None if self.is_in() && self.hearing.suspect().is_some() => {
                // A node without a lease judges no other; the next beat shows whether it has one.
                self.judge_not_before.max(self.beating.next_deadline())
            }
            None => Instant::NEVER,
        };
        let rejoin = match self.place {
            Place::Waiting { until } => until,
            Place::Joining(_) | Place::In | Place::Left => Instant::NEVER,
        };
        self.beating.next_deadline().min(poll).min(swap).min(judge).min(rejoin)
    }

    fn give_up_late(&mut self, now: Instant) {
        if self.poll.request.take_if(|(_, late_at)| *late_at <= now).is_some() {
            self.bucket = None;
            self.poll.next_at = now;
        }
        if let Some(swap) = self.swap.take_if(|swap| swap.late_at <= now) {
            self.swap_unknown(&swap.next, now);
        }
        if self.judging.take_if(|judging| judging.late_at <= now).is_some() {
            self.judge_not_before = now + RETRY_AFTER;
        }
    }

    fn beaten(&mut self, outcome: Outcome, now: Instant, out: &mut Vec<Effect>) {
        match outcome {
            Outcome::Pending => {}
            Outcome::Acknowledged(sent_at) => {
                self.hearing.acknowledged(sent_at, now);
                if self.want != Want::Leave {
                    self.news.push_back(News::Lease(self.beating.lease_until()));
                }
            }
            Outcome::Lost if self.want == Want::Leave => self.end(out),
            Outcome::Lost => self.exclude(now, out),
        }
    }

    /// The incarnation is out of the view, or its key is closed.
    fn exclude(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let delay = self.incarnations.delay_after_exclusion(now);
        self.burn(now + delay, out);
        self.place = Place::Waiting { until: now + delay };
    }

    /// Begins a new incarnation, which beats from then on. The old one is never used again.
    fn burn(&mut self, from: Instant, out: &mut Vec<Effect>) {
        let old = self.me;
        self.me = self.incarnations.next(from);
        out.push(Effect::Unsubscribe(Subject::Inbox(old)));
        out.push(Effect::Subscribe(Subject::Inbox(self.me)));
        self.place = Place::Joining(Admission::NotAsked);
        self.beating = Beating::new(self.name.clone(), self.me, from);
        self.hearing.clear();
        self.judging = None;
        self.swap = None;
        self.bucket = None;
        self.news.push_back(News::Out);
    }

    fn end(&mut self, out: &mut Vec<Effect>) {
        if !self.has_left() {
            self.place = Place::Left;
            for subject in [Subject::Beats, Subject::View, Subject::Inbox(self.me)] {
                out.push(Effect::Unsubscribe(subject));
            }
            self.news.push_back(News::Left);
        }
    }
}

//! How long each other node has been silent, counted in this node's own acknowledged beats. While the
//! engine is down, or while this node is paused, that count does not grow.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::Incarnation;

use crate::engine::{Read, Revision};
use crate::value::{Beat, NodeName};
use crate::view::View;

/// After so many own beats, sent after a node was last heard and acknowledged, it is judged. They
/// span three seconds at least, so the lease of the silent one is over.
const SILENT_BEATS: u32 = 4;
/// After a longer gap in the own acknowledgements others are only connecting again.
const LONGEST_GAP: Duration = Duration::from_millis(2500);
/// So many own beats are not counted after such a gap.
const SKIPPED_BEATS: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    nodes: BTreeMap<NodeName, Heard>,
    last_acked_at: Option<Instant>,
    /// So many of the next own beats do not count.
    skip: u32,
}

#[derive(Debug)]
struct Heard {
    incarnation: Incarnation,
    /// The highest count that it was ever heard with. A beat may be heard that the bucket refused,
    /// and the same one again and again.
    highest: u64,
    /// What stood in its key when that last was news.
    last: Option<Seen>,
    /// When it last was news.
    at: Instant,
    /// Own beats since.
    silent: u32,
    /// Its key was said to be closed. The bucket may have refused that.
    is_rumoured: bool,
    /// The key says that it is dead.
    is_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Count(u64),
    /// Another process has taken the name.
    Foreign(Incarnation),
    Absent,
}

/// What a judge finds in the key of a silent node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// There is news of it, so it is not silent.
    Lives,
    /// There is none: the key is to be closed by a swap from this revision.
    Silent(Revision, Incarnation),
    /// It can beat no more: it may be left out of the view.
    Dead,
    /// The engine did not say.
    Unknown,
}

impl Hearing {
    /// Watches the nodes of this view. A node that is new counts as heard now: a node that rejoins
    /// would otherwise be excluded at once, again and again.
    pub(crate) fn watch(&mut self, view: &View, me: Incarnation, now: Instant) {
        self.nodes.retain(|_, heard| view.node(heard.incarnation).is_some());
        for node in view.nodes.iter().filter(|node| node.incarnation != me) {
            let incarnation = node.incarnation;
            let new = Heard {
                incarnation,
                highest: 0,
                last: None,
                at: now,
                silent: 0,
                is_rumoured: false,
                is_closed: false,
            };
            let heard = self.nodes.entry(node.name.clone()).or_insert(new);
            debug_assert_eq!(heard.incarnation, incarnation, "a name stands once in a view");
        }
    }

    /// Watches no node any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A write of a node's key was published. The bucket may have refused it, so it proves neither that
    /// the node has a lease nor that its key is closed. It only resets the count, or is a reason to
    /// read the key.
    pub(crate) fn hear(&mut self, name: &NodeName, beat: Beat, now: Instant) {
        let Some(heard) = self.nodes.get_mut(name) else { return };
        match beat {
            Beat::Alive { incarnation, count, .. } if incarnation == heard.incarnation => {
                if count > heard.highest {
                    heard.note(Seen::Count(count), now);
                }
            }
            Beat::Alive { incarnation, .. } => {
                if heard.last != Some(Seen::Foreign(incarnation)) {
                    heard.note(Seen::Foreign(incarnation), now);
                }
            }
            Beat::Closed { incarnation } => {
                if incarnation == heard.incarnation {
                    heard.is_rumoured = true;
                }
            }
        }
    }

    /// An own beat, sent then, was acknowledged.
    pub(crate) fn acknowledged(&mut self, sent_at: Instant, now: Instant) {
        let gap = self.last_acked_at.replace(now).map(|last| now.since(last));
        if gap.is_some_and(|gap| gap > LONGEST_GAP) {
            self.skip = SKIPPED_BEATS;
            for heard in self.nodes.values_mut() {
                heard.silent = 0;
            }
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        for heard in self.nodes.values_mut().filter(|heard| sent_at >= heard.at) {
            heard.silent += 1;
        }
    }

    /// A node that has been silent for long enough to be judged, or whose key may be closed.
    pub(crate) fn suspect(&self) -> Option<NodeName> {
        let is_suspect =
            |heard: &Heard| (heard.silent >= SILENT_BEATS || heard.is_rumoured) && !heard.is_closed;
        self.nodes.iter().find(|(_, heard)| is_suspect(heard)).map(|(name, _)| name.clone())
    }

    /// A judge has read the key of a suspect.
    pub(crate) fn examine(&mut self, name: &NodeName, read: &Read, now: Instant) -> Finding {
        let Some(heard) = self.nodes.get_mut(name) else { return Finding::Unknown };
        let (revision, seen) = match read {
            Read::Unknown => return Finding::Unknown,
            Read::Absent => (Revision::default(), Seen::Absent),
            Read::Found(revision, bytes) => match Beat::decode(bytes) {
                Ok(Beat::Closed { incarnation }) if incarnation == heard.incarnation => {
                    heard.is_closed = true;
                    return Finding::Dead;
                }
                Ok(Beat::Alive { incarnation, count, .. }) if incarnation == heard.incarnation => {
                    (*revision, Seen::Count(count))
                }
                // The closed key of an earlier incarnation may come late, after the next one has joined.
                Ok(Beat::Alive { incarnation, .. } | Beat::Closed { incarnation }) => {
                    (*revision, Seen::Foreign(incarnation))
                }
                Err(_) => (*revision, Seen::Absent),
            },
        };
        heard.is_rumoured = false;
        if heard.last != Some(seen) {
            heard.note(seen, now);
            return Finding::Lives;
        }
        // It was heard while the answer was under way, or its key was only said to be closed.
        if heard.silent < SILENT_BEATS {
            return Finding::Lives;
        }
        if let Seen::Foreign(_) = seen {
            // Its key has been another's for so long that its lease is over.
            heard.is_closed = true;
            return Finding::Dead;
        }
        Finding::Silent(revision, heard.incarnation)
    }

    /// The key of a node has been closed.
    pub(crate) fn closed(&mut self, name: &NodeName, incarnation: Incarnation) {
        if let Some(heard) = self.nodes.get_mut(name)
            && heard.incarnation == incarnation
        {
            heard.is_closed = true;
        }
    }

    /// The incarnations that can beat no more.
    pub(crate) fn dead(&self) -> impl Iterator<Item = Incarnation> {
        self.nodes.values().filter(|heard| heard.is_closed).map(|heard| heard.incarnation)
    }
}

impl Heard {
    fn note(&mut self, seen: Seen, now: Instant) {
        if let Seen::Count(count) = seen {
            self.highest = self.highest.max(count);
        }
        self.last = Some(seen);
        self.at = now;
        self.silent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Member, Serving};

    const VICTIM: Incarnation = Incarnation(2);

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn name() -> NodeName {
        NodeName::parse("victim").expect("a valid name")
    }

    /// A judge that has watched a node since millisecond 0.
    fn watching() -> Hearing {
        let mut view = View::empty(1);
        let (incarnation, admitted, serving) = (VICTIM, 0, Serving::Open);
        view.nodes.push(Member { name: name(), incarnation, admitted, serving });
        let mut hearing = Hearing::default();
        hearing.watch(&view, Incarnation(1), at(0));
        hearing
    }

    /// The judge's own beats at these milliseconds are acknowledged at once.
    fn beat(hearing: &mut Hearing, beats: &[u64]) {
        for ms in beats {
            hearing.acknowledged(at(*ms), at(*ms));
        }
    }

    fn alive(count: u64) -> Beat {
        Beat::Alive { incarnation: VICTIM, count, v: 1 }
    }

    fn found(beat: Beat) -> Read {
        Read::Found(Revision(9), beat.encode())
    }

    #[test]
    fn a_node_is_suspect_after_4_own_beats_without_news_of_it() {
        let mut hearing = watching();
        beat(&mut hearing, &[1_000, 2_000, 3_000]);
        assert_eq!(hearing.suspect(), None);
        beat(&mut hearing, &[4_000]);
        assert_eq!(hearing.suspect(), Some(name()));
    }

    #[test]
    fn an_own_beat_that_was_sent_before_a_node_was_heard_does_not_count() {
        let mut hearing = watching();
        hearing.hear(&name(), alive(1), at(1_500));
        hearing.acknowledged(at(1_000), at(1_900));
        beat(&mut hearing, &[2_000, 3_000, 4_000]);
        assert_eq!(hearing.suspect(), None, "3 beats can be little more than 2 seconds");
        beat(&mut hearing, &[5_000]);
        assert_eq!(hearing.suspect(), Some(name()));
    }

    #[test]
    fn a_node_that_is_heard_is_not_suspect() {
        let mut hearing = watching();
        beat(&mut hearing, &[1_000, 2_000, 3_000]);
        hearing.hear(&name(), alive(1), at(3_500));
        beat(&mut hearing, &[4_000, 5_000, 6_000]);
        assert_eq!(hearing.suspect(), None);
    }

    #[test]
    fn a_beat_that_is_heard_again_is_no_news() {
        let mut hearing = watching();
        hearing.hear(&name(), alive(7), at(500));
        beat(&mut hearing, &[1_000, 2_000, 3_000]);
        hearing.hear(&name(), alive(7), at(3_500));
        beat(&mut hearing, &[4_000]);
        assert_eq!(hearing.suspect(), Some(name()), "the bucket may have refused it");
    }

    #[test]
    fn beats_after_a_gap_in_the_own_acknowledgements_count_from_the_third_on() {
        let mut hearing = watching();
        beat(&mut hearing, &[1_000, 2_000, 3_000]);
        beat(&mut hearing, &[10_000, 11_000, 12_000]);
        beat(&mut hearing, &[13_000, 14_000, 15_000]);
        assert_eq!(hearing.suspect(), None, "others may still be reconnecting");
        beat(&mut hearing, &[16_000]);
        assert_eq!(hearing.suspect(), Some(name()));
    }

    #[test]
    fn a_suspect_whose_key_shows_a_beat_that_was_not_heard_lives() {
        let mut hearing = watching();
        beat(&mut hearing, &[1_000, 2_000, 3_000, 4_000]);
        assert_eq!(hearing.examine(&name(), &found(alive(3)), at(4_100)), Finding::Lives);
        assert_eq!(hearing.suspect(), None);
    }

    #[test]
    fn the_key_of_a_suspect_without_news_is_closed_from_the_revision_that_was_read() {
        let mut hearing = watching();
        hearing.hear(&name(), alive(3), at(500));
        beat(&mut hearing, &[1_000, 2_000, 3_000, 4_000]);
        let finding = hearing.examine(&name(), &found(alive(3)), at(4_100));
        assert_eq!(finding, Finding::Silent(Revision(9), VICTIM));
        assert_eq!(hearing.dead().count(), 0, "its key is not closed yet");
        hearing.closed(&name(), VICTIM);
        assert_eq!(hearing.dead().collect::<Vec<_>>(), [VICTIM]);
    }

    #[test]
    fn the_closed_key_of_an_earlier_incarnation_says_nothing_of_the_next_one() {
        let mut hearing = watching();
        let earlier = Beat::Closed { incarnation: Incarnation(1) };
        assert_eq!(hearing.examine(&name(), &found(earlier), at(100)), Finding::Lives);
        assert_eq!(hearing.dead().count(), 0);
    }

    #[test]
    fn a_closed_key_that_was_only_heard_of_is_read_before_anybody_is_dead() {
        let mut hearing = watching();
        let closed = Beat::Closed { incarnation: VICTIM };
        hearing.hear(&name(), closed, at(500));
        assert_eq!(hearing.suspect(), Some(name()));
        assert_eq!(hearing.dead().count(), 0, "the bucket may have refused it");
        let refused = hearing.examine(&name(), &found(alive(3)), at(600));
        assert_eq!((refused, hearing.suspect()), (Finding::Lives, None));
        hearing.hear(&name(), closed, at(700));
        assert_eq!(hearing.examine(&name(), &found(closed), at(800)), Finding::Dead);
        assert_eq!(hearing.dead().collect::<Vec<_>>(), [VICTIM]);
    }
}

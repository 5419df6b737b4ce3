//! Which incarnation follows, and how long an excluded node waits before it joins again.

use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::Incarnation;

/// A second exclusion within this time means that the node cannot keep its membership.
const STORM: Duration = Duration::from_secs(10);
/// How long a node waits after a second exclusion. The time doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The random numbers of one process, and its last exclusion.
#[derive(Debug)]
pub(super) struct Incarnations {
    drawn: u64,
    excluded: Option<Excluded>,
}

#[derive(Clone, Copy, Debug)]
struct Excluded {
    at: Instant,
    delay: Duration,
}

impl Incarnations {
    /// `seed` is random.
    pub(super) fn new(seed: u64) -> Self {
        Self { drawn: seed, excluded: None }
    }

    pub(super) fn first(&mut self) -> Incarnation {
        self.draw()
    }

    /// The incarnation that begins at this time. Two copies of one machine would draw the same
    /// numbers from one seed, but they never begin an incarnation in the same microsecond.
    pub(super) fn next(&mut self, from: Instant) -> Incarnation {
        self.drawn ^= from.as_micros().rotate_left(32);
        self.draw()
    }

    /// The node was excluded: how long it waits before it joins again. Each exclusion and each join
    /// moves shards, so a node that is excluded again and again must not join at once.
    pub(super) fn delay_after_exclusion(&mut self, now: Instant) -> Duration {
        let delay = match self.excluded {
            Some(last) if now.since(last.at) < STORM + last.delay => {
                (last.delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY)
            }
            _ => Duration::ZERO,
        };
        self.excluded = Some(Excluded { at: now, delay });
        delay
    }

    /// SplitMix64: its sequence does not repeat before all numbers were drawn.
    fn draw(&mut self) -> Incarnation {
        loop {
            self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.drawn;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            // 0 stands for no node.
            if mixed != 0 {
                return Incarnation(mixed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_first_exclusion_is_followed_by_a_join_at_once() {
        assert_eq!(Incarnations::new(1).delay_after_exclusion(at(100)), Duration::ZERO);
    }

    #[test]
    fn the_delay_doubles_with_each_exclusion_that_follows_soon_and_is_bounded() {
        let mut incarnations = Incarnations::new(1);
        let mut now = at(100);
        let mut delays = Vec::new();
        for _ in 0..9 {
            let delay = incarnations.delay_after_exclusion(now);
            delays.push(delay.as_secs());
            now = now + delay + 2 * SECOND;
        }
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn an_exclusion_long_after_the_last_one_delays_nothing() {
        let mut incarnations = Incarnations::new(1);
        incarnations.delay_after_exclusion(at(100));
        incarnations.delay_after_exclusion(at(101));
        assert_eq!(incarnations.delay_after_exclusion(at(112)), Duration::ZERO);
    }

    #[test]
    fn two_copies_of_one_machine_go_on_as_different_incarnations() {
        let (mut one, mut other) = (Incarnations::new(7), Incarnations::new(7));
        assert_eq!(one.first(), other.first());
        assert_ne!(one.next(at(1)), other.next(at(2)));
    }
}

//! When a busy loop holds a flush back, and for how long. A write costs the same whatever is in
//! it, so a loop that delivers much waits a little and writes more at once; one that delivers
//! little writes at once. Nothing to tune: the rule is here, in deliveries per second.

use std::time::Duration;

use crate::time::Instant;

/// Below this many deliveries per second a flush is never held back: writes are cheap enough.
const AT_ONCE_BELOW: f64 = 60_000.0;

/// One millisecond of waiting per this many deliveries per second.
const PER_MILLISECOND: f64 = 66_000.0;

/// The same for a channel in which enough changes wait: only a loop that is full holds those back.
const PER_MILLISECOND_EARLY: f64 = 250_000.0;

/// Changes in one write above which the cost of the write itself no longer counts.
pub(crate) const ENOUGH_CHANGES: usize = 32;

/// The longest a flush is held back.
const LONGEST: Duration = Duration::from_millis(10);

/// How fast the estimate forgets. Short, so that a storm counts at once.
const MEMORY_SECONDS: f64 = 0.05;

/// The load of one loop and the pace that follows from it.
#[derive(Debug, Default)]
pub struct Pace {
    /// Deliveries, each counting less the longer ago it was.
    weight: f64,
    at: Instant,
    fixed: Option<Duration>,
}

impl Pace {
    /// A pace that holds every flush back for `delay`, whatever the load. For measuring.
    pub fn fixed(delay: Duration) -> Self {
        Self { fixed: Some(delay), ..Self::default() }
    }

    /// Notes that subscribers were sent so many changes, each counted per subscriber, and those
    /// included that a newer one had replaced.
    pub fn record(&mut self, deliveries: usize, now: Instant) {
        self.weight = self.weight_at(now) + deliveries as f64;
        self.at = now;
    }

    /// Deliveries per second of late.
    pub fn load(&self, now: Instant) -> f64 {
        self.weight_at(now) / MEMORY_SECONDS
    }

    /// When a channel that was flushed at `flushed_at` may be flushed again: a quiet one at once.
    pub fn due(&self, flushed_at: Instant, now: Instant) -> Instant {
        (flushed_at + self.delay(PER_MILLISECOND, now)).max(now)
    }

    /// The same for a channel in which enough changes wait.
    pub fn due_early(&self, flushed_at: Instant, now: Instant) -> Instant {
        (flushed_at + self.delay(PER_MILLISECOND_EARLY, now)).max(now)
    }

    fn delay(&self, per_millisecond: f64, now: Instant) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let load = self.load(now);
        if load < AT_ONCE_BELOW {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(load / per_millisecond / 1000.0).min(LONGEST)
    }

    fn weight_at(&self, now: Instant) -> f64 {
        let age = now.since(self.at).as_secs_f64();
        self.weight * (-age / MEMORY_SECONDS).exp()
    }
}

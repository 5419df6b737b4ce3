//! When a message that was not taken is sent again, and when it is given up. Time and chance are
//! arguments.

use std::time::Duration;

/// The tries of one message.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    /// When the first try failed, on the caller's clock.
    failing_since: Option<Duration>,
}

/// The wait after the first failure, at most. Each one after it is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// For how long a message is tried.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

impl Retry {
    /// A try has failed. How long to wait for the next one; `None`: the message is given up. `chance`
    /// is from 0 to 1.
    pub(super) fn failed(&mut self, now: Duration, chance: f64) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        if now.saturating_sub(since) >= GIVE_UP_AFTER {
            return None;
        }
        let longest = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(MAX_WAIT);
        self.failures += 1;
        // Receivers that fail together are not asked again at one moment.
        Some(longest.mul_f64((1.0 + chance) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_end_after_a_day() {
        let mut retry = Retry::default();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        while let Some(wait) = retry.failed(now, 1.0) {
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(waits[10..].iter().all(|wait| *wait == 300));
        assert!(now >= GIVE_UP_AFTER && now < GIVE_UP_AFTER + MAX_WAIT, "{now:?}");
    }

    #[test]
    fn a_wait_is_random_from_its_half_up() {
        for (chance, wait) in [(0.0, 500), (0.5, 750), (1.0, 1000)] {
            let first = Retry::default().failed(Duration::ZERO, chance);
            assert_eq!(first, Some(Duration::from_millis(wait)));
        }
    }
}

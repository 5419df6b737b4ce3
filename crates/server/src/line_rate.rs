//! How often a line of one kind is logged: a flood of refusals must not fill a disk, and must still be
//! seen. Knows nothing of what the lines say. Takes no lock, since event loops ask it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets one line of a kind through in a second, and counts the others.
#[derive(Debug)]
pub(crate) struct LineRate {
    began: Instant,
    /// From when on the next line may be written, in milliseconds since `began`.
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

/// From one line to the next.
const INTERVAL: Duration = Duration::from_secs(1);

impl LineRate {
    /// Whether a line may be written now, and how many were left out since the last one.
    pub(crate) fn take(&self, now: Instant) -> Option<u64> {
        let now_ms = now.saturating_duration_since(self.began).as_millis() as u64;
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let later_ms = now_ms + INTERVAL.as_millis() as u64;
        let is_first = || {
            let (set, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            self.next_ms.compare_exchange(next_ms, later_ms, set, failed).is_ok()
        };
        if now_ms >= next_ms && is_first() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Default for LineRate {
    fn default() -> Self {
        Self { began: Instant::now(), next_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written_and_says_how_many_were_left_out() {
        let rate = LineRate::default();
        let began = rate.began;
        assert_eq!(rate.take(began), Some(0));
        for ms in [0, 1, 500, 999] {
            assert_eq!(rate.take(began + Duration::from_millis(ms)), None, "{ms}");
        }
        assert_eq!(rate.take(began + Duration::from_millis(1000)), Some(4));
        assert_eq!(rate.take(began + Duration::from_secs(5)), Some(0));
    }
}

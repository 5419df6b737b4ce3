//! Counts of durations, from which percentiles are read.
//!
//! Knows nanoseconds going in and milliseconds coming out; the counting is `hdrhistogram`'s. Refuses
//! to keep samples: recording costs one increment.

use hdrhistogram::Histogram as Counts;

/// A percentile is exact to 1 %.
const SIGNIFICANT_DIGITS: u8 = 2;
/// Longer durations count as this one: no run waits for an hour.
const LONGEST_NANOS: u64 = 3600 * 1_000_000_000;

/// A histogram of durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram(Counts<u64>);

impl Histogram {
    pub fn new() -> Self {
        let counts = Counts::new_with_max(LONGEST_NANOS, SIGNIFICANT_DIGITS);
        Self(counts.expect("the bounds are those that a histogram may have"))
    }

    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that `share` (0 to 1) of all samples do not exceed, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_exact_to_one_percent() {
        let mut histogram = Histogram::new();
        for micros in 1..=10_000_u64 {
            histogram.record(micros * 1_000);
        }
        for (share, expected) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let found = histogram.percentile_ms(share);
            assert!((found / expected - 1.0).abs() < 0.01, "{share}: {found} against {expected}");
        }
        histogram.clear();
        assert!(histogram.is_empty() && histogram.percentile_ms(0.99) == 0.0);
    }

    #[test]
    fn every_duration_counts_the_shortest_and_the_longest_too() {
        let mut histogram = Histogram::new();
        histogram.record(0);
        assert_eq!(histogram.percentile_ms(1.0), 0.0);
        histogram.record(u64::MAX);
        assert!(histogram.percentile_ms(1.0) >= LONGEST_NANOS as f64 / 1e6);
    }
}

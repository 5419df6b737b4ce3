//! Counts of durations, from which percentiles are read.
//!
//! Knows nanoseconds. Refuses to keep samples: a bucket is at most 1.6 % wide, so a
//! percentile is that exact and recording costs one increment.

/// Sub-buckets for each power of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS as usize;

/// A histogram of durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0 }
    }

    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration that `share` (0 to 1) of all samples do not exceed, in milliseconds.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(bucket) as f64 / 1e6;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    let row = u64::from(shift) + 1;
    (row * STEPS + ((nanos >> shift) - STEPS)) as usize
}

fn upper_bound(bucket: usize) -> u64 {
    let (row, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if row == 0 {
        return step;
    }
    let shift = row - 1;
    ((STEPS + step) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_its_bucket() {
        let mut histogram = Histogram::new();
        for micros in 1..=10_000_u64 {
            histogram.record(micros * 1_000);
        }
        for (share, expected) in [(0.5, 5.0), (0.99, 9.9), (1.0, 10.0)] {
            let found = histogram.percentile_ms(share);
            assert!((found / expected - 1.0).abs() < 0.02, "{share}: {found} against {expected}");
        }
    }

    #[test]
    fn buckets_cover_every_duration_in_order() {
        let mut last = 0;
        for nanos in [0, 1, 63, 64, 65, 127, 128, 1_000, 1_000_000, u64::MAX / 2, u64::MAX] {
            let at = bucket(nanos);
            assert!(at >= last && at < BUCKETS && upper_bound(at) >= nanos);
            last = at;
        }
    }
}

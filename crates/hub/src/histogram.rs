//! How long something took, counted by how long: a fixed number of counters, of which one grows with
//! each observation. Knows no clock and no name.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations up to each of [`Histogram::BOUNDS_US`] and above the one before; the last counts
    /// those above all bounds.
    pub counts: [u64; Histogram::BUCKETS],
    /// All observations together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// The largest observation of each bucket but the last, in microseconds: from the verification of
    /// a token to a `disconnectGraceMs`.
    pub const BOUNDS_US: [u64; 16] = [
        10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
        1_000_000, 10_000_000,
    ];

    /// How many buckets there are.
    pub const BUCKETS: usize = Self::BOUNDS_US.len() + 1;

    /// The bucket of an observation.
    pub fn bucket(us: u64) -> usize {
        Self::BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(Self::BOUNDS_US.len())
    }

    /// Counts one that took so long.
    pub fn observe(&mut self, us: u64) {
        self.counts[Self::bucket(us)] += 1;
        self.sum_us += us;
    }

    /// Adds the observations of another.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us += other.sum_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let last = Histogram::BOUNDS_US.len();
        for (us, bucket) in [(0, 0), (10, 0), (11, 1), (10_000_000, last - 1), (u64::MAX, last)] {
            assert_eq!(Histogram::bucket(us), bucket, "{us}");
        }
        let mut histogram = Histogram::default();
        histogram.observe(10);
        histogram.observe(26);
        let mut sum = histogram;
        sum.add(&histogram);
        assert_eq!((sum.counts[0], sum.counts[1], sum.counts[2], sum.sum_us), (2, 0, 2, 72));
    }

    #[test]
    fn the_bounds_are_in_order() {
        assert!(Histogram::BOUNDS_US.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! What time it is, in the world and on a node's own clocks, which are wrong.

use herenow_cluster::Now;
use herenow_core::Instant;

/// Microseconds since the run began: true time, which no node knows.
pub type Micros = u64;

pub const MS: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;

/// When runs begin, in seconds of Unix time.
const EPOCH: u64 = 1_800_000_000;

/// The clocks of one node. They are the machine's, so a restart of the process keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What it shows when the run begins.
    pub begins_at: Micros,
    /// How much it shows for each thousand microseconds.
    pub per_mille: u64,
    /// How wrong the clock on the wall is.
    pub wall_offset: i64,
}

impl Clock {
    pub fn now(&self, at: Micros) -> Now {
        let local = self.begins_at + at * self.per_mille / 1000;
        let wall = EPOCH + at / SECOND;
        Now {
            at: Instant::from_micros(local),
            unix_seconds: wall.saturating_add_signed(self.wall_offset),
        }
    }

    /// When it shows this.
    pub fn when(&self, local: Instant) -> Micros {
        if local == Instant::NEVER {
            return Micros::MAX;
        }
        let passed = local.as_micros().saturating_sub(self.begins_at);
        // Up, so that the deadline has come when it is told.
        (passed.saturating_mul(1000)).div_ceil(self.per_mille)
    }
}

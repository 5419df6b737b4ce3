//! How many members have left, and why.

use herenow_wire::LeaveReason;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaveCounts([u64; LeaveReason::ALL.len()]);

impl LeaveCounts {
    /// How many have left for this reason.
    pub fn of(&self, reason: LeaveReason) -> u64 {
        self.0[reason as usize]
    }

    /// Adds those of another count.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// So many more have left for this reason.
    pub fn add_to(&mut self, reason: LeaveReason, more: u64) {
        self.0[reason as usize] += more;
    }
}

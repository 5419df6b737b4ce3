//! Since when a member is here, in four bytes that a member has to spare.

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// A moment to a tenth of a second, up to 13 years after the server's start.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, Serialize, Deserialize,
)]
pub struct Since(u32);

const MICROS: u64 = 100_000;

impl Since {
    /// The tenth of a second that has begun.
    pub fn at(now: Instant) -> Self {
        Self(u32::try_from(now.as_micros() / MICROS).unwrap_or(u32::MAX))
    }

    /// The next tenth of a second, if none begins now.
    pub fn not_before(now: Instant) -> Self {
        Self(u32::try_from(now.as_micros().div_ceil(MICROS)).unwrap_or(u32::MAX))
    }

    /// The moment on the server's clock.
    pub fn instant(self) -> Instant {
        Instant::from_micros(u64::from(self.0) * MICROS)
    }
}

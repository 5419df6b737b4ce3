//! The clock by which leases are measured. It runs while the machine is suspended.

use std::time::{SystemTime, UNIX_EPOCH};

use herenow_cluster::Now;
use herenow_core::Instant;
use rustix::time::{ClockId, clock_gettime};

/// Counts from when the server started. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootClock {
    started_us: u64,
}

impl BootClock {
    pub(crate) fn start() -> Self {
        Self { started_us: boot_us() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(boot_us().saturating_sub(self.started_us))
    }

    /// As the machine wants it.
    pub(super) fn both(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { at: self.now(), unix_seconds: unix.as_secs() }
    }
}

fn boot_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(time.tv_nsec / 1_000).unwrap_or_default()
}

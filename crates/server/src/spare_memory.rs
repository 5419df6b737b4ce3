//! Gives memory back to the system that the allocator keeps after a flood. The queues of many slow
//! sockets grow side by side; when the sockets have ended, glibc keeps the pages between what
//! lives on, for good, unless it is asked. Knows how much memory the process holds; refuses to know
//! what for.
//!
//! Asking walks what is free and holds up threads that allocate, so it is done seldom: once the
//! memory has grown by an eighth since the last time, and has stopped to grow.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often the process looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What may be kept in any case.
const KEPT_BYTES: u64 = 2 * 1024 * 1024;
/// The part of the memory in use that may be kept beside it.
const KEPT_SHARE: u64 = 8;
/// Memory that grows by less than this part of itself between two looks stands still.
const STILL_SHARE: u64 = 64;

/// When to ask the allocator.
#[derive(Debug)]
struct Watch {
    /// What the process held when it had nothing to give back.
    least: u64,
    last: u64,
}

/// Has spare memory given back for as long as it is polled.
pub(crate) async fn give_back() {
    let Some(now) = anonymous_bytes() else { return std::future::pending().await };
    let mut watch = Watch::new(now);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if anonymous_bytes().is_some_and(|now| watch.is_due(now)) {
            trim();
            watch.trimmed(anonymous_bytes().unwrap_or(watch.last));
        }
    }
}

impl Watch {
    fn new(now: u64) -> Self {
        Self { least: now, last: now }
    }

    fn is_due(&mut self, now: u64) -> bool {
        let has_stopped = now <= self.last + self.last / STILL_SHARE;
        self.last = now;
        self.least = self.least.min(now);
        has_stopped && now > self.least + KEPT_BYTES.max(self.least / KEPT_SHARE)
    }

    /// What is left is in use.
    fn trimmed(&mut self, now: u64) {
        *self = Self::new(now);
    }
}

/// Memory of the process itself, not of files. Only Linux tells it without a library.
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "only libc speaks to its allocator")]
fn trim() {
    // SAFETY: it takes a number, and may be called on any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_allocator_is_asked_once_after_a_flood_and_not_while_it_lasts() {
        let mut watch = Watch::new(10 * MIB);
        assert!(!watch.is_due(20 * MIB), "it grows");
        assert!(!watch.is_due(30 * MIB), "it still grows");
        assert!(watch.is_due(28 * MIB));
        watch.trimmed(11 * MIB);
        assert!(!watch.is_due(11 * MIB));
    }

    #[test]
    fn memory_in_use_is_asked_for_once_and_then_only_when_an_eighth_is_added() {
        let mut watch = Watch::new(10 * MIB);
        watch.is_due(80 * MIB);
        assert!(watch.is_due(80 * MIB));
        watch.trimmed(80 * MIB);
        for _ in 0..2 {
            assert!(!watch.is_due(89 * MIB), "less than an eighth more");
        }
        watch.is_due(91 * MIB);
        assert!(watch.is_due(91 * MIB));
    }

    #[test]
    fn what_has_gone_by_itself_counts_as_free_from_then_on() {
        let mut watch = Watch::new(80 * MIB);
        assert!(!watch.is_due(10 * MIB));
        watch.is_due(40 * MIB);
        assert!(watch.is_due(40 * MIB));
    }
}

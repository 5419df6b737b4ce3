//! Moments and times as people read them.

use std::time::Duration;

use herenow_core::Instant;
use jiff::Timestamp;

/// When the clock of the loops began, and what the time is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    /// In milliseconds since 1970.
    pub(crate) started_at_unix_ms: u64,
    pub(crate) now: Instant,
}

impl Moments {
    /// A moment in UTC, to the millisecond.
    pub(crate) fn utc(self, at: Instant) -> String {
        let ms = self.started_at_unix_ms.saturating_add(at.as_millis());
        let stamp = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        stamp.map_or_else(|| ms.to_string(), |stamp| format!("{stamp:.3}"))
    }

    /// The same as it stands in a sentence: without the day if that is today's.
    pub(super) fn clock(self, at: Instant) -> String {
        let (then, now) = (self.utc(at), self.utc(self.now));
        match (then.split_once('T'), now.split_once('T')) {
            (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
            _ => then,
        }
    }
}

/// A time as it stands in a sentence: 0.5 s, 60.0 s, 3 min, 2 h.
pub(super) fn length(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

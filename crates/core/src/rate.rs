//! How fast one connection may talk: a bucket of messages, one of tokens to verify, and the watch
//! for abuse far above the rate.

use std::time::Duration;

use crate::time::Instant;

/// What a connection may send per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Messages per second that are handled at once.
    pub messages_per_second: u32,
    /// Messages that may come at once after a pause.
    pub burst: u32,
}

/// Above how many times the rate a connection counts as abusive.
pub const ABUSE_FACTOR: u32 = 10;
/// For how many seconds on end it may be so.
pub const ABUSE_SECONDS: u8 = 5;

/// Tokens that one connection may have verified at once. After that it may have one verified per
/// second: verifying costs far more than any other message.
pub const VERIFICATION_BURST: u32 = 5;

/// The rate of one connection. A few words: every connection has one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// When the bucket will be full again.
    full_at: Instant,
    /// The second since the server's start that `count` belongs to.
    second: u32,
    count: u32,
    abusive_seconds: u8,
    /// The second at which the bucket of verifications will be full again.
    verifications_full_at: u32,
}

impl Rate {
    /// Takes one message out of the bucket. False where it is empty.
    pub(crate) fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        if now < self.next(limit) {
            return false;
        }
        self.full_at = self.full_at.max(now) + Self::interval(limit);
        true
    }

    /// When the bucket holds a message next.
    pub(crate) fn next(&self, limit: RateLimit) -> Instant {
        self.full_at - Self::interval(limit) * limit.burst.saturating_sub(1)
    }

    /// Takes one verification of a token out of its bucket. False if it is empty.
    pub(crate) fn take_verification(&mut self, now: Instant) -> bool {
        let second = Self::second(now);
        if self.verifications_full_at >= second.saturating_add(VERIFICATION_BURST) {
            return false;
        }
        self.verifications_full_at = self.verifications_full_at.max(second).saturating_add(1);
        true
    }

    /// Counts one whole frame of any kind. True once the connection is abusive.
    pub(crate) fn count_frame(&mut self, limit: RateLimit, now: Instant) -> bool {
        let second = Self::second(now);
        if second != self.second {
            let was_abusive = self.count > limit.messages_per_second.saturating_mul(ABUSE_FACTOR);
            let is_next = second == self.second.wrapping_add(1);
            self.abusive_seconds =
                if was_abusive && is_next { self.abusive_seconds.saturating_add(1) } else { 0 };
            self.second = second;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.abusive_seconds >= ABUSE_SECONDS
    }

    fn second(now: Instant) -> u32 {
        u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX)
    }

    fn interval(limit: RateLimit) -> Duration {
        Duration::from_micros(1_000_000 / u64::from(limit.messages_per_second.max(1)))
    }
}

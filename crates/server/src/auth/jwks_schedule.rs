//! When a key set is fetched again: when it is no longer fresh by its `Cache-Control`, sooner if a token
//! names a key that it does not have, and after a failure again and again. Time is an argument.

use std::time::{Duration, Instant};

use hyper::header::{AGE, CACHE_CONTROL, HeaderMap};

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    /// When a token with an unknown key last made the set due. May lie ahead.
    due_for_unknown_key: Option<Instant>,
    failures: u32,
}

/// What a token with an unknown key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownKey {
    /// The set is fetched now.
    FetchNow,
    /// The set has been fetched for such a token within [`UNKNOWN_KEY_INTERVAL`].
    TooSoon,
}

/// How often tokens with unknown keys make the set be fetched, however many there are.
pub(super) const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(60);
/// A set is not fetched more often than this because of its `Cache-Control`.
const MIN_FRESH: Duration = Duration::from_secs(60);
/// How long a set is fresh whose issuer does not say.
const DEFAULT_FRESH: Duration = Duration::from_secs(5 * 60);
/// How long a key that its issuer has withdrawn may stay in force.
const MAX_FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// The wait after the first failure. Each one after it is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

impl Schedule {
    /// Of a set that was fetched at `now` and is fresh for this time.
    pub(super) fn after_success(now: Instant, fresh: Duration) -> Self {
        Self { due: now + fresh, due_for_unknown_key: None, failures: 0 }
    }

    /// Of a set that could not be fetched at `now`.
    pub(super) fn after_failure(now: Instant) -> Self {
        let mut schedule = Self::after_success(now, Duration::ZERO);
        schedule.failed(now);
        schedule
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn succeeded(&mut self, now: Instant, fresh: Duration) {
        self.failures = 0;
        self.due = now + fresh;
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.due = now + FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(MAX_RETRY);
        self.failures += 1;
    }

    /// A token names a key that the set does not have. One that comes too soon makes the set due at the
    /// end of the interval: its key may be one that the issuer has just begun to use.
    pub(super) fn unknown_key(&mut self, now: Instant) -> UnknownKey {
        let earliest = match self.due_for_unknown_key {
            Some(at) if at > now => return UnknownKey::TooSoon,
            Some(at) => now.max(at + UNKNOWN_KEY_INTERVAL),
            None => now,
        };
        self.due_for_unknown_key = Some(earliest);
        self.due = self.due.min(earliest);
        if earliest > now { UnknownKey::TooSoon } else { UnknownKey::FetchNow }
    }
}

/// How long an answer with these headers is fresh, within bounds.
pub(super) fn freshness(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let directives = text(CACHE_CONTROL).flat_map(|value| value.split(','));
    let mut fresh = DEFAULT_FRESH;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match &*name.trim().to_ascii_lowercase() {
            "no-cache" | "no-store" => return MIN_FRESH,
            "max-age" => {
                let seconds = value.trim().trim_matches('"').parse().unwrap_or(0);
                fresh = Duration::from_secs(seconds);
            }
            _ => {}
        }
    }
    let age = text(AGE).next().and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    fresh.saturating_sub(Duration::from_secs(age)).clamp(MIN_FRESH, MAX_FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn fresh(headers: &[(&'static str, &str)]) -> u64 {
        let header =
            |(name, value): &(&'static str, &str)| Some((name.parse().ok()?, value.parse().ok()?));
        freshness(&headers.iter().filter_map(header).collect()).as_secs()
    }

    #[test]
    fn a_set_is_fresh_for_as_long_as_its_issuer_says_within_bounds() {
        let by_cache_control = |value| fresh(&[("cache-control", value)]);
        // As Firebase, Supabase, Auth0 and Keycloak send it.
        assert_eq!(by_cache_control("public, max-age=19302, must-revalidate, no-transform"), 19302);
        assert_eq!(by_cache_control("public, max-age=600"), 600);
        assert_eq!(by_cache_control("public, max-age=15, stale-while-revalidate=15"), 60);
        assert_eq!(by_cache_control("no-cache"), 60);
        assert_eq!(by_cache_control("MAX-AGE=\"600\""), 600);
        assert_eq!(by_cache_control("max-age=99999999"), 24 * 60 * 60);
        assert_eq!(by_cache_control("max-age=soon"), 60);
        assert_eq!(by_cache_control("private"), 300);
        assert_eq!(fresh(&[]), 300);
        assert_eq!(fresh(&[("cache-control", "max-age=600"), ("age", "200")]), 400);
        assert_eq!(fresh(&[("cache-control", "max-age=600"), ("age", "700")]), 60);
    }

    #[test]
    fn unknown_keys_make_the_set_be_fetched_at_most_once_a_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::after_success(start, seconds(3600));
        assert_eq!(schedule.unknown_key(start + seconds(10)), UnknownKey::FetchNow);
        assert_eq!(schedule.due(), start + seconds(10));
        schedule.succeeded(start + seconds(10), seconds(3600));
        for second in [11, 12, 69] {
            assert_eq!(schedule.unknown_key(start + seconds(second)), UnknownKey::TooSoon);
            assert_eq!(schedule.due(), start + seconds(70), "at the end of the minute");
        }
        schedule.succeeded(start + seconds(70), seconds(3600));
        assert_eq!(schedule.unknown_key(start + seconds(71)), UnknownKey::TooSoon);
        assert_eq!(schedule.due(), start + seconds(130));
        schedule.succeeded(start + seconds(130), seconds(3600));
        assert_eq!(schedule.unknown_key(start + seconds(500)), UnknownKey::FetchNow);
    }

    #[test]
    fn an_unknown_key_does_not_delay_a_fetch_that_is_due_sooner() {
        let start = Instant::now();
        let mut schedule = Schedule::after_success(start, seconds(3600));
        schedule.unknown_key(start);
        schedule.succeeded(start, seconds(30));
        assert_eq!(schedule.unknown_key(start + seconds(1)), UnknownKey::TooSoon);
        assert_eq!(schedule.due(), start + seconds(30));
    }

    #[test]
    fn after_failures_the_set_is_fetched_again_ever_more_seldom_up_to_once_a_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::after_failure(start);
        let mut waits = vec![(schedule.due() - start).as_secs()];
        for _ in 0..7 {
            schedule.failed(start);
            waits.push((schedule.due() - start).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        schedule.succeeded(start, seconds(600));
        schedule.failed(start);
        assert_eq!(schedule.due(), start + seconds(1));
    }
}

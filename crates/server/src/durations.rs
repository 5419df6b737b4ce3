//! How long things took and how they ended, counted by several threads at once: decisions of access
//! rules and verifications of tokens. Each costs tens of times more than to count it. Knows no names
//! of metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use herenow_core::Ruling;
use herenow_hub::{Histogram, Said};

use crate::auth::TokenError;

/// A histogram that others may read, and several threads may add to.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    counts: [AtomicU64; Histogram::BUCKETS],
    sum_us: AtomicU64,
}

impl Durations {
    /// Counts something that took so long.
    pub(crate) fn observe(&self, duration: Duration) {
        let us = duration.as_micros() as u64;
        self.counts[Histogram::bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Shows what one thread has counted by itself. Nothing else may add to these then.
    pub(crate) fn set(&self, histogram: &Histogram) {
        for (shown, count) in self.counts.iter().zip(histogram.counts) {
            shown.store(count, Ordering::Relaxed);
        }
        self.sum_us.store(histogram.sum_us, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// What is counted beside the loops. One for all of them, whatever the rules in force.
#[derive(Debug, Default)]
pub(crate) struct BesideLoops {
    pub(crate) rules: Outcomes<RuleResult>,
    pub(crate) tokens: Outcomes<TokenResult>,
}

/// Durations, and how often each result came of it.
#[derive(Debug)]
pub(crate) struct Outcomes<R> {
    durations: Durations,
    results: Box<[(R, AtomicU64)]>,
}

impl<R: Copy + PartialEq> Outcomes<R> {
    fn new(results: &[R]) -> Self {
        let results = results.iter().map(|result| (*result, AtomicU64::new(0)));
        Self { durations: Durations::default(), results: results.collect() }
    }

    /// Counts a result of what began at `began`.
    pub(crate) fn observe(&self, result: R, began: Instant) {
        self.durations.observe(began.elapsed());
        if let Some((_, count)) = self.results.iter().find(|(known, _)| *known == result) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn durations(&self) -> Histogram {
        self.durations.read()
    }

    pub(crate) fn results(&self) -> Vec<(R, u64)> {
        let results = self.results.iter();
        results.map(|(result, count)| (*result, count.load(Ordering::Relaxed))).collect()
    }
}

/// What came of a question to an access rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleResult {
    /// The rule returned true.
    Granted,
    /// The rule returned false.
    Denied,
    /// The rule returned something else, threw, or took too long or too much memory.
    Failed,
    /// No thread had room for the question or could answer it.
    Unavailable,
}

impl RuleResult {
    const ALL: [Self; 4] = [Self::Granted, Self::Denied, Self::Failed, Self::Unavailable];

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<RuleResult> for Ruling {
    /// What the session is told.
    fn from(result: RuleResult) -> Self {
        match result {
            RuleResult::Granted => Self::Granted,
            RuleResult::Denied | RuleResult::Failed => Self::Denied,
            RuleResult::Unavailable => Self::Unavailable,
        }
    }
}

impl From<RuleResult> for Said {
    /// What is remembered.
    fn from(result: RuleResult) -> Self {
        match result {
            RuleResult::Granted => Self::True,
            RuleResult::Denied => Self::False,
            RuleResult::Failed => Self::Failed,
            RuleResult::Unavailable => Self::Nothing,
        }
    }
}

impl Default for Outcomes<RuleResult> {
    fn default() -> Self {
        Self::new(&RuleResult::ALL)
    }
}

/// What came of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenResult {
    /// It is good.
    Valid,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It was signed with another key, or altered.
    BadSignature,
    /// It names no key of this server, or another algorithm than that of the key.
    WrongKey,
    /// Its `iss` or `aud` is not the one that is configured.
    WrongIssuerOrAudience,
    /// It is no JWT, or lacks something.
    Malformed,
    /// The server has no key.
    NoKey,
    /// Too many tokens waited, the key set could not be fetched yet, or a fault has cost the result.
    Unavailable,
}

impl TokenResult {
    const ALL: [Self; 9] = [
        Self::Valid,
        Self::Expired,
        Self::NotYetValid,
        Self::BadSignature,
        Self::WrongKey,
        Self::WrongIssuerOrAudience,
        Self::Malformed,
        Self::NoKey,
        Self::Unavailable,
    ];

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::BadSignature => "bad_signature",
            Self::WrongKey => "wrong_key",
            Self::WrongIssuerOrAudience => "wrong_issuer_or_audience",
            Self::Malformed => "malformed",
            Self::NoKey => "no_key",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<TokenError> for TokenResult {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NoKey => Self::NoKey,
            TokenError::KeysNotFetched => Self::Unavailable,
            TokenError::Expired => Self::Expired,
            TokenError::NotYetValid => Self::NotYetValid,
            TokenError::BadSignature => Self::BadSignature,
            TokenError::WrongAlgorithm | TokenError::UnknownKey | TokenError::UnnamedKey => {
                Self::WrongKey
            }
            TokenError::WrongIssuer | TokenError::WrongAudience => Self::WrongIssuerOrAudience,
            TokenError::TooLong
            | TokenError::NotThreeParts
            | TokenError::BadHeader
            | TokenError::UnknownCritical
            | TokenError::BadPayload
            | TokenError::BadSubject
            | TokenError::BadInfo
            | TokenError::BadExpiry
            | TokenError::ExpiryInMilliseconds
            | TokenError::BadNotBefore
            | TokenError::NotBeforeInMilliseconds => Self::Malformed,
        }
    }
}

impl Default for Outcomes<TokenResult> {
    fn default() -> Self {
        Self::new(&TokenResult::ALL)
    }
}

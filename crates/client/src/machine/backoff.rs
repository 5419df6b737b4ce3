//! When to come back after a loss, and when not to.

use std::time::Duration;

use herenow_wire::CloseCode;
use serde::Deserialize;

use super::Closed;

/// The first attempt after a loss comes within this time.
pub const RECONNECT_BASE: Duration = Duration::from_secs(1);
/// No attempt waits longer, unless the server named a time or many attempts have failed: a client is
/// back soon after a server that was down for some seconds.
pub const RECONNECT_CAP: Duration = Duration::from_secs(4);
/// No attempt after [`MANY_ATTEMPTS`] waits longer, unless the server named a time.
pub const RECONNECT_LATE_CAP: Duration = Duration::from_secs(10);
/// After so many failures the server is taken to be away for long. As many are taken as given if the
/// server is full, or does not want this client now.
pub const MANY_ATTEMPTS: u32 = 10;
/// The longest wait that a server may ask for; more is a mistake of its clock or its operator.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

/// Closes after which an early attempt would only meet the same end: `later` in `fixtures/codes.json`.
const SLOW: [CloseCode; 8] = [
    // A network that was slow refuses nobody, not even an observer without a token.
    CloseCode::AuthTimeout,
    CloseCode::Overloaded,
    CloseCode::NoKeyConfigured,
    CloseCode::Abuse,
    CloseCode::ProtocolError,
    CloseCode::BinaryFrame,
    CloseCode::InvalidUtf8,
    CloseCode::MessageTooBig,
];

/// What a close means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Another attempt would be refused like this one.
    GiveUp,
    Reconnect(Pace),
}

/// How soon to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Soon, and more slowly with every failure.
    Growing,
    /// As slowly as after many failures: the server is full, or does not want us now.
    Slow,
    /// The server spreads its clients itself.
    Told(Duration),
}

/// Failed attempts since the server last answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Full jitter: anywhere between nothing and the cap, so that clients lost together do not
    /// come back together.
    pub(super) fn next_delay(&mut self, pace: Pace, random: f64) -> Duration {
        match pace {
            Pace::Told(delay) => return delay,
            Pace::Slow => self.attempts = self.attempts.max(MANY_ATTEMPTS),
            Pace::Growing => {}
        }
        let longest =
            if self.attempts < MANY_ATTEMPTS { RECONNECT_CAP } else { RECONNECT_LATE_CAP };
        let cap = RECONNECT_BASE.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        cap.mul_f64(random)
    }
}

/// What the way a socket ended says about the next one.
pub(super) fn advice(closed: &Closed) -> Advice {
    let is = |code: CloseCode| closed.code == Some(code.number());
    if is(CloseCode::AuthFailed) || is(CloseCode::Kicked) {
        return Advice::GiveUp;
    }
    if is(CloseCode::Restart) {
        return Advice::Reconnect(retry_after(&closed.reason).map_or(Pace::Growing, Pace::Told));
    }
    if SLOW.into_iter().any(is) {
        return Advice::Reconnect(Pace::Slow);
    }
    Advice::Reconnect(Pace::Growing)
}

fn retry_after(reason: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hint {
        retry_after_ms: u64,
    }
    let hint: Hint = serde_json::from_str(reason).ok()?;
    Some(Duration::from_millis(hint.retry_after_ms).min(RETRY_AFTER_CAP))
}

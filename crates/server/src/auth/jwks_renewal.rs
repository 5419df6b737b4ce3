//! A key set of a URL over time: it is fetched again on a thread when it is due, and tokens that name a key
//! it does not have may wait for that. What cannot be fetched or is wrong leaves the keys in force as
//! they are. When it is due stands in `jwks_schedule`, what an answer means in `jwks_url`.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use super::Verifier;
use super::following::{self, Following, Prompt};
use super::jwks_schedule::{Schedule, UnknownKey};
use super::jwks_url::{FetchError, Fetched, Fetcher, JwksUrl};

/// What the threads share that verify tokens and that fetch the set.
pub(crate) struct Renewal {
    state: Mutex<State>,
    /// Of the thread that fetches.
    prompt: OnceLock<Prompt>,
    /// Has the tokens verified that wait.
    on_fetched: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct State {
    schedule: Schedule,
    /// A fetch has been ordered or has begun.
    is_pending: bool,
    /// When the set was last fetched. `None`: never.
    fetched_at: Option<Instant>,
    taken: u64,
    failed: u64,
    /// Why the last fetch failed, if it did.
    complaint: Option<FetchError>,
}

/// Fetches of a key set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalMetrics {
    /// Fetches that brought a key set.
    pub taken: u64,
    /// Fetches that did not.
    pub failed: u64,
    /// How old the set in force is. `None`: there is none.
    pub age: Option<Duration>,
}

/// What a token with an unknown key is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Wait: the set is being fetched.
    Wait,
    /// Not wait: the set has just been fetched, or will not be before a while.
    GiveUp,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal(..)")
    }
}

impl Renewal {
    pub(super) fn new(source: &JwksUrl) -> Self {
        let now = source.fetched_at;
        let state = match &source.first {
            Ok(fetched) => State {
                schedule: Schedule::after_success(now, fetched.fresh),
                is_pending: false,
                fetched_at: Some(now),
                taken: 1,
                failed: 0,
                complaint: None,
            },
            Err(error) => State {
                schedule: Schedule::after_failure(now),
                is_pending: false,
                fetched_at: None,
                taken: 0,
                failed: 1,
                complaint: Some(error.clone()),
            },
        };
        Self { state: Mutex::new(state), prompt: OnceLock::new(), on_fetched: OnceLock::new() }
    }

    /// Calls this after every fetch. The first caller alone is heard.
    pub(crate) fn on_fetched(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_fetched.set(call);
    }

    /// Whether a fetch has been ordered that has not ended.
    pub(crate) fn is_pending(&self) -> bool {
        self.state().is_pending
    }

    /// A token names a key that the set does not have, or there is no set yet.
    pub(crate) fn unknown_key(&self, now: Instant) -> Unknown {
        let mut state = self.state();
        if state.is_pending {
            return Unknown::Wait;
        }
        let before = state.schedule.due();
        let ordered = state.schedule.unknown_key(now);
        state.is_pending = ordered == UnknownKey::FetchNow;
        let is_due_sooner = state.schedule.due() < before;
        drop(state);
        // It sleeps by what was due before. A flood of such tokens does not wake it again and again.
        if is_due_sooner {
            self.prompt.get().into_iter().for_each(Prompt::look);
        }
        match ordered {
            UnknownKey::FetchNow => Unknown::Wait,
            UnknownKey::TooSoon => Unknown::GiveUp,
        }
    }

    pub(crate) fn metrics(&self) -> RenewalMetrics {
        let state = self.state();
        let age = state.fetched_at.map(|at| at.elapsed());
        RenewalMetrics { taken: state.taken, failed: state.failed, age }
    }

    /// Whether it is time to fetch; if not, how long that will be.
    fn begin(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        let wait = state.schedule.due().saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        state.is_pending = true;
        Ok(())
    }

    /// Notes how a fetch has ended. Returns the time until the next one.
    fn end(&self, result: Result<Duration, FetchError>, now: Instant) -> Duration {
        let mut state = self.state();
        state.is_pending = false;
        match result {
            Ok(fresh) => {
                state.schedule.succeeded(now, fresh);
                state.fetched_at = Some(now);
                state.taken += 1;
                state.complaint = None;
            }
            Err(error) => {
                state.schedule.failed(now);
                state.failed += 1;
                state.complaint = Some(error);
            }
        }
        let wait = state.schedule.due().saturating_duration_since(now);
        drop(state);
        self.on_fetched.get().into_iter().for_each(|call| call());
        wait
    }

    /// Whether the last fetch failed for another reason, or did not fail.
    fn is_news(&self, error: &FetchError) -> bool {
        self.state().complaint.as_ref() != Some(error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches the set of `source` again when it is due, and puts what comes in force.
pub(super) fn follow(
    source: &JwksUrl,
    renewal: Arc<Renewal>,
    verifier: Arc<Verifier>,
) -> io::Result<Following> {
    let fetcher = Fetcher::new(source.address().clone())?;
    let address = source.address().to_string();
    let in_force = source.first.as_ref().ok().map(|fetched| fetched.body.clone());
    let mut follower = Follower { fetcher, address, verifier, in_force };
    let shared = Arc::clone(&renewal);
    let first = renewal.begin(Instant::now()).err().unwrap_or_default();
    let following = following::after(first, "keys", move || match shared.begin(Instant::now()) {
        Err(wait) => wait,
        Ok(()) => {
            let result = follower.fetch(&shared);
            shared.end(result, Instant::now())
        }
    })?;
    let _ = renewal.prompt.set(following.prompt());
    Ok(following)
}

struct Follower {
    fetcher: Fetcher,
    address: String,
    verifier: Arc<Verifier>,
    /// The answer whose keys are in force.
    in_force: Option<Bytes>,
}

impl Follower {
    /// Puts the keys in force, or says why there are none, once for each reason.
    fn fetch(&mut self, renewal: &Renewal) -> Result<Duration, FetchError> {
        let address = &self.address;
        let Fetched { jwks, fresh, body } = self.fetcher.fetch().inspect_err(|error| {
            if renewal.is_news(error) {
                tracing::warn!(
                    "the key set at {address} cannot be fetched, and the keys in force stay: {error}"
                );
            }
        })?;
        if self.in_force.as_ref() != Some(&body) {
            self.verifier.replace(&jwks);
            self.in_force = Some(body);
            for warning in jwks.warnings() {
                tracing::warn!("{warning}");
            }
            tracing::info!(keys = jwks.count(), %address, "token keys were fetched");
        } else if renewal.state().complaint.is_some() {
            tracing::info!(%address, "the key set can be fetched again, and is as it was");
        }
        Ok(fresh)
    }
}

//! Looks after the threads on which rules run. An engine stops a rule that takes too long, but a few
//! of its own functions cannot be stopped (`join` over a length of billions). A thread that is lost
//! in one is given up: its question is answered without it, and another thread takes its place.
//! Sleeps while no rule runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::outcome::{Failure, Outcome};
use super::pool::{Answer, Job, Shared};
use crate::durations::RuleResult;

/// All threads of a pool, as its watchdog sees them.
#[derive(Debug, Default)]
pub(super) struct Watched {
    threads: Mutex<Threads>,
    is_asleep: AtomicBool,
    watchdog: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Threads {
    stints: Vec<Arc<Stint>>,
    /// Threads that are lost in something and have not come back.
    given_up: usize,
}

/// What one thread is at.
#[derive(Debug, Default)]
pub(super) struct Stint(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    busy: Option<Busy>,
    /// Answers that it has not sent yet.
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Busy {
    job: Arc<Job>,
    /// When the engine should have stopped it.
    until: Instant,
}

/// The thread has been given up: its question has been answered without it.
#[derive(Debug)]
pub(super) struct GivenUp;

/// How often running rules are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much later than it should a thread may come back. It may have been kept from running by
/// other programs, which is no fault of a rule.
const PATIENCE: Duration = Duration::from_millis(200);
/// Threads that may be lost at a time; each of them keeps a core busy. Beyond that nobody takes a
/// lost one's place until one comes back.
const MAX_GIVEN_UP: usize = 8;

/// Starts the watchdog of a pool. Says whether the system gave a thread.
pub(super) fn start(shared: &Arc<Shared>) -> bool {
    let watching = shared.clone();
    let thread = std::thread::Builder::new().name("rules-watchdog".into());
    match thread.spawn(move || watch(&watching)) {
        Ok(handle) => shared.watched.watchdog.set(handle.thread().clone()).is_ok(),
        Err(error) => {
            shared.complain_of_no_thread(&error);
            false
        }
    }
}

/// Until no thread is left to look after.
fn watch(shared: &Arc<Shared>) {
    let watched = &shared.watched;
    while !watched.threads().is_over() {
        watched.is_asleep.store(true, Ordering::SeqCst);
        let threads = watched.threads();
        // A thread begins first and looks for a sleeper then, so none is overlooked.
        let (is_idle, is_over) = (!threads.is_any_busy(), threads.is_over());
        drop(threads);
        if is_idle && !is_over {
            std::thread::park();
        } else {
            watched.is_asleep.store(false, Ordering::SeqCst);
            std::thread::park_timeout(LOOK_EVERY);
        }
        while let Some((job, answers, may_replace)) = watched.give_up_one(Instant::now()) {
            shared.send(answers);
            shared.complain(&job, &Outcome::Failed(Failure::TooSlow { place: None }));
            shared.send(vec![job.decided(RuleResult::Failed)]);
            if may_replace {
                shared.start_thread();
            }
        }
    }
}

impl Watched {
    /// A thread more.
    pub(super) fn add(&self) -> Arc<Stint> {
        let stint = Arc::<Stint>::default();
        self.threads().stints.push(stint.clone());
        stint
    }

    /// A thread less: it has nothing more to do. Says whether it was one that was not given up.
    pub(super) fn retire(&self, stint: &Arc<Stint>) -> bool {
        let mut threads = self.threads();
        let before = threads.stints.len();
        threads.stints.retain(|other| !Arc::ptr_eq(other, stint));
        let is_retired = threads.stints.len() < before;
        drop(threads);
        self.wake();
        is_retired
    }

    /// A thread that was given up is back. It is given a place where one is free.
    pub(super) fn come_back(&self, wanted: usize) -> Option<Arc<Stint>> {
        let mut threads = self.threads();
        threads.given_up -= 1;
        let stint = (threads.stints.len() < wanted).then(Arc::<Stint>::default);
        threads.stints.extend(stint.clone());
        drop(threads);
        self.wake();
        stint
    }

    /// A rule runs from now on.
    pub(super) fn wake(&self) {
        if self.is_asleep.load(Ordering::SeqCst)
            && self.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(watchdog) = self.watchdog.get()
        {
            watchdog.unpark();
        }
    }

    /// Gives a lost thread up: what it was at, what it has not sent, and whether another one may take
    /// its place.
    fn give_up_one(&self, now: Instant) -> Option<(Arc<Job>, Vec<Answer>, bool)> {
        let mut threads = self.threads();
        let lost = threads.stints.iter().position(|stint| stint.is_lost(now))?;
        let stint = threads.stints.swap_remove(lost);
        let mut state = stint.state();
        let job = state.busy.take()?.job;
        threads.given_up += 1;
        Some((job, std::mem::take(&mut state.answers), threads.given_up <= MAX_GIVEN_UP))
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        // Nothing in here panics halfway through a change.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    fn is_over(&self) -> bool {
        self.stints.is_empty() && self.given_up == 0
    }

    fn is_any_busy(&self) -> bool {
        self.stints.iter().any(|stint| stint.state().busy.is_some())
    }
}

impl Stint {
    /// The thread turns to a question, which should take no longer than `time`.
    pub(super) fn begin(&self, job: &Arc<Job>, time: Duration) {
        self.state().busy = Some(Busy { job: job.clone(), until: Instant::now() + time });
    }

    /// It has an answer, unless it was given up meanwhile.
    pub(super) fn end(&self, result: RuleResult) -> Result<(), GivenUp> {
        let mut state = self.state();
        let busy = state.busy.take().ok_or(GivenUp)?;
        state.answers.push(busy.job.decided(result));
        Ok(())
    }

    /// A fault has ended what the thread was at. Its question was not decided, and its answers were
    /// not sent.
    pub(super) fn abandon(&self) -> Vec<Answer> {
        let mut state = self.state();
        let undecided = state.busy.take().map(|busy| busy.job.decided(RuleResult::Unavailable));
        state.answers.extend(undecided);
        std::mem::take(&mut state.answers)
    }

    /// Answers to be sent.
    pub(super) fn take_answers(&self) -> Vec<Answer> {
        std::mem::take(&mut self.state().answers)
    }

    fn is_lost(&self, now: Instant) -> bool {
        self.state().busy.as_ref().is_some_and(|busy| now > busy.until + PATIENCE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

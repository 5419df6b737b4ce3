//! The threads on which rules run, beside the loops. Takes questions over one bounded queue and
//! sends the answers as mail; a rule that misbehaves costs its own time and no more.

use std::io;
use std::sync::mpsc::{RecvError, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use herenow_core::Peer;
use herenow_hub::{Asker, Event, Purpose, RuleOutcome};
use herenow_wire::{ChannelName, UserId};

use super::complaints::Complaints;
use super::engine::{Call, Engine, RULE_TIME, RuleFunction, START_TIME, THREAD_STACK_BYTES};
use super::outcome::Outcome;
use super::queue::{Queue, Waiting, queue};
use super::rules::Rules;
use super::watchdog::{self, GivenUp, Stint, Watched};
use crate::config::Rehearsals;
use crate::durations::{BesideLoops, RuleResult};
use crate::faults::contain;
use crate::mailbox::{Mail, Mailbox};

/// See the module. Threads and engines exist from the first question on; they end when the pool
/// is dropped and what waits has been answered.
#[derive(Debug)]
pub(super) struct Pool {
    rules: Rules,
    mailboxes: Arc<[Mailbox]>,
    faults: Rehearsals,
    counts: Arc<BesideLoops>,
    queue: OnceLock<Queue>,
    starting: Mutex<()>,
}

/// What all threads of a pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    rules: Rules,
    mailboxes: Arc<[Mailbox]>,
    faults: Rehearsals,
    counts: Arc<BesideLoops>,
    jobs: Mutex<Waiting>,
    complaints: Complaints,
    pub(super) watched: Watched,
}

/// A question on its way to a rule.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) asker: Asker,
    pub(super) purpose: Purpose,
    pub(super) channel: ChannelName,
    pub(super) user: Option<UserId>,
    pub(super) claims: Option<Box<str>>,
    /// Which rule: a namespace's row and one of its functions.
    pub(super) row: usize,
    pub(super) function: RuleFunction,
    /// When it was asked.
    pub(super) asked: Instant,
}

/// An answer, and to which loop it goes.
#[derive(Debug)]
pub(super) struct Answer {
    peer: Peer,
    event: Event<'static>,
    result: RuleResult,
    asked: Instant,
}

/// The queue was full, or no thread could be had.
#[derive(Debug)]
pub(super) struct Unavailable;

/// Threads at most. One engine answers 100,000 questions a second; the second one is for the
/// others while a rule on the first takes its 50 ms.
const MAX_THREADS: usize = 2;
/// Answers sent as one batch, and for how long the first of them may wait.
const BATCH_ANSWERS: usize = 64;
const BATCH_TIME: Duration = Duration::from_millis(1);
/// How long a thread that a fault has ended stays away.
const FAULT_PAUSE: Duration = Duration::from_millis(10);

impl Pool {
    pub(super) fn new(
        rules: Rules,
        faults: Rehearsals,
        mailboxes: Arc<[Mailbox]>,
        counts: Arc<BesideLoops>,
    ) -> Self {
        let (queue, starting) = (OnceLock::new(), Mutex::new(()));
        Self { rules, mailboxes, faults, counts, queue, starting }
    }

    /// Has a question answered later.
    pub(super) fn ask(&self, job: Job) -> Result<(), Unavailable> {
        let asked = job.asked;
        let put = match self.queue.get() {
            Some(queue) => queue.put(job),
            None => self.start().and_then(|queue| queue.put(job)),
        };
        if put.is_err() {
            self.counts.rules.observe(RuleResult::Unavailable, asked);
        }
        put
    }

    /// Whether the loop `peer` may begin another review.
    pub(super) fn takes_reviews(&self, peer: Peer) -> bool {
        self.queue.get().is_none_or(|queue| queue.takes_reviews(peer))
    }

    /// Starts the threads. If none can be had, the next question tries again.
    fn start(&self) -> Result<&Queue, Unavailable> {
        let _starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = self.queue.get() {
            return Ok(queue);
        }
        let (queue, waiting) = queue(self.mailboxes.len());
        let shared = Arc::new(Shared {
            rules: self.rules.clone(),
            mailboxes: self.mailboxes.clone(),
            faults: self.faults.clone(),
            counts: self.counts.clone(),
            jobs: Mutex::new(waiting),
            complaints: Complaints::default(),
            watched: Watched::default(),
        });
        let started = (0..threads()).filter(|_| shared.start_thread()).count();
        if started == 0 || !watchdog::start(&shared) {
            return Err(Unavailable);
        }
        Ok(self.queue.get_or_init(|| queue))
    }
}

impl Shared {
    /// Starts a thread that answers questions. Says whether the system gave one.
    pub(super) fn start_thread(self: &Arc<Self>) -> bool {
        let stint = self.watched.add();
        let seat = Seat { shared: self.clone(), stint: stint.clone() };
        let thread = std::thread::Builder::new().name("rules".into());
        let started = thread.stack_size(THREAD_STACK_BYTES).spawn(move || seat.work());
        if let Err(error) = &started {
            self.complain_of_no_thread(error);
            self.watched.retire(&stint);
        }
        started.is_ok()
    }

    pub(super) fn complain_of_no_thread(&self, error: &io::Error) {
        self.complaints.no_thread(error);
    }

    /// Sends answers, one batch to each loop.
    pub(super) fn send(&self, answers: Vec<Answer>) {
        let mut batches: Vec<Vec<Mail>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for Answer { peer, event, result, asked } in answers {
            self.counts.rules.observe(result, asked);
            if let Some(batch) = batches.get_mut(usize::from(peer.0)) {
                batch.push(Mail::Event(event));
            }
        }
        for (mailbox, batch) in self.mailboxes.iter().zip(batches) {
            if !batch.is_empty() {
                mailbox.answer(batch);
            }
        }
    }

    /// Tells the operator that a rule did not say yes or no.
    pub(super) fn complain(&self, job: &Job, outcome: &Outcome) {
        let pattern = self.rules.rows()[job.row].0.as_str();
        self.complaints.denied_by(pattern, job, outcome);
    }
}

impl Job {
    /// The answer to it.
    pub(super) fn decided(&self, result: RuleResult) -> Answer {
        let (asker, channel) = (self.asker, self.channel.clone());
        let rule = RuleOutcome { rule: self.function.right(), said: result.into() };
        let event = Event::Ruling { asker, channel, ruling: result.into(), rule: Some(rule) };
        Answer { peer: asker.peer, event, result, asked: self.asked }
    }
}

/// How many threads answer questions.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// What a thread is given.
struct Seat {
    shared: Arc<Shared>,
    stint: Arc<Stint>,
}

/// What runs on it. The engine never leaves the thread.
struct Worker<'a> {
    seat: &'a mut Seat,
    engine: Option<Engine>,
}

impl Seat {
    /// Answers questions until there will be none. A fault costs the question that was being asked:
    /// it is answered as one that nobody could decide, and a new worker goes on.
    fn work(mut self) {
        while contain(|| Worker::run(&mut self)).is_err() {
            let watched = &self.shared.watched;
            let next = if watched.retire(&self.stint) {
                self.shared.send(self.stint.abandon());
                Some(watched.add())
            } else {
                watched.come_back(threads())
            };
            match next {
                Some(stint) => self.stint = stint,
                None => return,
            }
            // A fault that comes again and again must not keep a core busy.
            std::thread::sleep(FAULT_PAUSE);
        }
    }
}

impl<'a> Worker<'a> {
    fn run(seat: &'a mut Seat) {
        let mut worker = Self { seat, engine: None };
        while let Ok(job) = worker.wait() {
            if let Err(GivenUp) = worker.answer_some(job) {
                match worker.seat.shared.watched.come_back(threads()) {
                    Some(stint) => worker.seat.stint = stint,
                    None => return,
                }
            }
        }
        worker.seat.shared.watched.retire(&worker.seat.stint);
    }

    /// Answers a question and some of those that wait behind it.
    fn answer_some(&mut self, job: Job) -> Result<(), GivenUp> {
        let began = Instant::now();
        let mut next = Some(job);
        let mut answered = 0;
        while let Some(job) = next {
            self.answer(job)?;
            answered += 1;
            let may_go_on = answered < BATCH_ANSWERS && began.elapsed() < BATCH_TIME;
            next = if may_go_on { self.look().ok() } else { None };
        }
        self.seat.shared.send(self.seat.stint.take_answers());
        Ok(())
    }

    /// One idle thread waits for the next question, the other one for this thread.
    fn wait(&self) -> Result<Job, RecvError> {
        // A thread that panics has taken a question out or has not: the queue is whole.
        self.seat.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next question, unless none waits or the other thread is already at the queue.
    fn look(&self) -> Result<Job, TryRecvError> {
        match self.seat.shared.jobs.try_lock() {
            Ok(mut jobs) => jobs.try_take(),
            Err(TryLockError::Poisoned(jobs)) => jobs.into_inner().try_take(),
            Err(TryLockError::WouldBlock) => Err(TryRecvError::Empty),
        }
    }

    fn answer(&mut self, job: Job) -> Result<(), GivenUp> {
        let job = Arc::new(job);
        let time = if self.engine.is_some() { RULE_TIME } else { START_TIME + RULE_TIME };
        self.seat.stint.begin(&job, time);
        self.seat.shared.watched.wake();
        let decided = contain(|| self.decide(&job));
        let result = decided.unwrap_or_else(|_| {
            tracing::error!("a fault in the engine of the access rules");
            self.engine = None;
            RuleResult::Unavailable
        });
        self.seat.shared.faults.rehearse_rule_thread(&job.channel);
        self.seat.stint.end(result)
    }

    fn decide(&mut self, job: &Job) -> RuleResult {
        let shared = &self.seat.shared;
        let engine = self.engine.take().map_or_else(|| shared.rules.engine(), Ok);
        let mut engine = match engine {
            Ok(engine) => engine,
            Err(failure) => {
                shared.complaints.no_engine(&failure);
                return RuleResult::Unavailable;
            }
        };
        let outcome = engine.call(Call {
            rule: job.row,
            function: job.function,
            channel: &job.channel.to_string(),
            claims: job.claims.as_deref(),
        });
        if !engine.is_spent() {
            self.engine = Some(engine);
        }
        match outcome {
            Outcome::Granted => RuleResult::Granted,
            Outcome::Denied => {
                shared.complaints.denied(shared.rules.rows()[job.row].0.as_str(), job);
                RuleResult::Denied
            }
            outcome => {
                shared.complain(job, &outcome);
                RuleResult::Failed
            }
        }
    }
}

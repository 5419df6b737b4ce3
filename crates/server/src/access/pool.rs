//! The threads on which rules run, beside the loops. Takes questions over one bounded queue and
//! sends the answers as mail; a rule that misbehaves costs its own time and no more.

use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use herenow_core::{Peer, Ruling};
use herenow_wire::{ChannelName, UserId};

use super::Asker;
use super::complaints::Complaints;
use super::engine::{Call, Engine, RULE_TIME, RuleFunction, START_TIME, THREAD_STACK_BYTES};
use super::outcome::Outcome;
use super::rules::Rules;
use super::watchdog::{self, GivenUp, Stint, Watched};
use crate::event_loop::{Mail, Mailbox};
use crate::faults::contain;

/// See the module. Threads and engines exist from the first question on; they end when the pool
/// is dropped and what waits has been answered.
#[derive(Debug)]
pub(super) struct Pool {
    rules: Rules,
    mailboxes: Arc<[Mailbox]>,
    queue: OnceLock<Option<SyncSender<Job>>>,
}

/// What all threads of a pool have in common.
#[derive(Debug)]
pub(super) struct Shared {
    rules: Rules,
    mailboxes: Arc<[Mailbox]>,
    jobs: Mutex<Receiver<Job>>,
    complaints: Complaints,
    pub(super) watched: Watched,
}

/// A question on its way to a rule.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) asker: Asker,
    pub(super) channel: ChannelName,
    pub(super) user: Option<UserId>,
    pub(super) claims: Option<Box<str>>,
    /// Which rule: a namespace's row and one of its functions.
    pub(super) row: usize,
    pub(super) function: RuleFunction,
}

/// An answer, and to which loop it goes.
#[derive(Debug)]
pub(super) struct Answer {
    peer: Peer,
    mail: Mail,
}

/// The queue was full, or no thread could be had.
#[derive(Debug)]
pub(super) struct Unavailable;

/// Questions that may wait. At 5 µs each they are answered in 20 ms; the bound is for the day on
/// which a rule takes all the time it may.
const QUEUED_JOBS: usize = 4096;
/// Threads at most. One engine answers 100,000 questions a second; the second one is for the
/// others while a rule on the first takes its 50 ms.
const MAX_THREADS: usize = 2;
/// Answers sent as one batch, and for how long the first of them may wait.
const BATCH_ANSWERS: usize = 64;
const BATCH_TIME: Duration = Duration::from_millis(1);
/// How long a loop with a full queue is waited for, and how often it is tried meanwhile.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(10);
const DELIVERY_RETRY: Duration = Duration::from_millis(1);

impl Pool {
    pub(super) fn new(rules: Rules, mailboxes: Arc<[Mailbox]>) -> Self {
        Self { rules, mailboxes, queue: OnceLock::new() }
    }

    /// Has a question answered later.
    pub(super) fn ask(&self, job: Job) -> Result<(), Unavailable> {
        let queue = self.queue.get_or_init(|| self.start()).as_ref().ok_or(Unavailable)?;
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Unavailable,
        })
    }

    fn start(&self) -> Option<SyncSender<Job>> {
        let (queue, receiver) = sync_channel(QUEUED_JOBS);
        let shared = Arc::new(Shared {
            rules: self.rules.clone(),
            mailboxes: self.mailboxes.clone(),
            jobs: Mutex::new(receiver),
            complaints: Complaints::default(),
            watched: Watched::default(),
        });
        let started = (0..threads()).filter(|_| shared.start_thread()).count();
        (started > 0 && watchdog::start(&shared)).then_some(queue)
    }
}

impl Shared {
    /// Starts a thread that answers questions. Says whether the system gave one.
    pub(super) fn start_thread(self: &Arc<Self>) -> bool {
        let stint = self.watched.add();
        let seat = Seat { shared: self.clone(), stint: stint.clone() };
        let thread = std::thread::Builder::new().name("rules".into());
        let started = thread.stack_size(THREAD_STACK_BYTES).spawn(move || Worker::run(seat));
        if let Err(error) = &started {
            tracing::error!(%error, "no thread for the access rules");
            self.watched.retire(&stint);
        }
        started.is_ok()
    }

    /// Sends answers, one batch to each loop.
    pub(super) fn send(&self, answers: Vec<Answer>) {
        let mut batches: Vec<Vec<Mail>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
        for Answer { peer, mail } in answers {
            if let Some(batch) = batches.get_mut(usize::from(peer.0)) {
                batch.push(mail);
            }
        }
        for (mailbox, batch) in self.mailboxes.iter().zip(batches) {
            if !batch.is_empty() {
                deliver(mailbox, batch);
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
    pub(super) fn decided(&self, ruling: Ruling) -> Answer {
        let mail = Mail::Decision { asker: self.asker, channel: self.channel.clone(), ruling };
        Answer { peer: self.asker.peer, mail }
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
struct Worker {
    seat: Seat,
    engine: Option<Engine>,
}

impl Worker {
    fn run(seat: Seat) {
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
        self.seat.shared.jobs.lock().map_err(|_| RecvError)?.recv()
    }

    /// The next question, unless none waits or the other thread is already at the queue.
    fn look(&self) -> Result<Job, TryRecvError> {
        self.seat.shared.jobs.try_lock().map_err(|_| TryRecvError::Empty)?.try_recv()
    }

    fn answer(&mut self, job: Job) -> Result<(), GivenUp> {
        let job = Arc::new(job);
        let time = if self.engine.is_some() { RULE_TIME } else { START_TIME + RULE_TIME };
        self.seat.stint.begin(&job, time);
        self.seat.shared.watched.wake();
        let decided = contain(|| self.decide(&job));
        let ruling = decided.unwrap_or_else(|_| {
            tracing::error!("a fault in the engine of the access rules");
            self.engine = None;
            Ruling::Unavailable
        });
        self.seat.stint.end(ruling)
    }

    fn decide(&mut self, job: &Job) -> Ruling {
        let shared = &self.seat.shared;
        let engine = self.engine.take().map_or_else(|| shared.rules.engine(), Ok);
        let mut engine = match engine {
            Ok(engine) => engine,
            Err(failure) => {
                shared.complaints.no_engine(&failure);
                return Ruling::Unavailable;
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
            Outcome::Granted => return Ruling::Granted,
            Outcome::Denied => {}
            outcome => shared.complain(job, &outcome),
        }
        Ruling::Denied
    }
}

/// A connection whose answer is lost waits for ever, so a loop that is too busy to take mail is
/// waited for. One that has ended never takes any.
pub(crate) fn deliver(mailbox: &Mailbox, mut batch: Vec<Mail>) {
    let began = Instant::now();
    while let Err(unsent) = mailbox.send(batch) {
        if began.elapsed() >= DELIVERY_PATIENCE {
            return;
        }
        batch = unsent;
        std::thread::sleep(DELIVERY_RETRY);
    }
}

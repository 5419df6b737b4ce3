//! The threads on which rules run, beside the loops. Takes questions over one bounded queue and
//! sends the answers as mail; a rule that misbehaves costs its own time and no more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use herenow_core::Ruling;
use herenow_wire::{ChannelName, UserId};

use super::Asker;
use super::complaints::Complaints;
use super::engine::{Call, Engine, RuleFunction, THREAD_STACK_BYTES};
use super::outcome::Outcome;
use super::rules::Rules;
use crate::event_loop::{Mail, Mailbox};

/// See the module. Threads and engines exist from the first question on; they end when the pool
/// is dropped and what waits has been answered.
#[derive(Debug)]
pub(super) struct Pool {
    rules: Rules,
    mailboxes: Arc<[Mailbox]>,
    queue: OnceLock<Option<SyncSender<Job>>>,
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
        let (sender, receiver) = sync_channel(QUEUED_JOBS);
        let jobs = Arc::new(Mutex::new(receiver));
        let complaints = Arc::new(Complaints::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut is_started = false;
        for index in 0..cores.min(MAX_THREADS) {
            let seat = Seat {
                rules: self.rules.clone(),
                jobs: jobs.clone(),
                complaints: complaints.clone(),
                mailboxes: self.mailboxes.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("rules-{index}"));
            let thread = thread.stack_size(THREAD_STACK_BYTES);
            match thread.spawn(move || Worker::new(seat).run()) {
                Ok(_) => is_started = true,
                Err(error) => tracing::error!(%error, "no thread for the access rules"),
            }
        }
        is_started.then_some(sender)
    }
}

/// What a thread is given.
struct Seat {
    rules: Rules,
    jobs: Arc<Mutex<Receiver<Job>>>,
    complaints: Arc<Complaints>,
    mailboxes: Arc<[Mailbox]>,
}

/// What runs on it. The engine never leaves the thread.
struct Worker {
    seat: Seat,
    /// Answers that have not been sent yet, by loop.
    answers: Vec<Vec<Mail>>,
    engine: Option<Engine>,
}

impl Worker {
    fn new(seat: Seat) -> Self {
        let answers = seat.mailboxes.iter().map(|_| Vec::new()).collect();
        Self { seat, answers, engine: None }
    }

    fn run(mut self) {
        while let Ok(mut job) = self.wait() {
            let began = Instant::now();
            let mut answered = 0;
            loop {
                self.answer(job);
                answered += 1;
                if answered == BATCH_ANSWERS || began.elapsed() >= BATCH_TIME {
                    break;
                }
                match self.look() {
                    Ok(next) => job = next,
                    Err(_) => break,
                }
            }
            self.send();
        }
    }

    /// One idle thread waits for the next question, the other one for this thread.
    fn wait(&self) -> Result<Job, RecvError> {
        self.seat.jobs.lock().map_err(|_| RecvError)?.recv()
    }

    /// The next question, unless none waits or the other thread is already at the queue.
    fn look(&self) -> Result<Job, TryRecvError> {
        self.seat.jobs.try_lock().map_err(|_| TryRecvError::Empty)?.try_recv()
    }

    fn answer(&mut self, job: Job) {
        let ruling = catch_unwind(AssertUnwindSafe(|| self.decide(&job))).unwrap_or_else(|_| {
            tracing::error!("a fault in the engine of the access rules");
            self.engine = None;
            Ruling::Unavailable
        });
        let Job { asker, channel, .. } = job;
        if let Some(answers) = self.answers.get_mut(usize::from(asker.peer.0)) {
            answers.push(Mail::Decision { asker, channel, ruling });
        }
    }

    fn decide(&mut self, job: &Job) -> Ruling {
        let engine = match self.engine.take() {
            Some(engine) => Ok(engine),
            None => self.seat.rules.engine(),
        };
        let mut engine = match engine {
            Ok(engine) => engine,
            Err(failure) => {
                self.seat.complaints.no_engine(&failure);
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
            outcome => {
                let pattern = self.seat.rules.rows()[job.row].0.as_str();
                self.seat.complaints.denied_by(pattern, job, &outcome);
            }
        }
        Ruling::Denied
    }

    fn send(&mut self) {
        for (mailbox, answers) in self.seat.mailboxes.iter().zip(&mut self.answers) {
            if !answers.is_empty() {
                deliver(mailbox, std::mem::take(answers));
            }
        }
    }
}

/// A connection whose answer is lost waits for ever, so a loop that is too busy to take mail is
/// waited for. One that has ended never takes any.
fn deliver(mailbox: &Mailbox, mut batch: Vec<Mail>) {
    let began = Instant::now();
    while let Err(unsent) = mailbox.send(batch) {
        if began.elapsed() >= DELIVERY_PATIENCE {
            return;
        }
        batch = unsent;
        std::thread::sleep(DELIVERY_RETRY);
    }
}

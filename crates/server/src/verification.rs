//! The threads on which tokens are verified that were signed with a private key. Checking such a
//! signature takes as long as hundreds of other messages, so a loop never does it. One bounded
//! queue serves all loops, first come first served; a connection has one token in it at a time, so
//! none delays the others. A token with a key that is being fetched waits for that in the same queue.
//! The outcome goes to the asking loop as mail.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use herenow_core::{Auth, AuthRefusal};
use herenow_hub::{Asker, Remembers, TokenFacts};

use crate::auth::{TokenError, Unknown, Verifier};
use crate::clock;
use crate::durations::{BesideLoops, TokenResult};
use crate::faults::contain;
use crate::line_rate::LineRate;
use crate::mailbox::{Mail, Mailbox};

/// See the module. Clones share the threads, which end with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Verification {
    checks: Checks,
    /// Only if there are public keys, or may be some.
    pool: Option<Arc<Pool>>,
}

/// A token that is to be verified, and for which connection.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) asker: Asker,
    pub(crate) token: Box<str>,
    /// The resume token that came with it. Comes back unread.
    pub(crate) resume: Option<Box<str>>,
    /// When it came.
    pub(crate) came: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    pub(crate) asker: Asker,
    pub(crate) result: Result<Auth, AuthRefusal>,
    pub(crate) resume: Option<Box<str>>,
    /// What is remembered of it, if anything is.
    pub(crate) facts: Option<Box<TokenFacts>>,
}

#[derive(Debug)]
struct Pool(Arc<Shared>);

/// The one place where a token is verified, and its result counted.
#[derive(Clone, Debug)]
struct Checks {
    verifier: Arc<Verifier>,
    remembers: Remembers,
    counts: Arc<BesideLoops>,
    refusals: Arc<LineRate>,
}

#[derive(Debug)]
struct Shared {
    checks: Checks,
    mailboxes: Arc<[Mailbox]>,
    queue: Mutex<Queue>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Those that wait until the key set has been fetched.
    waiting: Vec<Job>,
    /// Of all of both.
    bytes: usize,
    is_closed: bool,
}

/// What all tokens that wait may use: 20,000 connections with common tokens that come at once.
const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;
/// Tokens that one thread takes at a time. The results go out together, after about a millisecond.
const BATCH_JOBS: usize = 8;
/// Threads at most. Of few cores half are used: the loops need the others.
const MAX_THREADS: usize = 4;
/// How much lower than a loop's the priority of these threads is. When thousands authenticate at once,
/// a loop that shares a core with them still runs as soon as it has something to do.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

impl Verification {
    /// Results go to `mailboxes`, which are those of all loops by index.
    pub(crate) fn start(
        (verifier, remembers): (Arc<Verifier>, Remembers),
        mailboxes: Arc<[Mailbox]>,
        counts: Arc<BesideLoops>,
    ) -> io::Result<Self> {
        let checks = Checks { verifier, remembers, counts, refusals: Arc::default() };
        if !checks.verifier.has_public_keys() {
            return Ok(Self { checks, pool: None });
        }
        let pool = Pool(Arc::new(Shared {
            checks: checks.clone(),
            mailboxes,
            queue: Mutex::default(),
            has_changed: Condvar::new(),
        }));
        if let Some(renewal) = pool.0.checks.verifier.renewal() {
            let shared = Arc::downgrade(&pool.0);
            renewal.on_fetched(Box::new(move || {
                shared.upgrade().as_deref().into_iter().for_each(Shared::verify_waiting);
            }));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..(cores / 2).clamp(1, MAX_THREADS) {
            let shared = pool.0.clone();
            let thread = std::thread::Builder::new().name("verification".into());
            thread.spawn(move || shared.run())?;
        }
        Ok(Self { checks, pool: Some(Arc::new(pool)) })
    }

    /// The result, if it is quick to find; otherwise it comes as mail. Fails if too many tokens
    /// wait.
    pub(crate) fn verify(&self, job: Job) -> Option<VerifiedToken> {
        match &self.pool {
            Some(pool) if self.checks.verifier.is_costly(&job.token) => match pool.0.push(job) {
                Ok(()) => None,
                Err(job) => Some(self.checks.give_up(job)),
            },
            _ => Some(self.checks.verify(job)),
        }
    }
}

impl Job {
    fn with(self, result: Result<Auth, AuthRefusal>) -> VerifiedToken {
        VerifiedToken { asker: self.asker, result, resume: self.resume, facts: None }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.token.len() + self.resume.as_ref().map_or(0, |text| text.len())
    }
}

/// On Linux this is a property of the thread; elsewhere it would be one of the whole process.
fn give_way_to_loops() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "tokens are verified at the priority of the loops");
    }
}

impl Shared {
    fn push(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.queue();
        let bytes = queue.bytes + job.bytes();
        if bytes > MAX_QUEUED_BYTES {
            return Err(job);
        }
        queue.bytes = bytes;
        queue.jobs.push_back(job);
        drop(queue);
        self.has_changed.notify_one();
        Ok(())
    }

    /// The next tokens; nothing once nobody is left to ask.
    fn take(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue();
        while queue.jobs.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.has_changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.jobs.len().min(BATCH_JOBS);
        let jobs: Vec<Job> = queue.jobs.drain(..count).collect();
        queue.bytes -= jobs.iter().map(Job::bytes).sum::<usize>();
        if queue.jobs.is_empty() {
            // What a herd has left behind.
            queue.jobs = VecDeque::new();
        }
        Some(jobs)
    }

    fn run(&self) {
        give_way_to_loops();
        while let Some(jobs) = self.take() {
            let mut batches: Vec<Vec<Mail>> = self.mailboxes.iter().map(|_| Vec::new()).collect();
            for job in jobs {
                let Some(token) = self.verify_or_keep(job) else { continue };
                if let Some(batch) = batches.get_mut(usize::from(token.asker.peer.0)) {
                    batch.push(Mail::Verified(Box::new(token)));
                }
            }
            for (mailbox, batch) in self.mailboxes.iter().zip(batches) {
                if !batch.is_empty() {
                    mailbox.answer(batch);
                }
            }
        }
    }

    /// The result; nothing if the token waits for its key.
    fn verify_or_keep(&self, job: Job) -> Option<VerifiedToken> {
        let now_unix_ms = clock::unix_ms();
        let result = contain(|| self.checks.verifier.verify(&job.token, now_unix_ms));
        let job = match &result {
            Ok(Err(error)) if error.is_of_missing_key() => self.keep(job)?,
            _ => job,
        };
        Some(match result {
            Ok(result) => self.checks.done(job, result, now_unix_ms),
            Err(_) => {
                tracing::error!("a fault in the verification of a token");
                self.checks.give_up(job)
            }
        })
    }

    /// Takes a token that names an unknown key, and gives it back if it is not to wait.
    fn keep(&self, job: Job) -> Option<Job> {
        let Some(renewal) = self.checks.verifier.renewal() else { return Some(job) };
        if renewal.unknown_key(Instant::now()) == Unknown::GiveUp {
            return Some(job);
        }
        let mut queue = self.queue();
        let bytes = queue.bytes + job.bytes();
        if bytes > MAX_QUEUED_BYTES {
            return Some(job);
        }
        queue.bytes = bytes;
        // The fetch ends before it has those that wait verified, so none is left behind.
        if renewal.is_pending() {
            queue.waiting.push(job);
        } else {
            queue.jobs.push_back(job);
        }
        None
    }

    /// Has those that wait verified with the keys that are in force now.
    fn verify_waiting(&self) {
        let mut queue = self.queue();
        let waiting = std::mem::take(&mut queue.waiting);
        queue.jobs.extend(waiting);
        drop(queue);
        self.has_changed.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics halfway through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.queue().is_closed = true;
        self.0.has_changed.notify_all();
    }
}

impl Checks {
    fn verify(&self, job: Job) -> VerifiedToken {
        let now_unix_ms = clock::unix_ms();
        let result = self.verifier.verify(&job.token, now_unix_ms);
        self.done(job, result, now_unix_ms)
    }

    fn done(&self, job: Job, result: Result<Auth, TokenError>, now_unix_ms: u64) -> VerifiedToken {
        let facts = || Box::new(self.verifier.facts(&job.token, &result, now_unix_ms));
        let facts = (self.remembers == Remembers::Causes).then(facts);
        let counted = result.as_ref().map_or_else(|error| (*error).into(), |_| TokenResult::Valid);
        self.counts.tokens.observe(counted, job.came);
        if let Err(error) = &result {
            self.report(error);
        }
        let verified = job.with(result.map_err(|error| match error {
            TokenError::NoKey => AuthRefusal::NoKey,
            TokenError::KeysNotFetched => AuthRefusal::Unavailable,
            error => AuthRefusal::Bad(error.to_string().into()),
        }));
        VerifiedToken { facts, ..verified }
    }

    /// The sentence quotes nothing of the token.
    fn report(&self, error: &TokenError) {
        if let Some(left_out) = self.refusals.take(Instant::now()) {
            tracing::info!(reason = %error, left_out, "a token was refused");
        }
    }

    fn give_up(&self, job: Job) -> VerifiedToken {
        self.counts.tokens.observe(TokenResult::Unavailable, job.came);
        job.with(Err(AuthRefusal::Unavailable))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn niceness_of_this_thread() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux has it");
        // The name is in brackets and may hold blanks; the niceness is the 17th field behind it.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        fields.split(' ').nth(16).and_then(|field| field.parse().ok()).expect("a number")
    }

    #[test]
    fn a_thread_that_verifies_gives_way_to_the_loops_and_lowers_no_other_thread() {
        let before = niceness_of_this_thread();
        let lowered = std::thread::spawn(|| {
            give_way_to_loops();
            niceness_of_this_thread()
        });
        let lowered = lowered.join().expect("it does not panic");
        // 19 is the lowest priority that there is.
        assert_eq!(lowered, (before + NICENESS).min(19));
        assert_eq!(niceness_of_this_thread(), before);
    }
}

//! Questions that wait for a rule: those of requests and those of reviews. Two bounded queues that
//! are taken from in turn, so that a reload delays no request for long, and no flood of requests
//! keeps rights from being revoked. Senders never wait and take no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};

use herenow_core::Peer;
use herenow_hub::Purpose;

use super::pool::{Job, Unavailable};

/// Where questions are put.
#[derive(Debug)]
pub(super) struct Queue {
    requests: SyncSender<Item>,
    reviews: SyncSender<Job>,
    waiting_reviews: Arc<[AtomicUsize]>,
}

/// Where they are taken from.
#[derive(Debug)]
pub(super) struct Waiting {
    requests: Receiver<Item>,
    reviews: Receiver<Job>,
    waiting_reviews: Arc<[AtomicUsize]>,
    next: Purpose,
}

#[derive(Debug)]
enum Item {
    Request(Job),
    /// A review's question waits in the other queue: only this one can be waited at.
    LookAtReviews,
}

/// Questions of requests that may wait. At 5 µs each they are answered in 20 ms; the bound is for the
/// day on which a rule takes all the time it may.
const QUEUED_REQUESTS: usize = 4096;
/// Questions of reviews that may wait.
const QUEUED_REVIEWS: usize = 4096;
/// Questions of reviews with which all loops together stop to begin further reviews. Enough that the
/// threads have work while a loop turns. Reviews that have begun may add to it.
const FILLED_WITH_REVIEWS: usize = 256;
/// What of it a loop has at least.
const MIN_SHARE: usize = 4;

/// Queues for so many loops.
pub(super) fn queue(loops: usize) -> (Queue, Waiting) {
    let (requests, waiting_requests) = sync_channel(QUEUED_REQUESTS);
    let (reviews, waiting) = sync_channel(QUEUED_REVIEWS);
    let waiting_reviews: Arc<[AtomicUsize]> = (0..loops).map(|_| AtomicUsize::new(0)).collect();
    let queue = Queue { requests, reviews, waiting_reviews: waiting_reviews.clone() };
    let next = Purpose::Request;
    (queue, Waiting { requests: waiting_requests, reviews: waiting, waiting_reviews, next })
}

impl Queue {
    pub(super) fn put(&self, job: Job) -> Result<(), Unavailable> {
        match job.purpose {
            Purpose::Request => self.requests.try_send(Item::Request(job)).map_err(|_| Unavailable),
            Purpose::Review => {
                let waiting = &self.waiting_reviews[usize::from(job.asker.peer.0)];
                waiting.fetch_add(1, Ordering::Relaxed);
                if self.reviews.try_send(job).is_err() {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    return Err(Unavailable);
                }
                // A full queue has all threads at work, and they look by themselves.
                let _ = self.requests.try_send(Item::LookAtReviews);
                Ok(())
            }
        }
    }

    /// Whether a loop may begin another review.
    pub(super) fn takes_reviews(&self, peer: Peer) -> bool {
        let loops = self.waiting_reviews.len();
        let share = (FILLED_WITH_REVIEWS / loops).max(MIN_SHARE);
        self.waiting_reviews[usize::from(peer.0)].load(Ordering::Relaxed) < share
    }
}

impl Waiting {
    /// The next question, when there is one. Fails when there will never be one again.
    pub(super) fn take(&mut self) -> Result<Job, RecvError> {
        loop {
            match self.try_take() {
                Ok(job) => return Ok(job),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => {}
            }
            if let Ok(Item::Request(job)) = self.requests.recv() {
                self.next = Purpose::Review;
                return Ok(job);
            }
        }
    }

    /// The next question, if one waits.
    pub(super) fn try_take(&mut self) -> Result<Job, TryRecvError> {
        let first = self.next;
        let second = match first {
            Purpose::Request => Purpose::Review,
            Purpose::Review => Purpose::Request,
        };
        let first_end = match self.try_take_of(first) {
            Ok(job) => {
                self.next = second;
                return Ok(job);
            }
            Err(end) => end,
        };
        match (self.try_take_of(second), first_end) {
            (Err(TryRecvError::Disconnected), TryRecvError::Empty) => Err(TryRecvError::Empty),
            (taken, _) => taken,
        }
    }

    fn try_take_of(&self, purpose: Purpose) -> Result<Job, TryRecvError> {
        if purpose == Purpose::Review {
            let job = self.reviews.try_recv()?;
            let waiting = &self.waiting_reviews[usize::from(job.asker.peer.0)];
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Ok(job);
        }
        loop {
            if let Item::Request(job) = self.requests.try_recv()? {
                return Ok(job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Asker;
    use crate::access::engine::RuleFunction;
    use herenow_wire::{ChannelName, ConnectionId};

    fn job(purpose: Purpose, peer: u16) -> Job {
        let connection = ConnectionId::from_bytes([0; 16]);
        Job {
            asker: Asker { peer: Peer(peer), slot: 0, connection, generation: 0 },
            purpose,
            channel: ChannelName::parse("presence:x").expect("a good name"),
            user: None,
            claims: None,
            row: 0,
            function: RuleFunction::Subscribe,
            asked: std::time::Instant::now(),
        }
    }

    #[test]
    fn a_flood_of_requests_and_a_reload_get_every_other_turn() {
        let (queue, mut waiting) = queue(2);
        while queue.put(job(Purpose::Request, 0)).is_ok() {}
        let mut reviews = 0;
        while queue.takes_reviews(Peer(1)) {
            queue.put(job(Purpose::Review, 1)).expect("it takes reviews");
            reviews += 1;
        }
        assert_eq!(reviews, FILLED_WITH_REVIEWS / 2);
        let taken: Vec<Purpose> =
            (0..2 * reviews).map(|_| waiting.take().expect("they wait").purpose).collect();
        let of_requests = taken.iter().filter(|purpose| **purpose == Purpose::Request).count();
        assert_eq!(of_requests, reviews);
        assert!(queue.takes_reviews(Peer(1)));
    }

    #[test]
    fn a_review_that_waits_alone_is_taken_and_the_end_comes_after_it() {
        let (queue, mut waiting) = queue(1);
        queue.put(job(Purpose::Review, 0)).expect("there is room");
        drop(queue);
        assert_eq!(waiting.take().expect("it waits").purpose, Purpose::Review);
        assert_eq!(waiting.take().err(), Some(RecvError));
    }
}

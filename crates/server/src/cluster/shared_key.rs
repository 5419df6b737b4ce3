//! The key that signs resume tokens is one for the whole cluster, so that a client may come back to any node. The
//! bucket holds it: the first node makes it by a swap. If the bucket is lost, nodes that know the key put it there again,
//! at once, and a node that has just started leaves it to them: another key would end every token that clients hold.

use std::time::Duration;

use async_nats::Client;
use herenow_cluster::{Read, Revision, Swapped};
use tokio::time::Instant;

use super::requests::{self, Failure};
use super::subjects::Subjects;
use crate::auth::KeyBytes;

/// How often the bucket is asked: it may have been lost.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while the key is not known.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// For how long a node that has never had the key leaves it to others in its view to put it there. They notice within a
/// second that the bucket was lost.
const OTHERS_FIRST: Duration = Duration::from_secs(3);

/// When the bucket is asked for the key.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    is_asked: bool,
    has_key: bool,
    joined_at: Option<Instant>,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self { due: Instant::now(), is_asked: false, has_key: false, joined_at: None }
    }

    /// Whether to ask now. If so, it counts as asked.
    pub(super) fn takes_turn(&mut self) -> bool {
        let is_due = !self.is_asked && self.due <= Instant::now();
        self.is_asked |= is_due;
        is_due
    }

    /// The node is in a view.
    pub(super) fn joined(&mut self) {
        self.joined_at.get_or_insert_with(Instant::now);
        self.due = Instant::now();
    }

    /// The bucket holds nothing, or is not there.
    pub(super) fn is_lost(&mut self) {
        if self.has_key {
            self.due = Instant::now();
        }
    }

    /// Whether this node's key is to become that of the cluster if there is none. There are so many nodes.
    pub(super) fn may_put(&self, nodes: usize) -> bool {
        let is_last = |joined_at: Instant| nodes == 1 || joined_at.elapsed() >= OTHERS_FIRST;
        self.has_key || self.joined_at.is_some_and(is_last)
    }

    pub(super) fn until_due(&self) -> Duration {
        if self.is_asked {
            return LOOK_EVERY;
        }
        self.due.saturating_duration_since(Instant::now())
    }

    pub(super) fn answered<T>(&mut self, answer: &Result<KeyBytes, T>) {
        self.is_asked = false;
        self.has_key |= answer.is_ok();
        self.due = Instant::now() + if answer.is_ok() { LOOK_EVERY } else { RETRY_AFTER };
    }
}

/// The key of the cluster, which becomes `own` if there was none.
pub(super) async fn share(
    client: &Client,
    subjects: &Subjects,
    own: Option<KeyBytes>,
) -> Result<KeyBytes, Failure> {
    let name = subjects.resume_key();
    let revision = match requests::read(client, subjects, name.clone()).await? {
        Read::Found(revision, value) => match KeyBytes::try_from(value) {
            Ok(key) => return Ok(key),
            // What cannot be one is written over.
            Err(_) => revision,
        },
        Read::Absent => Revision::default(),
        Read::Unknown => return Err(Failure::NoAnswer),
    };
    let own = own.ok_or(Failure::NoAnswer)?;
    match requests::swap(client, name, (revision, own.to_vec())).await? {
        Swapped::Done(_) => Ok(own),
        // Another node was faster: its key is read next time.
        Swapped::Conflict | Swapped::Unknown => Err(Failure::NoAnswer),
    }
}

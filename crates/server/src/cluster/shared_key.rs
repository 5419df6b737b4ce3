//! The key that signs resume tokens is one for the whole cluster, so that a client may come back to any node. The
//! bucket holds it: the first node makes it by a swap, and each that finds none puts its own there.

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

/// When the bucket is asked for the key.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    is_asked: bool,
}

impl Schedule {
    pub(super) fn new() -> Self {
        Self { due: Instant::now(), is_asked: false }
    }

    /// Whether to ask now. If so, it counts as asked.
    pub(super) fn takes_turn(&mut self) -> bool {
        let is_due = !self.is_asked && self.due <= Instant::now();
        self.is_asked |= is_due;
        is_due
    }

    pub(super) fn until_due(&self) -> Duration {
        if self.is_asked {
            return LOOK_EVERY;
        }
        self.due.saturating_duration_since(Instant::now())
    }

    pub(super) fn answered<T>(&mut self, answer: &Result<KeyBytes, T>) {
        self.is_asked = false;
        self.due = Instant::now() + if answer.is_ok() { LOOK_EVERY } else { RETRY_AFTER };
    }
}

/// The key of the cluster, which is `own` if there was none.
pub(super) async fn share(
    client: &Client,
    subjects: &Subjects,
    own: KeyBytes,
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
    match requests::swap(client, name, (revision, own.to_vec())).await? {
        Swapped::Done(_) => Ok(own),
        // Another node was faster: its key is read next time.
        Swapped::Conflict | Swapped::Unknown => Err(Failure::NoAnswer),
    }
}

//! An upgrade without a gap: a running server starts the program anew, gives it the sockets that
//! listen, and stops when the new process serves. Whatever goes wrong before, the old one serves on.
//!
//! Both speak over a pair of sockets, which is the standard input of the new process:
//!
//! 1. old: an [`Offer`] as JSON, with the listening sockets beside it
//! 2. new: [`READY`], when its configuration, its keys and its loops are good; or [`FAILED`] and why
//!    they are not
//! 3. old: [`GO`], and takes no connections from here on; the new one takes them
//!
//! If either ends before, the other one reads the end of the stream.

mod outcome;
mod predecessor;
mod requester;
mod successor;

pub use outcome::Outcome;
pub use predecessor::{Predecessor, has_predecessor, report_failure};
pub use requester::{UpgradeError, upgrade};
pub use successor::{Handover, Program};

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::listen::MAX_PLACES;

/// Why no process took over from another.
#[derive(Debug)]
pub enum HandoverError {
    /// The new process could not be started.
    Start(io::Error),
    /// The new process cannot serve, for this reason.
    Refused(String),
    /// The new process ended before it was ready, and gave no reason here.
    Ended(ExitStatus),
    /// The new process was not ready in time and was ended.
    TooSlow,
    /// The two could not speak with each other.
    Channel(io::Error),
    /// Where it would end, all would end: this process is the first of its container.
    FirstProcess,
    /// The new process would be another node of the cluster.
    Clustered,
    /// This process was to take over, and the one before has gone or changed its mind.
    NoPredecessor,
}

/// What the old process gives.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    /// What each of the sockets listens on, as the operator wrote it.
    places: Vec<String>,
    /// Over how long the clients of the old process come back.
    return_within_ms: u64,
}

/// Set for a process that is to take over.
const VARIABLE: &str = "HERENOW_HANDOVER";
const READY: &[u8] = b"ready\n";
/// As long as [`READY`]. The reason follows.
const FAILED: &[u8] = b"error\n";
const GO: &[u8] = b"go\n";

/// Public listeners and the one for metrics.
const MAX_SOCKETS: usize = MAX_PLACES + 1;
/// The longest offer: an address or the path of a socket for each.
const MAX_OFFER_BYTES: usize = 4096;
/// The longest reason. What is beyond is cut off.
const MAX_REASON_BYTES: usize = 1024;

/// How long the new process may take: reading a configuration alone may take ten seconds.
const READY_TIME: Duration = Duration::from_secs(30);
/// How long the old process may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "the new process could not be started: {error}"),
            Self::Refused(reason) => write!(f, "the new process cannot serve: {reason}"),
            Self::Ended(status) => {
                write!(f, "the new process ended ({status}); its last line says why")
            }
            Self::TooSlow => write!(
                f,
                "the new process was not ready within {} s and was ended",
                READY_TIME.as_secs()
            ),
            Self::Channel(error) => write!(f, "the two processes cannot communicate: {error}"),
            Self::FirstProcess => f.write_str(
                "this is the first process of a container, which would end with it. Start a new \
                 container instead",
            ),
            Self::Clustered => f.write_str(
                "a node of a cluster is replaced by a restart: its clients go to the other nodes \
                 meanwhile. Restart one node after the other",
            ),
            Self::NoPredecessor => f.write_str(
                "this process was started to take over from another one, which has ended or keeps serving",
            ),
        }
    }
}

impl std::error::Error for HandoverError {}

//! The border between the front door and the event loops: what a loop is given when a socket has
//! been upgraded, and what it tells of itself. Knows no HTTP.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use herenow_wire::{DefaultChannel, ErrorCode};

use crate::admission::Newcomer;
use crate::auth::Verifier;
use crate::config::Settings;

/// An upgraded socket on its way to a loop.
#[derive(Debug)]
pub struct Adopted {
    /// Nonblocking, with `TCP_NODELAY`.
    pub stream: TcpStream,
    /// What arrived behind the request's head: the client's first frames.
    pub first_bytes: Vec<u8>,
    /// The channel of messages that name none.
    pub default_channel: DefaultChannel,
    /// Dropped as soon as the connection signs in, joins a public channel, or ends.
    pub newcomer: Option<Newcomer>,
}

/// The running loops. Clones speak to the same loops.
#[derive(Clone, Debug)]
pub struct Loops {}

/// Counts of all loops together, since the start unless they say "now".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoopsMetrics {
    /// Connections now.
    pub connections: u64,
    /// Entries now.
    pub entries: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Channels now that somebody subscribes to or tracks in.
    pub channels: u64,
    /// Connections that loops took over.
    pub connections_adopted: u64,
    /// Whole frames read.
    pub frames_in: u64,
    /// Frames handed to sockets.
    pub frames_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Flushes of a channel.
    pub flushes: u64,
    /// Updates that a newer one of the same entry replaced before anybody was told.
    pub updates_merged: u64,
    /// Times a slow subscriber's deltas were dropped for one snapshot.
    pub slow_subscriber_drops: u64,
    /// Refusals sent, by code.
    pub errors: Vec<(ErrorCode, u64)>,
    /// Messages now waiting in the queues of the loops.
    pub queued: u64,
}

impl Loops {
    /// Starts one thread per loop.
    pub fn start(settings: Arc<Settings>, verifier: Arc<Verifier>) -> std::io::Result<Self> {
        let _ = (settings, verifier);
        Ok(Self {})
    }

    /// Hands a socket to a loop; gives it back when the loop's queue is full.
    // The refused socket is the error: boxing it would cost every adoption an allocation.
    #[allow(clippy::result_large_err)]
    pub fn adopt(&self, adopted: Adopted) -> Result<(), Adopted> {
        Err(adopted)
    }

    /// Connections held now.
    pub fn connections(&self) -> usize {
        0
    }

    /// The counts of all loops, summed.
    pub fn metrics(&self) -> LoopsMetrics {
        LoopsMetrics::default()
    }

    /// Closes every connection with 1012 and returns when all are gone or the time is over. Blocks.
    pub fn shut_down(&self, within: Duration) {
        let _ = within;
    }
}

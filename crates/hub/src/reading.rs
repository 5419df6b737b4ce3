//! How much is read in one turn: a budget for the loop, a share of it for each socket, and when to
//! stop in the middle of what one read gave. Knows frames and counts; refuses to know sockets.
//!
//! A small frame costs as much as its refusal, whatever its bytes, so frames are counted and not
//! bytes alone. A socket that is not done goes to the end of the line: nobody waits longer than it
//! takes to give every other socket its share once.

use herenow_wire::frame::{Chunk, FrameError, Inbound, Reader};

/// What a turn may still read.
#[derive(Debug)]
pub(crate) struct TurnBudget {
    frames: usize,
    bytes: usize,
}

/// What one socket may still be read in one turn.
#[derive(Debug)]
pub(crate) struct Share {
    given_frames: usize,
    left_frames: usize,
}

/// Whether a socket is to be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    /// Its replies fill its send queue.
    Backpressured,
    /// It is closed.
    Closed,
}

/// Why reading a chunk stopped. The reader keeps what was not looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The chunk is used up.
    AtEnd,
    /// The socket has had its share, or may not be read on for now.
    Early,
    /// The socket is closed: the rest is of no interest.
    Closed,
    /// What comes next breaks the rules.
    Broken(FrameError),
}

/// Frames read in one turn, over all sockets: one or two milliseconds' worth.
const FRAMES_PER_TURN: usize = 2048;
/// Bytes read in one turn, over all sockets.
const BYTES_PER_TURN: usize = 512 * 1024;
/// Frames read from one socket in one turn.
const FRAMES_PER_SHARE: usize = 32;
/// Bytes read at once from one socket, and so the most that waits for its next share.
pub const READ_BYTES: usize = 16 * 1024;
/// The same for a socket that has not authenticated.
pub(crate) const UNAUTHENTICATED_READ_BYTES: usize = 4 * 1024;
/// The longest message of a connection that has not authenticated: room for the longest token. A
/// higher `maxFrameBytes` counts from then on.
pub(crate) const UNAUTHENTICATED_MESSAGE_BYTES: usize = 16 * 1024;

impl TurnBudget {
    /// Half of a turn is for what was read before, half for what sockets bring: neither keeps the
    /// other waiting.
    pub(crate) fn half_turn() -> Self {
        Self { frames: FRAMES_PER_TURN / 2, bytes: BYTES_PER_TURN / 2 }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }

    /// What the next socket may be read.
    pub(crate) fn share(&self) -> Share {
        let frames = self.frames.min(FRAMES_PER_SHARE);
        Share { given_frames: frames, left_frames: frames }
    }

    /// Takes off what a socket was read. To have looked at it costs as much as a frame.
    pub(crate) fn charge(&mut self, share: &Share, bytes: usize) {
        let frames = (share.given_frames - share.left_frames).max(1);
        self.frames = self.frames.saturating_sub(frames);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Flow {
    /// For a socket for which so many bytes of replies wait, those of this turn included: one turn
    /// alone could make them grow without a bound.
    pub(crate) fn of_queue(reply_bytes: usize, max_queue_bytes: usize) -> Self {
        if reply_bytes < max_queue_bytes { Self::Continue } else { Self::Backpressured }
    }
}

/// Hands the frames in `chunk` to `inbound` one by one, as far as the share goes and the socket is
/// to be read. `inbound` says after each how to go on.
pub(crate) fn read_frames(
    (reader, max_message_bytes): (&mut Reader, usize),
    chunk: &mut Chunk<'_>,
    share: &mut Share,
    mut inbound: impl FnMut(Inbound<'_>) -> Flow,
) -> Stopped {
    while share.left_frames > 0 {
        let flow = match reader.next(chunk, max_message_bytes) {
            Ok(Some(frame)) => {
                share.left_frames -= 1;
                inbound(frame)
            }
            Ok(None) => return Stopped::AtEnd,
            Err(error) => return Stopped::Broken(error),
        };
        match flow {
            Flow::Continue => {}
            Flow::Backpressured => break,
            Flow::Closed => return Stopped::Closed,
        }
    }
    reader.keep_unread(chunk);
    Stopped::Early
}

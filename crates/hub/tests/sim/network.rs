//! The links between clients and loops. What is sent on one lane of a link arrives in order, late
//! or never; lanes know nothing of each other. A link may stall, be cut, or swallow everything
//! without a word to either end.

use std::collections::VecDeque;

use herenow_core::Instant;
use herenow_hub::Opening;

/// Which link. Never used again.
pub type LinkId = usize;

#[derive(Default)]
pub struct Network {
    links: Vec<Link>,
}

/// One socket, from the first packet on.
pub struct Link {
    pub up: Lane<Up>,
    pub down: Lane<Down>,
    /// The client's kernel says that so many bytes were taken. A lane of its own, since it is heard
    /// whether the server reads or not.
    pub taken: Lane<usize>,
    /// Bytes that the client has not taken yet, as far as the server's kernel knows.
    pub untaken_bytes: usize,
    /// When the last byte of each whole frame arrives at the server: what a lease is counted from.
    pub frames_due: VecDeque<FrameEnd>,
    /// Bytes that the client has sent in all.
    pub sent_bytes: u64,
}

/// Where a frame of the client ends.
#[derive(Clone, Copy, Debug)]
pub struct FrameEnd {
    /// So many bytes of the link in all.
    pub at_byte: u64,
}

/// What goes to the server.
#[derive(Debug)]
pub enum Up {
    /// A socket is to be opened.
    Open(Opening),
    /// A piece of the stream, cut anywhere.
    Bytes(Vec<u8>),
    /// The end of the stream, orderly or not.
    End,
}

/// What goes to the client.
#[derive(Debug)]
pub enum Down {
    /// The WebSocket stands.
    Opened,
    /// A piece of the stream, and where that ends.
    Bytes(Vec<u8>, PieceEnd),
    End,
}

/// Where a piece of what a server sends ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceEnd {
    /// Behind all that the server wrote at once: replies, and flushes as a whole.
    Whole,
    /// Somewhere in it.
    Somewhere,
}

/// One direction of a link.
pub struct Lane<T> {
    under_way: VecDeque<(Instant, T)>,
    not_before: Instant,
    swallows: bool,
}

impl Network {
    pub fn open(&mut self) -> LinkId {
        self.links.push(Link {
            up: Lane::default(),
            down: Lane::default(),
            taken: Lane::default(),
            untaken_bytes: 0,
            frames_due: VecDeque::new(),
            sent_bytes: 0,
        });
        self.links.len() - 1
    }

    pub fn link(&mut self, link: LinkId) -> &mut Link {
        &mut self.links[link]
    }
}

impl Link {
    /// Both ends hear of it; what was under way is lost.
    pub fn cut(&mut self, at: Instant) {
        self.up.cut(Up::End, at);
        self.down.cut(Down::End, at);
        self.taken.swallow();
    }

    /// Only the client hears of it by itself: who writes to it has just been told.
    pub fn cut_down(&mut self, at: Instant) {
        self.swallow_up();
        self.down.cut(Down::End, at);
    }

    /// Neither end hears of it.
    pub fn swallow(&mut self) {
        self.swallow_up();
        self.down.swallow();
    }

    /// Nothing reaches the server any more.
    pub fn swallow_up(&mut self) {
        self.up.swallow();
        self.taken.swallow();
    }

    /// Nothing reaches the server for so long.
    pub fn stall_up(&mut self, until: Instant) {
        self.up.stall(until);
        self.taken.stall(until);
    }

    /// The server has read up to this byte. Whether a frame has ended by then.
    pub fn has_read_frames(&mut self, up_to_byte: u64) -> bool {
        let mut any = false;
        while self.frames_due.front().is_some_and(|end| end.at_byte <= up_to_byte) {
            self.frames_due.pop_front();
            any = true;
        }
        any
    }
}

impl<T> Lane<T> {
    pub fn send(&mut self, what: T, at: Instant) {
        if !self.swallows {
            self.not_before = self.not_before.max(at);
            self.under_way.push_back((self.not_before, what));
        }
    }

    /// When something arrives next.
    pub fn next_at(&self) -> Instant {
        self.under_way.front().map_or(Instant::NEVER, |(at, _)| *at)
    }

    /// What has arrived, and when.
    pub fn receive(&mut self, now: Instant) -> Option<(Instant, T)> {
        (self.next_at() <= now).then(|| self.under_way.pop_front()).flatten()
    }

    /// What has arrived first, and stays.
    pub fn front(&self, now: Instant) -> Option<&T> {
        self.under_way.front().filter(|(at, _)| *at <= now).map(|(_, what)| what)
    }

    /// Nothing arrives for so long; then everything does.
    pub fn stall(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
        for (at, _) in &mut self.under_way {
            *at = until.max(*at);
        }
    }

    pub fn swallow(&mut self) {
        self.under_way.clear();
        self.swallows = true;
    }

    fn cut(&mut self, end: T, at: Instant) {
        if !self.swallows {
            self.under_way.clear();
            self.under_way.push_back((at, end));
            self.swallows = true;
        }
    }
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { under_way: VecDeque::new(), not_before: Instant::default(), swallows: false }
    }
}

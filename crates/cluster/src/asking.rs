//! Requests from node to node, apart from the streams: what this node asks others and what others ask it.
//! A request is sent again until it is answered or given up. The receiver remembers each request for
//! longer than that, so that one that comes again is answered again and not carried out twice.
//! What a request means is not known here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use herenow_core::Instant;
use herenow_wire::link::{Incarnation, Part, Parts};

use crate::view::View;

/// The number of a request of this node. It is never used again in one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AskId(pub u64);

/// Why there is no answer. The request may have been carried out all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskError {
    /// The node did not answer within [`GIVE_UP_AFTER`], or is not in the view.
    Silent,
    /// The request is larger than [`MAX_MESSAGE_BYTES`], or too many requests are open. It was not sent.
    NoRoom,
}

/// How long a node may take to answer.
pub const GIVE_UP_AFTER: Duration = Duration::from_millis(2000);
/// The largest request and the largest response.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// How often a request is sent that is not answered.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A request may come as late after the first one as it is repeated and an engine delays it.
const REMEMBER_FOR: Duration = Duration::from_millis(6000);
/// Requests of this node that wait for an answer.
const MAX_OPEN: usize = 1024;
/// Their bytes.
const MAX_OPEN_BYTES: usize = 32 * 1024 * 1024;
/// Requests of other nodes that are remembered.
const MAX_REMEMBERED: usize = 8192;
/// The bytes of their parts and answers. The oldest answer makes room for a new one.
const MAX_REMEMBERED_BYTES: usize = 64 * 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    open: BTreeMap<AskId, Open>,
    open_bytes: usize,
    remembered: BTreeMap<Asker, Remembered>,
    /// In the order in which they first came, with when they are forgotten.
    by_age: VecDeque<(Instant, Asker)>,
    remembered_bytes: usize,
}

/// Which request of which node.
type Asker = (Incarnation, u64);

#[derive(Debug)]
struct Open {
    to: Incarnation,
    body: Arc<[u8]>,
    until: Instant,
    again_at: Instant,
    answer: Parts,
}

/// A request of another node.
#[derive(Debug)]
enum Remembered {
    /// Not all of its parts have come.
    Coming(Parts),
    /// It is being carried out.
    Asked,
    /// This is the answer.
    Answered(Arc<[u8]>),
    /// It was answered, and the answer has made room for others.
    Dropped,
}

/// What follows from a part of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing.
    Nothing,
    /// The request is whole: it is to be carried out.
    Whole(Vec<u8>),
    /// It was answered before: this is sent again.
    Again(Arc<[u8]>),
}

impl Asking {
    /// Asks a node of the view from here on.
    pub(crate) fn ask(
        &mut self,
        (id, to): (AskId, Incarnation),
        body: Arc<[u8]>,
        now: Instant,
    ) -> Result<(), AskError> {
        let bytes = body.len();
        if bytes > MAX_MESSAGE_BYTES
            || self.open.len() >= MAX_OPEN
            || self.open_bytes + bytes > MAX_OPEN_BYTES
        {
            return Err(AskError::NoRoom);
        }
        let answer = Parts::default();
        let open = Open { to, body, until: now + GIVE_UP_AFTER, again_at: now, answer };
        self.open_bytes += bytes;
        if let Some(before) = self.open.insert(id, open) {
            debug_assert!(false, "the number of a request is used once");
            self.open_bytes -= before.body.len();
        }
        Ok(())
    }

    /// A part of a response came. Gives the answer with the part that completes it.
    pub(crate) fn response(
        &mut self,
        from: Incarnation,
        part: &Part<'_>,
    ) -> Option<(AskId, Vec<u8>)> {
        let id = AskId(part.id);
        let open = self.open.get_mut(&id).filter(|open| open.to == from)?;
        let body = open.answer.take(part, MAX_MESSAGE_BYTES).ok()??;
        self.close(id);
        Some((id, body))
    }

    /// A part of a request of another node came.
    pub(crate) fn request(&mut self, from: Incarnation, part: &Part<'_>, now: Instant) -> Came {
        let asker = (from, part.id);
        if !self.remembered.contains_key(&asker) {
            if self.remembered.len() >= MAX_REMEMBERED {
                return Came::Nothing;
            }
            self.by_age.push_back((now + REMEMBER_FOR, asker));
            self.remembered.insert(asker, Remembered::Coming(Parts::default()));
        }
        if let Some(Remembered::Coming(_)) = self.remembered.get(&asker) {
            self.make_room(part.bytes.len());
        }
        match self.remembered.get_mut(&asker) {
            Some(Remembered::Coming(parts)) => {
                if self.remembered_bytes + part.bytes.len() > MAX_REMEMBERED_BYTES {
                    return Came::Nothing;
                }
                let before = parts.held_bytes();
                let taken = parts.take(part, MAX_MESSAGE_BYTES);
                self.remembered_bytes = self.remembered_bytes + parts.held_bytes() - before;
                let Ok(Some(body)) = taken else { return Came::Nothing };
                self.remembered.insert(asker, Remembered::Asked);
                Came::Whole(body)
            }
            // One part of a request that comes again is enough to send the answer again.
            Some(Remembered::Answered(answer)) if part.index == 0 => {
                Came::Again(Arc::clone(answer))
            }
            _ => Came::Nothing,
        }
    }

    /// This node answers. Gives what is to be sent, unless the request is forgotten.
    pub(crate) fn answer(&mut self, asker: Asker, body: Vec<u8>) -> Option<Arc<[u8]>> {
        let is_asked = matches!(self.remembered.get(&asker), Some(Remembered::Asked));
        if !is_asked || body.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        self.make_room(body.len());
        self.remembered_bytes += body.len();
        let body: Arc<[u8]> = body.into();
        self.remembered.insert(asker, Remembered::Answered(Arc::clone(&body)));
        Some(body)
    }

    /// Gives up the requests to nodes that are not in the view.
    pub(crate) fn keep(&mut self, view: &View) -> Vec<AskId> {
        self.close_if(|open| view.node(open.to).is_none())
    }

    /// Gives up every request: this node goes on as another. It forgets what others have asked.
    pub(crate) fn restart(&mut self) -> Vec<AskId> {
        let given_up = self.close_if(|_| true);
        *self = Self::default();
        given_up
    }

    /// Gives up the requests that were not answered in time, and forgets those of other nodes whose
    /// time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<AskId> {
        while let Some((_, asker)) = self.by_age.pop_front_if(|(until, _)| *until <= now) {
            if let Some(forgotten) = self.remembered.remove(&asker) {
                self.remembered_bytes -= forgotten.held_bytes();
            }
        }
        self.close_if(|open| open.until <= now)
    }

    /// The requests that are to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(AskId, Incarnation, Arc<[u8]>)> {
        let due = self.open.iter_mut().filter(|(_, open)| open.again_at <= now);
        due.map(|(id, open)| {
            open.again_at = now + ASK_EVERY;
            (*id, open.to, Arc::clone(&open.body))
        })
        .collect()
    }

    /// When to ask again, to give up, or to forget.
    pub(crate) fn next_deadline(&self) -> Instant {
        let open = self.open.values().map(|open| open.again_at.min(open.until));
        let oldest = self.by_age.front().map(|(until, _)| *until);
        open.chain(oldest).min().unwrap_or(Instant::NEVER)
    }

    /// Whether no request of this node waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    fn make_room(&mut self, bytes: usize) {
        for (_, asker) in &self.by_age {
            if self.remembered_bytes + bytes <= MAX_REMEMBERED_BYTES {
                return;
            }
            if let Some(remembered @ Remembered::Answered(_)) = self.remembered.get_mut(asker) {
                self.remembered_bytes -= remembered.held_bytes();
                *remembered = Remembered::Dropped;
            }
        }
    }

    fn close_if(&mut self, is_over: impl Fn(&Open) -> bool) -> Vec<AskId> {
        let over = self.open.iter().filter(|(_, open)| is_over(open)).map(|(id, _)| *id);
        let over: Vec<AskId> = over.collect();
        over.iter().for_each(|id| self.close(*id));
        over
    }

    fn close(&mut self, id: AskId) {
        if let Some(closed) = self.open.remove(&id) {
            self.open_bytes -= closed.body.len();
        }
    }
}

impl Remembered {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Coming(parts) => parts.held_bytes(),
            Self::Answered(body) => body.len(),
            Self::Asked | Self::Dropped => 0,
        }
    }
}

#[cfg(test)]
mod tests;

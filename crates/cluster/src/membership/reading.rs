//! What follows from the view that the bucket holds, or that this node has written into it.

use std::sync::Arc;

use herenow_core::Instant;
use herenow_wire::link::{LinkError, put_varint};

use super::{Admission, Bucket, Membership, News, POLL_EVERY, Place, Want};
use crate::api::Effect;
use crate::beat::RETRY_AFTER;
use crate::engine::{Read, Revision, Subject, Swapped};
use crate::view::View;

impl Membership {
    pub(super) fn view_read(&mut self, read: Read, now: Instant, out: &mut Vec<Effect>) {
        let (revision, view) = match read {
            Read::Unknown => {
                self.poll.next_at = now + RETRY_AFTER;
                self.bucket = None;
                return;
            }
            Read::Absent => (Revision::default(), None),
            Read::Found(revision, bytes) if bytes == self.known_bytes => {
                (revision, self.known.clone())
            }
            Read::Found(revision, bytes) => match View::decode(&bytes) {
                Ok(view) => (revision, Some(Arc::new(view))),
                // A later version's is not this node's to write over.
                Err(LinkError::Version(_)) => {
                    self.bucket = None;
                    return;
                }
                Err(_) => (revision, None),
            },
        };
        let (view, must_raise) = match (view, self.known.clone()) {
            (None, None) => {
                self.no_view_since.get_or_insert(now);
                (Arc::new(View::empty(self.protocol)), false)
            }
            (None, Some(known)) => (known, true),
            (Some(view), Some(known)) if view.v < known.v => (known, true),
            (Some(view), Some(known)) if view.v == known.v && view == known => (known, false),
            (Some(view), known) => {
                let is_twin = known.is_some_and(|known| known.v == view.v);
                self.adopt(Arc::clone(&view), now, out);
                (view, is_twin)
            }
        };
        if self.place == Place::Joining(Admission::Uncertain) {
            // It may have been let in and thrown out again, or be let in yet.
            self.burn(now, out);
        }
        self.bucket = Some(Bucket { revision, view, must_raise, checked: None });
    }

    pub(super) fn view_swapped(
        &mut self,
        next: Arc<View>,
        swapped: Swapped,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        match swapped {
            // A newer view was read while the answer was under way. If this one admitted the node and
            // that one is without it, the node was excluded in between.
            Swapped::Done(_) if self.known.as_ref().is_some_and(|known| known.v > next.v) => {
                self.swap_unknown(&next, now);
            }
            Swapped::Done(revision) => {
                let mut hint = Vec::new();
                put_varint(next.v, &mut hint);
                out.push(Effect::Publish(Subject::View, hint));
                // An answer that is under way is older than what was just written.
                self.poll.request = None;
                self.poll.next_at = now + POLL_EVERY;
                self.adopt(Arc::clone(&next), now, out);
                self.bucket =
                    Some(Bucket { revision, view: next, must_raise: false, checked: None });
            }
            Swapped::Conflict => {
                self.poll.next_at = now;
                self.poll.again = true;
            }
            Swapped::Unknown => self.swap_unknown(&next, now),
        }
    }

    pub(super) fn swap_unknown(&mut self, next: &View, now: Instant) {
        self.bucket = None;
        self.poll.next_at = now + RETRY_AFTER;
        if next.node(self.me).is_some() && self.place == Place::Joining(Admission::NotAsked) {
            self.place = Place::Joining(Admission::Uncertain);
        }
    }

    fn adopt(&mut self, view: Arc<View>, now: Instant, out: &mut Vec<Effect>) {
        let known = self.known.as_ref().map_or(0, |known| known.v);
        debug_assert!(view.v >= known, "what is known never goes back to an older view");
        self.known = Some(Arc::clone(&view));
        self.known_bytes = view.encode();
        let is_in_it = view.node(self.me).is_some();
        let mut has_joined = false;
        match self.place {
            Place::In if is_in_it => {}
            Place::In if self.want == Want::Leave => return self.end(out),
            Place::In => self.exclude(now, out),
            Place::Joining(_) if is_in_it => {
                self.place = Place::In;
                has_joined = true;
            }
            Place::Joining(_) | Place::Waiting { .. } | Place::Left => {}
        }
        self.hearing.watch(&view, self.me, now);
        self.news.push_back(News::View(view));
        if has_joined {
            self.news.push_back(News::Joined);
        }
    }
}

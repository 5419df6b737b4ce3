//! What this node wants the next view to say.

use herenow_core::Instant;

use super::{Admission, FOUND_AFTER, Membership, Place, TAKEOVER, Want};
use crate::api::Now;
use crate::beat::Predecessor;
use crate::terms::{Term, Terms};
use crate::view::{Member, Serving, View};

impl Membership {
    /// The view that should follow the one in the bucket, if another one should.
    pub(super) fn next_view(&mut self, now: Now, terms: &Terms) -> Option<View> {
        if now.at >= self.beating.lease_until() {
            return None;
        }
        let bucket = self.bucket.as_mut()?;
        let mut forgotten = Vec::new();
        if bucket.checked != Some(terms.learned()) {
            forgotten = terms.forgotten_by(&bucket.view);
            bucket.checked = forgotten.is_empty().then(|| terms.learned());
        }
        let bucket = self.bucket.as_ref()?;
        // What has a later term, or another home, need not be renewed.
        self.lost.retain(|shard, term| bucket.view.term(*shard) <= *term);
        let is_known = |(shard, term): (&u16, &Term)| bucket.view.term(*shard) == *term;
        let lost = self.lost.iter().filter(|lost| is_known(*lost)).map(|(shard, _)| *shard);
        forgotten.extend(lost);
        let wish = self.wish(&bucket.view, now.at);
        if !bucket.must_raise && forgotten.is_empty() && wish == Wish::Nothing {
            return None;
        }
        let known = self.known.as_ref().map_or(0, |known| known.v);
        let mut next = bucket.view.successor(known, now.unix_seconds);
        if next.v > View::MAX_NUMBER {
            return None;
        }
        self.apply(wish, &mut next);
        next.place();
        for shard in forgotten {
            next.renew(shard);
        }
        Some(next)
    }

    /// What this node wants to be different in a view.
    fn wish(&self, view: &View, now: Instant) -> Wish {
        match self.place {
            Place::Joining(Admission::NotAsked) if self.may_join(view, now) => Wish::Join,
            Place::Joining(_) | Place::Waiting { .. } | Place::Left => Wish::Nothing,
            Place::In => {
                let stage = view.node(self.me).map(|node| node.serving);
                match (self.want, stage) {
                    (Want::Leave, Some(_)) => Wish::Leave,
                    (Want::Drain, Some(Serving::Open)) => Wish::Drain,
                    _ if self.hearing.dead().any(|dead| view.node(dead).is_some()) => {
                        Wish::RemoveDead
                    }
                    _ => Wish::Nothing,
                }
            }
        }
    }

    fn apply(&self, wish: Wish, next: &mut View) {
        if self.is_in() {
            next.nodes.retain(|node| self.hearing.dead().all(|dead| node.incarnation != dead));
        }
        match wish {
            Wish::Nothing | Wish::RemoveDead => {}
            Wish::Leave => next.nodes.retain(|node| node.incarnation != self.me),
            Wish::Drain => {
                for node in next.nodes.iter_mut().filter(|node| node.incarnation == self.me) {
                    node.serving = Serving::Draining;
                }
            }
            Wish::Join => {
                next.nodes.retain(|node| node.name != self.name);
                let (name, incarnation, admitted) = (self.name.clone(), self.me, next.v);
                next.nodes.push(Member { name, incarnation, admitted, serving: Serving::Open });
            }
        }
    }

    fn may_join(&self, view: &View, now: Instant) -> bool {
        let is_first = self.known.is_none() && view.nodes.is_empty();
        if is_first && self.no_view_since.is_none_or(|since| now < since + FOUND_AFTER) {
            return false;
        }
        let is_twin = view.nodes.iter().any(|node| node.name == self.name);
        let has_room = is_twin || view.nodes.len() < View::MAX_NODES;
        view.protocol == self.protocol && has_room && (!is_twin || self.may_replace(now))
    }

    /// Whether the lease of an earlier incarnation of this name is over.
    fn may_replace(&self, now: Instant) -> bool {
        self.beating.took_over().is_some_and(|(since, found)| match found {
            Predecessor::Closed => true,
            Predecessor::MayLive => now >= since + TAKEOVER,
        })
    }
}

/// What a node wants to be different in a view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Nothing,
    Join,
    Drain,
    Leave,
    /// Nodes that can beat no more are to be left out.
    RemoveDead,
}

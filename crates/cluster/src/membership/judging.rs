//! The verdict on a silent node, in two steps: its beat key is closed, from its last beat on, so that
//! its lease cannot be renewed; then the view is written without it, by whichever node comes first.

use herenow_core::Instant;

use super::{Judging, Membership};
use crate::api::Effect;
use crate::beat::{REQUEST_TIMEOUT, RETRY_AFTER};
use crate::engine::{Key, Read};
use crate::hearing::Finding;
use crate::value::Beat;

impl Membership {
    pub(super) fn look_at_suspect(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.judging.is_some() || now < self.judge_not_before || !self.may_judge(now) {
            return;
        }
        let Some(name) = self.hearing.suspect() else { return };
        let id = self.requests.next();
        out.push(Effect::Read(id, Key::Beat(name.clone())));
        self.judging = Some(Judging { id, late_at: now + REQUEST_TIMEOUT, name, closing: None });
    }

    fn may_judge(&self, now: Instant) -> bool {
        self.is_in() && now < self.beating.lease_until()
    }

    /// The key of a silent node was read.
    pub(super) fn judge(
        &mut self,
        judging: Judging,
        read: &Read,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        match self.hearing.examine(&judging.name, read, now) {
            Finding::Lives | Finding::Dead => {}
            Finding::Unknown => self.judge_not_before = now + RETRY_AFTER,
            Finding::Silent(expected, victim) if self.may_judge(now) => {
                let id = self.requests.next();
                let key = Key::Beat(judging.name.clone());
                let value = Beat::Closed { incarnation: victim }.encode();
                out.push(Effect::Swap { id, key, expected, value });
                let late_at = now + REQUEST_TIMEOUT;
                self.judging = Some(Judging { id, late_at, closing: Some(victim), ..judging });
            }
            Finding::Silent(..) => {}
        }
    }
}

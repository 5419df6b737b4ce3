//! Facts of another node, on the clock of those that they are told with: each node's clock began when
//! it was started.

use std::time::Duration;

use herenow_core::{Instant, Since};

use crate::history::facts::{
    Cause, Life, Lost, MemberFacts, Past, PastMember, PresentConnection, PresentMember,
    RefusedRequest, RefusedToken, UserEvent, UserFacts,
};

/// From one clock to another.
#[derive(Clone, Copy)]
struct Shift {
    from: Instant,
    to: Instant,
}

impl UserFacts {
    /// Moves all moments so that what was `from` is `to`.
    pub fn move_to(&mut self, from: Instant, to: Instant) {
        let shift = Shift { from, to };
        shift.moment(&mut self.now);
        shift.moment(&mut self.complete_since);
        for PresentConnection { life, lost, .. } in &mut self.connections {
            shift.life(life);
            lost.iter_mut().for_each(|lost| shift.lost(lost));
        }
        for Past { at, what } in &mut self.events {
            shift.moment(at);
            match what {
                UserEvent::Ended { life, .. } => shift.life(life),
                UserEvent::Refused(RefusedRequest { first, .. }) => shift.moment(first),
            }
        }
        for Past { at, what: RefusedToken { first, .. } } in &mut self.refused_tokens {
            shift.moment(at);
            shift.moment(first);
        }
    }
}

impl MemberFacts {
    /// Moves all moments so that what was `from` is `to`.
    pub fn move_to(&mut self, from: Instant, to: Instant) {
        let shift = Shift { from, to };
        shift.moment(&mut self.complete_since);
        for PresentMember { joined, key, .. } in &mut self.members {
            shift.since(joined);
            key.iter_mut().for_each(|(_, end)| shift.moment(end));
        }
        for Past { at, what: PastMember { joined, cause, life, .. } } in &mut self.left {
            shift.moment(at);
            joined.iter_mut().for_each(|joined| shift.since(joined));
            life.iter_mut().for_each(|life| shift.life(life));
            if let Cause::GraceEnded(lost) | Cause::GaveWay(lost, _) = cause {
                shift.lost(lost);
            }
        }
    }
}

impl Shift {
    fn moment(self, at: &mut Instant) {
        if *at == Instant::NEVER {
            return;
        }
        *at = match *at < self.from {
            true => self.to - self.from.since(*at),
            false => self.to + at.since(self.from),
        };
    }

    fn since(self, since: &mut Since) {
        let mut at = since.instant();
        self.moment(&mut at);
        // To the nearest tenth of a second, as the clocks may lie between two.
        *since = Since::at(at + HALF_A_TENTH);
    }

    fn lost(self, lost: &mut Lost) {
        self.moment(&mut lost.at);
    }

    fn life(self, life: &mut Life) {
        self.moment(&mut life.opened);
        self.moment(&mut life.heard_at);
        life.signed_in.iter_mut().for_each(|at| self.moment(at));
    }
}

const HALF_A_TENTH: Duration = Duration::from_millis(50);

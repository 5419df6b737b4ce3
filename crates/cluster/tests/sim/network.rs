//! The ways between the nodes and the engine: what is sent is late, lost and doubled, and the outcome of a
//! request may stay unknown.

use herenow_cluster::{
    Action, Beat, Event as ToExchange, Key, NodeName, Read, RequestId, Revision, Subject, Swapped,
    View,
};
use herenow_wire::link::Incarnation;

use crate::check;
use crate::clock::{MS, Micros};
use crate::world::{Event, World};

#[derive(Clone, Debug)]
pub enum Request {
    Read(RequestId, Key),
    Swap(RequestId, Key, Revision, Vec<u8>),
}

#[derive(Clone, Debug)]
pub enum Arrival {
    Read(RequestId, Read),
    Swapped(RequestId, Swapped),
    Message(Subject, Vec<u8>),
    Beat(NodeName, Vec<u8>),
}

impl World {
    pub fn engine_action(&mut self, slot: usize, action: Action) {
        match action {
            Action::Read(id, key) => self.ask(slot, Request::Read(id, key)),
            Action::Swap { id, key, expected, value } => {
                self.ask(slot, Request::Swap(id, key, expected, value));
            }
            Action::Publish(subject, bytes) => {
                if matches!(subject, Subject::Inbox(_)) {
                    self.last_packet_at = self.now;
                }
                self.publish(slot, &Arrival::Message(subject, bytes));
            }
            Action::Subscribe(subject) => {
                if let Subject::Inbox(incarnation) = &subject {
                    self.history.born(*incarnation);
                }
                if let Some(process) = &mut self.slots[slot].process {
                    process.subscriptions.insert(subject);
                }
            }
            Action::Unsubscribe(subject) => {
                if let Some(process) = &mut self.slots[slot].process {
                    process.subscriptions.remove(&subject);
                }
            }
            Action::ToHub(..)
            | Action::View(_)
            | Action::LeaseUntil(_)
            | Action::Asked { .. }
            | Action::Answered { .. }
            | Action::Joined
            | Action::Left => {}
        }
    }

    fn delay(&mut self) -> Micros {
        let longest = if self.is_calm { 5 * MS } else { self.plan.longest_delay };
        let longest = if self.chance.one_in(4) { longest } else { longest.min(5 * MS) };
        self.chance.between(1, longest)
    }

    fn is_lost(&mut self) -> bool {
        let is_lost = !self.is_calm && self.chance.below(1000) < self.plan.lost;
        self.tally.lost += u64::from(is_lost);
        is_lost
    }

    fn ask(&mut self, slot: usize, request: Request) {
        self.note(|| match &request {
            Request::Read(id, key) => format!("{slot}: {id:?} read {key:?}"),
            Request::Swap(id, key, expected, _) => {
                format!("{slot}: {id:?} swap {key:?} from {expected:?}")
            }
        });
        let life = self.slots[slot].life;
        if self.slots[slot].cut_out_until > self.now || self.engine.is_down || self.is_lost() {
            // Some clients are told that their connection broke.
            if self.chance.one_in(2) {
                self.answer((slot, life), unknown(&request));
            }
            return;
        }
        let at = self.now + self.delay();
        self.at(at, Event::Request(slot, life, request));
    }

    /// The engine gets a request.
    pub fn serve(&mut self, (slot, life): (usize, u64), request: Request) {
        if self.engine.is_down {
            return;
        }
        let answer = match request.clone() {
            Request::Read(id, key) => {
                let lags = self.plan.reads_lag && !self.is_calm && self.chance.one_in(5);
                let read =
                    if lags { self.engine.read_lagging(&key) } else { self.engine.read(&key) };
                Arrival::Read(id, read)
            }
            Request::Swap(id, key, expected, value) => {
                // A write of a beat is heard whether it is taken or not.
                if let Key::Beat(name) = &key {
                    let name = name.clone();
                    self.publish(slot, &Arrival::Beat(name, value.clone()));
                }
                let swapped = self.engine.swap(key.clone(), expected, value.clone());
                if matches!(swapped, Swapped::Done(_)) {
                    match key {
                        Key::View => self.written(&value),
                        Key::Beat(_) => self.closed.extend(closed(&value)),
                    }
                }
                Arrival::Swapped(id, swapped)
            }
        };
        if self.is_lost() {
            if self.chance.one_in(2) {
                self.answer((slot, life), unknown(&request));
            }
            return;
        }
        if let (Request::Swap(id, Key::View, ..), Arrival::Swapped(_, Swapped::Done(_))) =
            (request, &answer)
            && self.slots[slot].cut_in_until <= self.now
        {
            self.views_under_way.insert((slot, life, id));
        }
        self.answer((slot, life), answer);
    }

    fn written(&mut self, value: &[u8]) {
        self.tally.views += 1;
        let view = View::decode(value).expect("what is written can be read");
        if !view.nodes.is_empty() {
            check::assert_balanced(&view);
        }
        if !self.was_bucket_lost {
            self.history.written(&view);
        }
    }

    fn answer(&mut self, (slot, life): (usize, u64), answer: Arrival) {
        if self.slots[slot].cut_in_until <= self.now {
            let at = self.now + self.delay();
            self.at(at, Event::Arrive(slot, life, answer));
        }
    }

    /// Sends something to every process that may have subscribed to it, in order.
    fn publish(&mut self, from: usize, what: &Arrival) {
        if self.slots[from].cut_out_until > self.now || self.engine.is_down {
            return;
        }
        for to in 0..self.slots.len() {
            let hears = self.slots[to].process.as_ref().is_some_and(|process| match what {
                Arrival::Message(subject, _) => process.subscriptions.contains(subject),
                _ => true,
            });
            if !hears || self.slots[to].cut_in_until > self.now || self.is_lost() {
                continue;
            }
            let life = self.slots[to].life;
            let at = (self.now + self.delay()).max(self.slots[to].lanes[from]);
            self.slots[to].lanes[from] = at;
            self.at(at, Event::Arrive(to, life, what.clone()));
            if !self.is_calm && self.chance.below(1000) < self.plan.doubled {
                let again = at + self.delay();
                self.at(again, Event::Arrive(to, life, what.clone()));
            }
        }
    }

    pub fn arrive(&mut self, slot: usize, arrival: Arrival) {
        if let Arrival::Swapped(id, swapped) = &arrival {
            self.note(|| format!("{slot}: {id:?} {swapped:?}"));
        }
        if let Arrival::Swapped(id, _) = &arrival {
            self.views_under_way.remove(&(slot, self.slots[slot].life, *id));
        }
        let process = self.slots[slot].process.as_ref().expect("it is awake");
        match arrival {
            Arrival::Read(id, read) => self.tell(slot, ToExchange::Read(id, read)),
            Arrival::Swapped(id, swapped) => self.tell(slot, ToExchange::Swapped(id, swapped)),
            Arrival::Beat(name, bytes) => {
                debug_assert!(Beat::decode(&bytes).is_ok());
                self.tell(slot, ToExchange::Beat(name, &bytes));
            }
            Arrival::Message(subject, bytes) => {
                if process.subscriptions.contains(&subject) {
                    match subject {
                        Subject::Inbox(_) => self.tell(slot, ToExchange::Packet(&bytes)),
                        Subject::View => self.tell(slot, ToExchange::Hint(&bytes)),
                        Subject::Beats => unreachable!("beats come with their names"),
                    }
                }
            }
        }
    }
}

/// Whose key it closes.
fn closed(value: &[u8]) -> Option<Incarnation> {
    match Beat::decode(value) {
        Ok(Beat::Closed { incarnation }) => Some(incarnation),
        Ok(Beat::Alive { .. }) | Err(_) => None,
    }
}

fn unknown(request: &Request) -> Arrival {
    match request {
        Request::Read(id, _) => Arrival::Read(*id, Read::Unknown),
        Request::Swap(id, ..) => Arrival::Swapped(*id, Swapped::Unknown),
    }
}

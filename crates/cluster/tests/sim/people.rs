//! Who connects: to one node after another, and with the same connection where the token of the
//! session says so.

use std::collections::BTreeMap;

use herenow_wire::link::Interest;
use herenow_wire::{ChannelName, ConnectionId, State};

use crate::channels::channels;
use crate::clock::MS;
use crate::world::{Event, World};

/// A connection, and which of its sockets.
pub type Session = (ConnectionId, u32);

#[derive(Debug)]
pub struct Person {
    pub session: Session,
    /// The process that holds its connection: a slot, and which of its lives.
    pub at: Option<(usize, u64)>,
    /// What it wants to show.
    wants: BTreeMap<ChannelName, State>,
}

const PEOPLE: usize = 7;

impl World {
    /// Somebody does something.
    pub fn act(&mut self) {
        let which = self.chance.index(PEOPLE);
        while self.people.len() < PEOPLE {
            let (session, wants) = (self.new_session(), BTreeMap::new());
            self.people.push(Person { session, at: None, wants });
        }
        let what = self.chance.below(20);
        let is_here = self.people[which].at.is_some_and(|(slot, life)| self.runs(slot, life));
        if what == 0 || self.people[which].at.is_none_or(|(slot, life)| self.is_over(slot, life)) {
            self.connect(which);
        } else if is_here {
            self.wish(which, what);
        }
    }

    /// The slot and the life of the process that holds a person's session, if it lives and holds it.
    pub fn session_at(&self, person: &Person) -> Option<usize> {
        let (slot, life) = person.at?;
        let process = self.slots[slot].process.as_ref().filter(|_| !self.is_over(slot, life))?;
        let known = process.sessions.connections.get(&person.session.0)?;
        (known.generation == person.session.1 && !known.is_lost).then_some(slot)
    }

    fn new_session(&mut self) -> Session {
        let bytes = [self.chance.draw(), self.chance.draw()].map(u64::to_be_bytes).concat();
        (ConnectionId::from_bytes(bytes.try_into().expect("16 bytes")), 0)
    }

    fn runs(&self, slot: usize, life: u64) -> bool {
        !self.is_over(slot, life) && self.slots[slot].paused_until <= self.now
    }

    fn is_over(&self, slot: usize, life: u64) -> bool {
        self.slots[slot].process.is_none() || self.slots[slot].life != life
    }

    /// Goes on at any node that takes connections.
    fn connect(&mut self, which: usize) {
        let slot = self.chance.index(self.slots.len());
        let life = self.slots[slot].life;
        if !self.runs(slot, life) {
            return;
        }
        let (connection, generation) = self.people[which].session;
        if let Some((old, life)) = self.people[which].at.filter(|(old, _)| *old != slot)
            && !self.is_over(old, life)
        {
            if self.runs(old, life) && self.chance.one_in(2) {
                self.with_process(old, |acting| {
                    let detached = acting.process.sessions.detach(connection, generation);
                    acting.command(detached);
                });
            }
            let end = self.now + self.chance.between(0, 8_000) * MS;
            self.at(end, Event::End(old, life, (connection, generation)));
        } else if self.people[which].at == Some((slot, life)) {
            return;
        }
        self.people[which].session = match self.chance.one_in(4) {
            true => self.new_session(),
            false => (connection, generation + 1),
        };
        let session = self.people[which].session;
        self.note(|| format!("{session:?} comes to {slot}"));
        self.people[which].at = Some((slot, life));
        let wants: Vec<(ChannelName, State)> =
            self.people[which].wants.clone().into_iter().collect();
        self.with_process(slot, |acting| {
            let ended = acting.process.sessions.connect(session.0, session.1);
            acting.command(ended);
            for (channel, state) in wants {
                let asked = acting.process.sessions.track((session.0, &channel), Some(state));
                acting.command(asked);
            }
        });
    }

    fn wish(&mut self, which: usize, what: u64) {
        let Some(slot) = self.session_at(&self.people[which]) else { return };
        let channel = &channels()[self.chance.index(channels().len())];
        let number = self.chance.below(100_000);
        let padding = "x".repeat(self.chance.index(4) * 250);
        let state =
            State::parse(&format!(r#"{{"n":{number},"x":"{padding}"}}"#)).expect("an object");
        let session = self.people[which].session.0;
        match what {
            1..12 => {
                self.people[which].wants.insert(channel.clone(), state.clone());
                self.track(slot, (session, channel), Some(state));
            }
            12..14 => {
                self.people[which].wants.remove(channel);
                self.track(slot, (session, channel), None);
            }
            14..18 => self.subscribe(slot, channel, Interest::Changes),
            _ => self.subscribe(slot, channel, Interest::Nothing),
        }
    }

    fn track(&mut self, slot: usize, at: (ConnectionId, &ChannelName), state: Option<State>) {
        self.note(|| {
            let what = if state.is_some() { "shows something in" } else { "goes from" };
            format!("{slot}: {:?} {what} {}", at.0, at.1)
        });
        self.with_process(slot, |acting| {
            let asked = acting.process.sessions.track(at, state);
            acting.command(asked);
        });
    }

    fn subscribe(&mut self, slot: usize, channel: &ChannelName, interest: Interest) {
        self.note(|| format!("{slot}: {interest:?} of {channel}"));
        self.with_process(slot, |acting| {
            let hub = acting.process.hub_of(channel.shard());
            acting.at_hub(hub, |hub, around| hub.subscribe(channel, interest, around));
        });
    }
}

//! How a run ends: everything arrives, and then everybody must agree.

use herenow_core::{Command, Flush, Input, Peer, RequestId};
use herenow_wire::{ChannelName, ClientMessage};

use super::{COLLECTED_MS, LOOPS, Loop, PEOPLE, Person, SILENCE, World};
use crate::truth::Rows;
use crate::{Answers, Says};

impl World {
    /// Everything that is under way arrives, every rule says yes, everybody reads, and whoever is
    /// asked to show itself again has the time to.
    pub fn come_to_rest(&mut self) {
        for _ in 0..2 {
            self.arrive();
            for slot in 0..PEOPLE {
                if std::mem::take(&mut self.people[slot].is_reviewed_later) {
                    self.review(slot);
                }
            }
            self.arrive();
            for slot in 0..PEOPLE {
                // Where a channel sleeps, this wakes it.
                let mine: Vec<ChannelName> = self.subscribed(slot).map(|(name, _)| name).collect();
                for channel in mine {
                    self.say(slot, ClientMessage::Sync { channel });
                }
            }
            self.arrive();
            self.wait(COLLECTED_MS);
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        while self.is_busy() {
            for slot in 0..PEOPLE {
                self.decide(slot, Says::Yes);
                self.drain(slot);
            }
            for of in 0..LOOPS {
                self.carry_to_shard(of, usize::MAX);
            }
            while !self.dirty.is_empty() {
                self.flush_one(0);
            }
            for of in 0..LOOPS {
                self.carry_to_loop(of, usize::MAX);
            }
        }
    }

    fn is_busy(&self) -> bool {
        let has_mail = |one: &Loop| !one.to_shard.is_empty() || !one.from_shard.is_empty();
        let has_work = |one: &Person| {
            one.question.is_some()
                || one.claim.is_some()
                || !one.client.inbox.is_empty()
                || !one.lagging.is_empty()
        };
        !self.dirty.is_empty()
            || self.loops.iter().any(has_mail)
            || self.people.iter().any(has_work)
    }

    /// At rest the shard, every subscriber and the list of presences say the same, and it is what
    /// the clients last said of themselves.
    pub fn agrees(&mut self) {
        for channel in self.names.clone() {
            let Some(rows) = self.truth.rows(&channel) else {
                let nobody = (0..PEOPLE).all(|slot| self.shows(slot, &channel).is_none());
                assert!(nobody, "a channel that somebody shows itself in does not sleep");
                continue;
            };
            assert_eq!(self.probe(&channel), rows, "the shard's own snapshot");
            for slot in 0..PEOPLE {
                let person = &self.people[slot];
                let is_subscribed =
                    person.session.subscriptions().any(|(name, _)| *name == channel);
                let list = is_subscribed.then_some(&rows);
                assert_eq!(person.client.list(&channel), list, "the list of {slot}");
            }
            self.is_what_was_said(&channel, &rows);
        }
    }

    fn is_what_was_said(&self, channel: &ChannelName, rows: &Rows) {
        for (connection, state) in rows {
            let who = (0..PEOPLE).find(|slot| self.id(*slot) == *connection);
            let slot = who.expect("nobody is present who is not connected");
            assert_eq!(self.shows(slot, channel).as_ref(), Some(state), "what {slot} shows");
        }
        for slot in 0..PEOPLE {
            let is_asked_in_vain = self.people[slot].client.answers() == Answers::Never;
            if let Some(state) = self.shows(slot, channel)
                && !is_asked_in_vain
            {
                assert!(rows.contains(&(self.id(slot), state)), "{slot} tracks and is not there");
            }
        }
    }

    /// What a peer that asks now is sent.
    fn probe(&mut self, channel: &ChannelName) -> Rows {
        let (peer, request_id) = (Peer(99), RequestId(1));
        let wish = Command::Subscribe { channel: channel.clone(), peer, request_id };
        let mut flush = Flush::default();
        self.shard.handle(wish, self.now, &mut Vec::new());
        self.shard.flush(channel, self.now, &mut flush);
        let goodbye = Command::Unsubscribe { channel: channel.clone(), peer };
        self.shard.handle(goodbye, self.now, &mut Vec::new());
        assert!(flush.ops.is_empty(), "nothing was left to be told");
        let snapshot = flush.snapshot.expect("the peer is owed one");
        snapshot.members.into_iter().map(|member| (member.connection, member.state)).collect()
    }

    pub fn everybody_goes(&mut self) {
        for slot in 0..PEOPLE {
            self.tell(slot, Input::Closed);
        }
        self.arrive();
    }

    pub fn is_drained(&self) {
        assert!(self.detached.is_empty(), "nobody is kept beyond the grace");
        assert_eq!((self.shard.channels(), self.shard.members()), (0, 0));
        assert!(!self.shard.has_deadlines(Some(SILENCE)));
        for one in &self.loops {
            assert_eq!((one.audience.channels(), one.audience.subscriptions()), (0, 0));
        }
    }
}

//! How a run ends: everything arrives, and then everybody must agree.

use herenow_core::{Command, Flush, Peer, RequestId};
use herenow_wire::ChannelName;

use super::{COLLECTED_MS, PEERS, PEOPLE, Person, SILENCE, Side, World};
use crate::Answers;
use crate::truth::Rows;

impl World {
    /// Everything that is under way arrives, everybody reads, and every client that is asked to show
    /// itself again has the time to.
    pub fn come_to_rest(&mut self) {
        for _ in 0..2 {
            self.arrive();
            for slot in 0..PEOPLE {
                // If a channel hibernates, this wakes it.
                (0..self.names.len()).for_each(|of| self.sync(slot, of));
            }
            self.arrive();
            self.wait(COLLECTED_MS);
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        while self.is_busy() {
            for slot in 0..PEOPLE {
                self.drain(slot);
            }
            for of in 0..PEERS {
                self.carry_to_shard(of, usize::MAX);
            }
            while !self.dirty.is_empty() {
                self.flush_one(0);
            }
            for of in 0..PEERS {
                self.carry_to_peer(of, usize::MAX);
            }
        }
    }

    fn is_busy(&self) -> bool {
        let has_mail = |one: &Side| !one.to_shard.is_empty() || !one.from_shard.is_empty();
        let has_work = |one: &Person| !one.client.inbox.is_empty() || !one.lagging.is_empty();
        !self.dirty.is_empty()
            || self.peers.iter().any(has_mail)
            || self.people.iter().any(has_work)
    }

    /// At rest the shard, every subscriber and the list of presences say the same, and it is what
    /// the clients last said of themselves.
    pub fn agrees(&mut self) {
        for channel in self.names.clone() {
            let Some(rows) = self.truth.rows(&channel) else {
                let nobody = (0..PEOPLE).all(|slot| self.shows(slot, &channel).is_none());
                assert!(nobody, "a channel that somebody shows itself in does not hibernate");
                continue;
            };
            assert_eq!(self.probe(&channel), rows, "the shard's own snapshot");
            for slot in 0..PEOPLE {
                let person = &self.people[slot];
                let list = person.channels.contains_key(&channel).then_some(&rows);
                assert_eq!(person.client.list(&channel), list, "the list of {slot}");
            }
            self.is_what_was_said(&channel, &rows);
        }
    }

    fn is_what_was_said(&self, channel: &ChannelName, rows: &Rows) {
        for (connection, state) in rows {
            let who = (0..PEOPLE).find(|slot| self.people[*slot].connection == *connection);
            let slot = who.expect("nobody is present who is not connected");
            assert_eq!(self.shows(slot, channel).as_ref(), Some(state), "what {slot} shows");
        }
        for slot in 0..PEOPLE {
            let is_asked_in_vain = self.people[slot].client.answers() == Answers::Never;
            if let Some(state) = self.shows(slot, channel)
                && !is_asked_in_vain
            {
                assert!(
                    rows.contains(&(self.people[slot].connection, state)),
                    "{slot} tracks and is not there"
                );
            }
        }
    }

    /// What a peer that asks now is sent.
    fn probe(&mut self, channel: &ChannelName) -> Rows {
        let (peer, request_id) = (Peer(99), RequestId(1));
        let request = Command::Subscribe { channel: channel.clone(), peer, request_id };
        let mut flush = Flush::default();
        self.shard.handle(request, self.now, &mut Vec::new());
        self.shard.flush(channel, self.now, &mut flush);
        let goodbye = Command::Unsubscribe { channel: channel.clone(), peer };
        self.shard.handle(goodbye, self.now, &mut Vec::new());
        assert!(flush.ops.is_empty(), "nothing was left to be told");
        let snapshot = flush.snapshot.expect("the peer is owed one");
        snapshot.members.into_iter().map(|member| (member.connection, member.state)).collect()
    }

    pub fn everybody_goes(&mut self) {
        for slot in 0..PEOPLE {
            self.end(slot, Answers::Always);
        }
        self.arrive();
    }

    pub fn is_drained(&self) {
        assert_eq!((self.shard.channels(), self.shard.members()), (0, 0));
        assert!(!self.shard.has_deadlines(Some(SILENCE)));
        for one in &self.peers {
            assert_eq!((one.audience.channels(), one.audience.subscriptions()), (0, 0));
        }
    }
}

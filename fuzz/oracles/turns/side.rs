//! The outside of one hub: sockets that take as much as there is room for, and verdicts and rulings
//! that come at once or late.

use std::collections::VecDeque;
use std::io::IoSlice;

use herenow_core::{
    Auth, AuthRefusal, Claim, NodeMail, Owner, Peer, Place, Question, Ruling, Verification,
};
use herenow_hub::{
    Announcement, Asked, Asker, Checked, Io, Mail, Purpose, QueryId, Response, Wrote,
};
use herenow_wire::{ChannelName, ConnectionId, UserId};

use super::says::{Says, frame};
use super::{HUBS, MAILBOX, SOCKETS};

/// What stands around one hub.
pub struct Side {
    pub sockets: Vec<Socket>,
    pub late: VecDeque<Late>,
    pub is_late: bool,
    pub outbox: Vec<(Peer, Vec<Mail>)>,
    pub room: [usize; HUBS as usize],
}

/// A client's socket.
pub struct Socket {
    pub is_open: bool,
    /// Sent by the client and not read.
    pub sent: VecDeque<u8>,
    /// What the kernel still takes.
    pub room: usize,
    pub is_blocked: bool,
}

/// What comes late.
pub enum Late {
    Verification(Asker, Verification),
    Ruling(Asker, ChannelName),
}

impl Side {
    pub fn new() -> Self {
        Self {
            sockets: (0..SOCKETS).map(|_| Socket::closed()).collect(),
            late: VecDeque::new(),
            is_late: false,
            outbox: Vec::new(),
            room: [MAILBOX; HUBS as usize],
        }
    }
}

impl Socket {
    pub fn closed() -> Self {
        Self { is_open: false, sent: VecDeque::new(), room: 0, is_blocked: false }
    }

    pub fn send(&mut self, says: Says) {
        // What a client has sent and nobody reads is no matter of the hub.
        if self.is_open && self.sent.len() < usize::from(u16::MAX) {
            self.sent.extend(frame(says));
        }
    }
}

impl Io for Side {
    fn write(&mut self, slot: u32, parts: &[IoSlice<'_>]) -> Wrote {
        let socket = &mut self.sockets[slot as usize];
        assert!(socket.is_open, "nothing is written to a socket that is gone");
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let taken = all.min(socket.room);
        socket.room -= taken;
        socket.is_blocked |= taken < all;
        Wrote::Bytes(taken)
    }

    fn shutdown_write(&mut self, _: u32) {}

    fn close(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        assert!(socket.is_open, "a socket is closed once");
        *socket = Socket::closed();
    }

    fn resume(&mut self, _: u32) {}

    fn admitted(&mut self, _: u32) {}

    fn post_to_nodes(&mut self, _: Owner, _: Vec<NodeMail>) {
        panic!("a node that is alone has nothing for others");
    }

    fn post(&mut self, to: Peer, mail: Vec<Mail>) -> Result<(), Vec<Mail>> {
        let room = &mut self.room[usize::from(to.0)];
        if *room == 0 {
            return Err(mail);
        }
        *room -= 1;
        self.outbox.push((to, mail));
        Ok(())
    }

    fn verify(&mut self, asker: Asker, token: &str, resume: Option<&str>) -> Asked<Checked> {
        let result = UserId::parse(token).map_err(|_| AuthRefusal::NoKey);
        let result = result.map(|user| Auth {
            user: user.into(),
            expires_at_unix_ms: u64::MAX,
            claims: "{}".into(),
        });
        let claim = resume.and_then(claim_of);
        let verification = Verification { result, claim: claim.map(Box::new), unix_ms: 0 };
        if !self.is_late {
            return Asked::Now(verification.into());
        }
        self.late.push_back(Late::Verification(asker, verification));
        Asked::Later
    }

    fn ask(
        &mut self,
        asker: (Asker, Purpose),
        asked: &Question,
        _: Option<&Auth>,
    ) -> Asked<Ruling> {
        if !self.is_late {
            return Asked::Now(Ruling::Granted);
        }
        self.late.push_back(Late::Ruling(asker.0, asked.channel.clone()));
        Asked::Later
    }

    fn takes_reviews(&self) -> bool {
        self.late.len() < SOCKETS
    }

    fn respond(&mut self, _: QueryId, _: Response) {}

    fn resume_token(&mut self, claim: Claim, _: &UserId) -> Box<str> {
        let id = u128::from_be_bytes(*claim.connection.as_bytes());
        let place = claim.place.expect("a hub says where its sessions are");
        format!("{id} {} {} {}", claim.generation, place.peer.0, place.slot).into()
    }

    fn announce(&mut self, _: Announcement) {}

    fn announce_gap(&mut self) {}

    fn shard_lost(&mut self, _: u16) {}
}

fn claim_of(token: &str) -> Option<Claim> {
    let mut parts = token.split(' ');
    let connection = ConnectionId::from_bytes(parts.next()?.parse::<u128>().ok()?.to_be_bytes());
    let generation = parts.next()?.parse().ok()?;
    let peer = Peer(parts.next()?.parse().ok()?);
    let place = Some(Place { peer, slot: parts.next()?.parse().ok()? });
    Some(Claim { connection, generation, place })
}

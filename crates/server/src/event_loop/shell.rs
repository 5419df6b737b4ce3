//! The outside of one hub: its sockets, the mailboxes of the other loops, and the services of the server.
//! Hands each call of the hub to the one that it is for; decides nothing.

use std::io::IoSlice;
use std::sync::Arc;

use herenow_core::{Auth, Claim, NodeMail, Owner, Peer, Question, Ruling};
use herenow_hub::{
    Announcement, Asked, Asker, Checked, Event, Io, Purpose, QueryId, Response, Wrote,
};
use herenow_wire::UserId;

use super::sockets::Sockets;
use crate::cluster::NodeOutbox;
use crate::mailbox::{Mail, Mailbox};
use crate::services::Services;

/// See the module.
pub(super) struct Shell {
    pub(super) sockets: Sockets,
    pub(super) services: Services,
    /// To every loop, this one included, by index.
    pub(super) mailboxes: Arc<[Mailbox]>,
    /// Which loop it is.
    pub(super) me: Peer,
    /// To other nodes, if this one is not alone.
    pub(super) nodes: Option<NodeOutbox>,
}

impl Shell {
    /// Whether what is for other nodes waits for longer than it should.
    pub(super) fn is_backpressured_by_nodes(&self) -> bool {
        self.nodes.as_ref().is_some_and(NodeOutbox::is_backpressured)
    }
}

impl Io for Shell {
    fn write(&mut self, slot: u32, parts: &[IoSlice<'_>]) -> Wrote {
        self.sockets.write(slot, parts)
    }

    fn shutdown_write(&mut self, slot: u32) {
        self.sockets.shutdown_write(slot);
    }

    fn close(&mut self, slot: u32) {
        self.sockets.close(slot);
    }

    fn resume(&mut self, slot: u32) {
        self.sockets.queue_read(slot);
    }

    fn admitted(&mut self, slot: u32) {
        self.sockets.release_permit(slot);
    }

    fn post(
        &mut self,
        to: Peer,
        batch: Vec<herenow_hub::Mail>,
    ) -> Result<(), Vec<herenow_hub::Mail>> {
        let sent = self.mailboxes[usize::from(to.0)].send(vec![Mail::Event(Event::Mail(batch))]);
        sent.map_err(|mut unsent| match unsent.pop() {
            Some(Mail::Event(Event::Mail(batch))) => batch,
            _ => unreachable!("mail comes back as it was sent"),
        })
    }

    fn post_to_nodes(&mut self, from: Owner, mail: Vec<NodeMail>) {
        let nodes = self.nodes.as_ref().expect("a node that is alone has nothing for others");
        nodes.post(self.me, from, mail);
    }

    fn verify(&mut self, asker: Asker, token: &str, resume: Option<&str>) -> Asked<Checked> {
        self.services.verify(asker, token, resume)
    }

    fn ask(
        &mut self,
        asker: (Asker, Purpose),
        question: &Question,
        auth: Option<&Auth>,
    ) -> Asked<Ruling> {
        self.services.ask(asker, question, auth)
    }

    fn takes_reviews(&self) -> bool {
        self.services.takes_reviews()
    }

    fn resume_token(&mut self, claim: Claim, user: &UserId) -> Box<str> {
        self.services.resume_token(claim, user)
    }

    fn respond(&mut self, id: QueryId, response: Response) {
        self.services.respond(id, response);
    }

    fn announce_gap(&mut self) {
        self.services.announce_gap();
    }

    fn announce(&mut self, announcement: Announcement) {
        self.services.announce(announcement);
    }

    fn shard_lost(&mut self, shard: u16) {
        tracing::error!(shard, "a fault in a shard: its channels are rebuilt");
    }
}

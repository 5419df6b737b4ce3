//! A client that only counts one channel: what it says, and what it was told last. Its socket must
//! carry no list and no change of one, and each count must be true at the position that it names.

use herenow_client::protocol::{Counts, ServerMessage, subscribe_to_count};
use herenow_wire::ChannelName;

use crate::history::History;

/// See the module.
pub struct Counting {
    pub channel: ChannelName,
    /// The newest count of the socket.
    newest: Option<Counts>,
}

impl Counting {
    pub fn new(channel: ChannelName) -> Self {
        Self { channel, newest: None }
    }

    /// What it says on a new socket.
    pub fn begin(&mut self) -> String {
        self.newest = None;
        subscribe_to_count(&self.channel)
    }

    pub fn read(&mut self, message: &ServerMessage, history: &mut History) {
        match message {
            ServerMessage::Count(counts) => {
                assert_eq!(counts.channel, self.channel, "a count of another channel");
                let at = |counts: &Counts| (counts.position.epoch, counts.position.seq);
                let before = self.newest.as_ref().map(at).unwrap_or_default();
                assert!(before <= at(counts), "{counts:?} comes after {before:?}");
                let numbers = (counts.users as usize, counts.connections as usize);
                history.meet_count(&self.channel, at(counts), numbers);
                self.newest = Some(counts.clone());
            }
            ServerMessage::Sync(_)
            | ServerMessage::Join(_)
            | ServerMessage::Update(_)
            | ServerMessage::Leave(_) => panic!("a client that only counts is told {message:?}"),
            _ => {}
        }
    }

    /// Users and connections, as it was told last.
    pub fn numbers(&self) -> Option<(usize, usize)> {
        let newest = self.newest.as_ref()?;
        Some((newest.users as usize, newest.connections as usize))
    }
}

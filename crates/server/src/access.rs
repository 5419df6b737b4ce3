//! Who may see a channel and who may be seen in it. Answers questions of sessions; knows nothing
//! of sockets.

use herenow_core::{Auth, Peer, Question, Ruling};
use herenow_wire::ConnectionId;

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Access {}

/// Whom an answer that comes later is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The loop that holds the connection.
    pub(crate) peer: Peer,
    /// The loop's handle of it.
    pub(crate) slot: u32,
    /// The connection itself: its slot may change hands before the answer comes.
    pub(crate) connection: ConnectionId,
}

/// What asking gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The answer.
    Now(Ruling),
    /// It will come as mail.
    #[expect(dead_code, reason = "every rule of today answers at once")]
    Later,
}

impl Access {
    /// Decides, or has it decided. `auth` is the asker's, where it has signed in.
    pub(crate) fn ask(&self, question: &Question, auth: Option<&Auth>, asker: Asker) -> Asked {
        let _ = (question, asker);
        // The rule that holds where no pattern matches: whoever has signed in, may.
        Asked::Now(match auth {
            Some(_) => Ruling::Granted,
            None => Ruling::Denied,
        })
    }
}

//! Who may see a channel and who may be seen in it. Answers questions of sessions; knows nothing
//! of sockets.

use herenow_core::{Question, Ruling};

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Access {}

impl Access {
    /// Decides by the rule that holds where no pattern matches: whoever has signed in, may.
    pub fn decide(&self, question: &Question) -> Ruling {
        match question.user {
            Some(_) => Ruling::Granted,
            None => Ruling::Denied,
        }
    }
}

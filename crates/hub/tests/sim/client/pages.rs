//! What happens to the page of a client: it is loaded again, or its process dies.

use herenow_client::machine::{Input, Machine};

use super::Client;
use crate::application::Application;
use crate::frames::Opcode;
use crate::network::Up;
use crate::stage::Stage;

impl Client {
    /// The page is loaded again: a new machine, and what the browser keeps for it.
    pub fn reload(&mut self, stage: &mut Stage) {
        if let Some(link) = self.link.take() {
            stage.send_frame(link, Opcode::Close, &1001_u16.to_be_bytes());
            stage.send_up(link, Up::End);
        }
        let token: Option<Box<str>> = self.token.as_deref().map(Into::into);
        let channels = stage.plan.channels.clone();
        self.machine = match (self.resume.take(), token) {
            (Some(resume), Some(token)) => Machine::in_place_of(resume.into(), token, channels),
            (_, token) => Machine::new(token),
        };
        self.begin_again(stage);
    }

    /// The process dies and another starts, which knows nothing of it.
    pub fn crash(&mut self, stage: &mut Stage) {
        if let Some(link) = self.link.take() {
            let at = stage.arrival();
            stage.network.link(link).cut(at);
        }
        self.resume = None;
        self.machine = Machine::new(self.token.as_deref().map(Into::into));
        self.begin_again(stage);
    }

    fn begin_again(&mut self, stage: &mut Stage) {
        self.application = Application::default();
        self.connection = None;
        self.tell(Input::Start, stage);
        for (channel, want) in self.wants.clone() {
            if want.listening {
                self.listen(channel.clone(), stage);
            }
            if let Some(state) = want.shown {
                self.track(channel, state, stage);
            }
        }
    }
}

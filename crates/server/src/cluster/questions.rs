//! Requests between the processes of a cluster on behalf of backends: those that this process has sent, and
//! those that it is to answer. What they say is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use herenow_cluster::{AskError, AskId, Event, View};
use herenow_wire::link::Incarnation;
use tokio::sync::{mpsc, oneshot};

use super::Command;

/// What becomes of a request.
pub(super) type Asked = Result<Vec<u8>, AskError>;

/// Where this node stands in its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Which life of this node it is.
    pub(crate) me: Incarnation,
    /// The newest view that is known.
    pub(crate) view: Arc<View>,
}

/// What other nodes ask this process.
#[derive(Debug)]
pub(crate) struct Questions {
    questions: mpsc::Receiver<Question>,
}

/// What another node asks this process.
#[derive(Debug)]
pub(crate) struct Question {
    from: Incarnation,
    id: AskId,
    pub(crate) body: Vec<u8>,
    commands: mpsc::UnboundedSender<Command>,
}

/// Requests of this process that wait for an answer, and where others' go.
#[derive(Debug)]
pub(super) struct Desk {
    waiting: BTreeMap<AskId, oneshot::Sender<Asked>>,
    last: u64,
    questions: mpsc::Sender<Question>,
    commands: mpsc::WeakUnboundedSender<Command>,
}

/// Requests of other nodes that wait to be looked at. One that finds no room is not answered.
const MAX_WAITING: usize = 256;

impl Questions {
    /// The next one; `None` when the cluster has ended.
    pub(crate) async fn next(&mut self) -> Option<Question> {
        self.questions.recv().await
    }
}

impl Question {
    /// Answers it.
    pub(crate) fn answer(self, body: Vec<u8>) {
        let Self { from, id, commands, .. } = self;
        let _ = commands.send(Command::Answer { to: from, id, body });
    }
}

impl Desk {
    /// One whose answers come over `commands`.
    pub(super) fn new(commands: &mpsc::UnboundedSender<Command>) -> (Self, Questions) {
        let (sender, questions) = mpsc::channel(MAX_WAITING);
        let commands = commands.downgrade();
        let desk = Self { waiting: BTreeMap::new(), last: 0, questions: sender, commands };
        (desk, Questions { questions })
    }

    /// This process asks.
    pub(super) fn ask(
        &mut self,
        to: Incarnation,
        body: Arc<[u8]>,
        answer: oneshot::Sender<Asked>,
    ) -> Event<'static> {
        self.last += 1;
        let id = AskId(self.last);
        self.waiting.insert(id, answer);
        Event::Ask { id, to, body }
    }

    /// What came of a request of this process.
    pub(super) fn answered(&mut self, id: AskId, answer: Asked) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.send(answer);
        }
    }

    /// Another node asks.
    pub(super) fn asked(&self, from: Incarnation, id: AskId, body: Vec<u8>) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = self.questions.try_send(Question { from, id, body, commands });
        }
    }
}

//! What subjects, keys and the bucket are called in NATS. The name of the cluster is in each of them, so
//! clusters that share a NATS server do not meet.

use herenow_cluster::{Key, NodeName, Subject};

/// The names of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Subjects(NodeName);

impl Subjects {
    pub(super) fn of(cluster: &NodeName) -> Self {
        Self(cluster.clone())
    }

    /// The stream behind the bucket, as NATS calls it.
    pub(super) fn stream(&self) -> String {
        format!("KV_hn_{}", self.0)
    }

    /// All keys.
    pub(super) fn keys(&self) -> String {
        format!("$KV.hn_{}.>", self.0)
    }

    pub(super) fn key(&self, key: &Key) -> String {
        match key {
            Key::View => format!("$KV.hn_{}.view", self.0),
            Key::Beat(node) => format!("$KV.hn_{}.beat.{node}", self.0),
        }
    }

    /// The key of the bucket that holds the one that signs resume tokens.
    pub(super) fn resume_key(&self) -> String {
        format!("$KV.hn_{}.resume", self.0)
    }

    pub(super) fn subject(&self, subject: &Subject) -> String {
        match subject {
            Subject::Inbox(incarnation) => format!("hn.{}.n.{incarnation}", self.0),
            Subject::View => format!("hn.{}.view", self.0),
            // Each write of the key, whether the bucket takes it or not.
            Subject::Beats => format!("$KV.hn_{}.beat.*", self.0),
        }
    }

    /// Where nodes tell their settings.
    pub(super) fn settings(&self) -> String {
        format!("hn.{}.settings", self.0)
    }

    /// Under which answers to this process come.
    pub(super) fn answers(&self) -> String {
        format!("hn.{}.r", self.0)
    }

    /// The request of the JetStream API, which the leader of the stream answers.
    pub(super) fn api(&self, call: &str) -> String {
        format!("$JS.API.STREAM.{call}.{}", self.stream())
    }

    /// Whose beat was heard.
    pub(super) fn node(subject: &str) -> Option<NodeName> {
        NodeName::parse(subject.rsplit('.').next()?)
    }
}

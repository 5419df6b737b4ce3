//! What is asked of the engine: a bucket of keys with revisions, and subjects. Plain data.

use herenow_wire::link::Incarnation;

use crate::value::NodeName;

/// A key of the bucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// The view.
    View,
    /// The beat of a node. Each swap of it is also published on [`Subject::Beats`], even if the bucket
    /// refuses it.
    Beat(NodeName),
}

/// Which write of a key: it grows with each. 0 means that the key does not exist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Revision(pub u64);

/// Which request an answer is for. An answer that comes after the request was given up is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// What a read gave. It may be older than what was read before: a replica may lag, and a bucket may
/// have been restored from a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// The key has this value.
    Found(Revision, Vec<u8>),
    /// The key does not exist.
    Absent,
    /// The engine did not answer.
    Unknown,
}

/// What a swap gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Swapped {
    /// The key has the new value, in this revision.
    Done(Revision),
    /// The key was in another revision. Nothing changed.
    Conflict,
    /// The engine did not answer: the value may have been written, or be written yet.
    Unknown,
}

/// What can be published and subscribed to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// What one incarnation is sent.
    Inbox(Incarnation),
    /// The number of a view that has just been written.
    View,
    /// Every write of a key [`Key::Beat`], whether the bucket took it or not.
    Beats,
}

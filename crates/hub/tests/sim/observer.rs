//! What one socket has carried to a client, frame by frame, held to what every subscriber may rely
//! on. Sees the frames themselves, so that nothing the client forgives goes unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use herenow_client::protocol::{Delta, Departure, Row, ServerMessage, Snapshot};
use herenow_core::Instant;
use herenow_wire::{ChannelName, ClientMessage, DefaultChannel, decode};

use crate::expiring;
use crate::history::{History, Rows};
use crate::plan::{Nodes, SHORTEST_TTL};

/// See the module.
#[derive(Default)]
pub struct Observer {
    views: BTreeMap<ChannelName, View>,
    /// Channels of which deltas were read, and perhaps not all of their flush.
    folded: BTreeSet<ChannelName>,
    /// The last point of channels whose subscription has ended: a new one goes on from there.
    ended: BTreeMap<ChannelName, (u64, u64)>,
    said: BTreeMap<ChannelName, Said>,
    connection: String,
    /// Whether its server is one of several.
    is_cluster: bool,
    /// It may have taken a session over, and so subscribe before it says anything.
    may_have_come_back: bool,
}

/// What the client has said of a channel on this socket.
enum Said {
    /// That it is there, and nothing else: it must find itself in its first snapshot, unless that
    /// comes when its lease may have ended.
    OnlyItself {
        until: Instant,
    },
    More,
}

/// For so long a snapshot waits for what its node has put, which is a second by its clock. Then the last
/// that is known is better than nothing.
const OWN_WORDS: Duration = Duration::from_millis(950);

struct View {
    epoch: u64,
    seq: u64,
    rows: Rows,
}

impl Observer {
    /// Of a socket to one server, or to one of several.
    pub fn new(nodes: Nodes) -> Self {
        Self { is_cluster: nodes != Nodes::Alone, ..Self::default() }
    }

    pub fn say(&mut self, text: &str, default: &DefaultChannel, now: Instant) {
        let mut decoded = Vec::new();
        decode(text, default, &mut decoded);
        for incoming in decoded {
            match incoming.expect("a client says what makes sense").message {
                ClientMessage::Track { channel, .. } => {
                    let until = now + if self.is_cluster { OWN_WORDS } else { SHORTEST_TTL };
                    self.said.entry(channel).or_insert(Said::OnlyItself { until });
                }
                ClientMessage::Subscribe { channel, .. }
                | ClientMessage::Unsubscribe { channel }
                | ClientMessage::Untrack { channel }
                | ClientMessage::Sync { channel } => self.expect_nothing(&channel),
                ClientMessage::Auth { resume, .. } => self.may_have_come_back |= resume.is_some(),
                ClientMessage::SubscribeAll { channels, .. } => {
                    channels.iter().for_each(|channel| self.expect_nothing(channel));
                }
                ClientMessage::Ping => {}
            }
        }
    }

    pub fn read(&mut self, message: &ServerMessage, history: &mut History, now: Instant) {
        match message {
            ServerMessage::Sync(snapshot) => self.replace(snapshot, history, now),
            ServerMessage::Join(delta) => self.fold(delta, Known::No, history),
            ServerMessage::Update(delta) => self.fold(delta, Known::Yes, history),
            ServerMessage::Leave(departure) => self.remove(departure, history),
            ServerMessage::Unsubscribed { channel, .. } => self.end(channel),
            ServerMessage::AuthRefreshed { revoked } => revoked.iter().for_each(|c| self.end(c)),
            ServerMessage::AuthSuccess { connection_id, .. } => {
                self.connection = connection_id.to_string();
            }
            // A lost map may be told without who has yet to answer.
            ServerMessage::Resync { channel } => self.expect_nothing(channel),
            ServerMessage::Error(failure) => {
                failure.channel.iter().for_each(|channel| self.expect_nothing(channel));
            }
            ServerMessage::Unknown => panic!("the server says what no client understands"),
            _ => {}
        }
    }

    fn replace(&mut self, snapshot: &Snapshot, history: &mut History, now: Instant) {
        let channel = &snapshot.channel;
        let new = (snapshot.position.epoch, snapshot.position.seq);
        let before = self.views.get(channel).map(|view| (view.epoch, view.seq));
        let before = before.or(self.ended.remove(channel)).unwrap_or_default();
        assert!(before <= new, "{channel}: a snapshot at {new:?} after {before:?}");
        let rows: Rows = snapshot.rows.iter().map(row).collect();
        history.meet(channel, new, &rows);
        if let Some(view) = self.views.get(channel)
            && (view.epoch, view.seq) == new
        {
            assert_eq!(view.rows, rows, "{channel}: what the deltas led to at {new:?}");
        }
        if let Some(Said::OnlyItself { until }) = self.said.get(channel)
            && !self.may_have_come_back
        {
            let is_in = now >= *until || rows.iter().any(|(_, one, _)| *one == self.connection);
            assert!(is_in, "{channel}: who only says that it is there finds itself at once");
            self.expect_nothing(channel);
        }
        self.views.insert(channel.clone(), View { epoch: new.0, seq: new.1, rows });
    }

    /// The rules have changed: who may not track any more leaves without a word (P4.17).
    pub fn meet_new_rules(&mut self) {
        self.said.values_mut().for_each(|said| *said = Said::More);
    }

    fn expect_nothing(&mut self, channel: &ChannelName) {
        self.said.insert(channel.clone(), Said::More);
    }

    fn fold(&mut self, delta: &Delta, known: Known, history: &mut History) {
        let view = self.advance(&delta.channel, (delta.epoch, delta.seq));
        let new = row(&delta.row);
        let at = view.rows.iter().position(|(_, one, _)| *one == new.1);
        match (at, known) {
            (None, Known::No) => {}
            (Some(at), Known::Yes) => {
                let (_, _, before) = view.rows.remove(at);
                history.fields_ended += u64::from(expiring::has_ended(&before, &new.2));
            }
            (_, known) => panic!("known: {known:?}, and yet {delta:?}"),
        }
        view.rows.push(new);
        history.meet_delta(&delta.channel, (view.epoch, view.seq), &view.rows);
        self.folded.insert(delta.channel.clone());
    }

    /// Every flush was read to its end.
    pub fn end_flushes(&mut self, history: &mut History) {
        for channel in std::mem::take(&mut self.folded) {
            if let Some(view) = self.views.get(&channel) {
                history.meet_flush(&channel, (view.epoch, view.seq), &view.rows);
            }
        }
    }

    fn remove(&mut self, departure: &Departure, history: &mut History) {
        let view = self.advance(&departure.channel, (departure.epoch, departure.seq));
        let at = view.rows.iter().position(|(user, one, _)| {
            **user == *departure.user_id && **one == *departure.connection_id
        });
        view.rows.remove(at.expect("a leave is of a member that was there"));
        history.meet_delta(&departure.channel, (view.epoch, view.seq), &view.rows);
        self.folded.insert(departure.channel.clone());
    }

    fn advance(&mut self, channel: &ChannelName, (epoch, seq): (Option<u64>, u64)) -> &mut View {
        let view = self.views.get_mut(channel).expect("no delta comes before the first snapshot");
        if let Some(epoch) = epoch {
            // P5.9
            assert!(
                self.is_cluster,
                "{channel}: a single server reports a new epoch by a snapshot"
            );
            assert!(epoch >= view.epoch, "{channel}: {epoch} comes after {}", view.epoch);
            if epoch > view.epoch {
                (view.epoch, view.seq) = (epoch, 0);
            }
        }
        assert!(seq > view.seq, "{channel}: {seq} comes after {}", view.seq);
        view.seq = seq;
        view
    }

    fn end(&mut self, channel: &ChannelName) {
        if let Some(view) = self.views.remove(channel) {
            self.ended.insert(channel.clone(), (view.epoch, view.seq));
        }
    }
}

/// Whether a member was there before.
#[derive(Debug)]
enum Known {
    Yes,
    No,
}

fn row(row: &Row) -> (String, String, String) {
    let shown = format!("{}{}", row.state, row.info.as_deref().unwrap_or_default());
    (row.user_id.to_string(), row.connection_id.to_string(), shown)
}

//! A client that records everything that it is told, and keeps the list of each channel by the rules
//! of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use herenow_client::raw::{Control, OpCode, RawConnection, Received, frame, text_frame};
use herenow_testing::{token, until};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::PATIENCE;
use crate::background::{background, wait_for};

/// See the module. Dropping it ends its connection without a close.
pub struct Client {
    pub user: String,
    frames: UnboundedSender<Vec<u8>>,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

/// What shows states for a client, from any thread.
pub struct Writer {
    frames: UnboundedSender<Vec<u8>>,
    record: Arc<Mutex<Record>>,
}

impl Writer {
    pub fn track(&self, channel: &str, state: u64) {
        let mut record = self.record.lock().expect("nothing fails that holds it");
        record.shown.insert(channel.to_owned(), state);
        let join = json!({"type": "presence_join", "channel": channel, "state": {"n": state}});
        let _ = self.frames.send(text_frame(&join.to_string()));
    }
}

/// What a client knows and was told.
#[derive(Debug, Default)]
pub struct Record {
    pub lists: BTreeMap<String, List>,
    /// By channel and user, since the last [`Client::forget`]. A list that comes instead of events counts
    /// as what it changes.
    pub told: BTreeMap<(String, String), Vec<Told>>,
    /// Of all leaves since then.
    pub reasons: BTreeSet<String>,
    /// Of messages with a `ref`: `ack`, or the code of an error.
    pub answers: BTreeMap<u64, Vec<String>>,
    /// What it shows, by channel.
    pub shown: BTreeMap<String, u64>,
    /// What no server may say.
    pub wrong: Vec<String>,
    /// What resumes this connection.
    pub resume: Option<String>,
    pub is_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Joined,
    Left,
}

/// The list of a channel.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub position: (u64, u64),
    /// The users by connection.
    pub members: BTreeMap<String, String>,
    /// How many whole lists have come.
    pub snapshots: u64,
    /// The last of them: epoch, seq and rows.
    pub snapshot: Value,
}

impl Client {
    /// One that has authenticated, or come back with what resumes a connection.
    pub fn connect(address: SocketAddr, user: &str, resume: Option<&str>) -> Self {
        let connection = wait_for(RawConnection::connect(address, ""));
        let (frames, wanted) = unbounded_channel();
        let record = Arc::default();
        let task = background().spawn(run(connection, wanted, Arc::clone(&record)));
        let client = Self { user: user.to_owned(), frames, record, task };
        let token = token(&json!({"sub": user, "exp": 4_000_000_000_u32}));
        client.send(&json!({"type": "auth", "token": token, "resume": resume}));
        client
    }

    pub fn send(&self, message: &Value) {
        let _ = self.frames.send(text_frame(&message.to_string()));
    }

    pub fn subscribe(&self, channels: &[String]) {
        self.send(&json!({"type": "subscribe", "channels": channels}));
        self.until("it has each list", |record| {
            channels.iter().all(|channel| record.lists.contains_key(channel))
        });
    }

    /// Shows itself, or another state.
    pub fn track(&self, channel: &str, state: u64) {
        self.writer().track(channel, state);
    }

    pub fn writer(&self) -> Writer {
        Writer { frames: self.frames.clone(), record: Arc::clone(&self.record) }
    }

    /// Asks for each list, and waits for it.
    pub fn sync(&self, channels: &[String]) -> Vec<Value> {
        let before: Vec<u64> =
            channels.iter().map(|channel| self.record().lists[channel].snapshots).collect();
        for channel in channels {
            self.send(&json!({"type": "presence_sync", "channel": channel}));
        }
        self.until("it gets each list", |record| {
            channels.iter().zip(&before).all(|(channel, n)| record.lists[channel].snapshots > *n)
        });
        let record = self.record();
        channels.iter().map(|channel| record.lists[channel].snapshot.clone()).collect()
    }

    /// What it was told up to now is done with.
    pub fn forget(&self) {
        let mut record = self.record();
        record.told.clear();
        record.reasons.clear();
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nothing fails that holds it")
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Record) -> bool) {
        let is_it = until(PATIENCE, || is_so(&self.record()) || self.task.is_finished());
        assert!(is_it && is_so(&self.record()), "{}: {what}: {:?}", self.user, self.record());
    }

    /// Nothing was said to it that no server may say.
    pub fn assert_right(&self) {
        let record = self.record();
        assert_eq!(record.wrong, [""; 0], "{}", self.user);
        let has_failed = self.task.is_finished() && !record.is_ended;
        assert!(!has_failed, "{}: it got what is no message", self.user);
    }

    /// Closes the connection as a client does that is done.
    pub fn close(self) {
        let _ = self.frames.send(frame(OpCode::Control(Control::Close), &1000_u16.to_be_bytes()));
        self.until("it is closed", |record| record.is_ended);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut connection: RawConnection,
    mut wanted: UnboundedReceiver<Vec<u8>>,
    record: Arc<Mutex<Record>>,
) {
    let take = |message: &Value| record.lock().expect("nothing fails that holds it").take(message);
    loop {
        let outgoing = tokio::select! {
            received = connection.next() => match received {
                Received::Message(message) => {
                    take(&message);
                    continue;
                }
                Received::Ping(payload) => frame(OpCode::Control(Control::Pong), &payload),
                Received::Pong(_) => continue,
                Received::Close(..) | Received::End => break,
            },
            Some(bytes) = wanted.recv() => bytes,
            // Before the connection takes silence for a failure.
            () = sleep(Duration::from_secs(5)) => continue,
        };
        if connection.try_send_bytes(&outgoing).await.is_err() {
            break;
        }
    }
    record.lock().expect("nothing fails that holds it").is_ended = true;
}

impl Record {
    fn take(&mut self, message: &Value) {
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        match text("type") {
            "presence_sync" => self.take_list(message),
            "presence_join" | "presence_update" | "presence_leave" => self.take_event(message),
            "auth_success" => self.resume = message["resume"].as_str().map(str::to_owned),
            kind @ ("ack" | "error") => {
                let answer = if kind == "ack" { kind } else { text("code") };
                match message["ref"].as_u64() {
                    Some(number) => self.answers.entry(number).or_default().push(answer.into()),
                    None => self.wrong.push(message.to_string()),
                }
            }
            _ => {}
        }
    }

    fn take_list(&mut self, message: &Value) {
        let channel = message["channel"].as_str().unwrap_or_default().to_owned();
        let is_first = !self.lists.contains_key(&channel);
        let list = self.lists.entry(channel.clone()).or_default();
        let number = |key: &str| message[key].as_u64().unwrap_or_default();
        let position = (number("epoch"), number("seq"));
        if position < list.position {
            self.wrong.push(format!("{channel}: {position:?} after {:?}", list.position));
        }
        let row = |row: &Value| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (text("connectionId"), text("userId"))
        };
        let rows = message["presences"].as_array().expect("it is a list").iter();
        let members = rows.map(row).collect();
        let before = std::mem::replace(&mut list.members, members);
        (list.position, list.snapshots) = (position, list.snapshots + 1);
        list.snapshot = json!([position.0, position.1, message["presences"]]);
        let gone = before.iter().filter(|(id, _)| !list.members.contains_key(*id));
        let new = list.members.iter().filter(|(id, _)| !before.contains_key(*id));
        let gone = gone.map(|(_, user)| (user, Told::Left));
        let new = new.map(|(_, user)| (user, Told::Joined));
        for (user, told) in gone.chain(new).filter(|_| !is_first) {
            self.told.entry((channel.clone(), user.clone())).or_default().push(told);
        }
    }

    fn take_event(&mut self, message: &Value) {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let (kind, channel, user) = (text("type"), text("channel"), text("userId"));
        let Some(list) = self.lists.get_mut(&channel) else {
            return self.wrong.push(format!("before the first list: {message}"));
        };
        let epoch = message["epoch"].as_u64();
        let position = (epoch.unwrap_or(list.position.0), message["seq"].as_u64().unwrap_or(0));
        let was = std::mem::replace(&mut list.position, position);
        let connection = text("connectionId");
        let is_right = match kind.as_str() {
            "presence_join" => list.members.insert(connection, user.clone()).is_none(),
            "presence_leave" => list.members.remove(&connection).is_some(),
            _ => list.members.contains_key(&connection),
        };
        if !is_right || position <= was {
            self.wrong.push(format!("after {was:?}: {message}"));
        }
        let told = match kind.as_str() {
            "presence_join" => Told::Joined,
            "presence_leave" => {
                self.reasons.insert(text("reason"));
                Told::Left
            }
            _ => return,
        };
        self.told.entry((channel, user)).or_default().push(told);
    }
}

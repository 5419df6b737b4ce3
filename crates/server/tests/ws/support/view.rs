//! What a subscriber may believe, and what it may never be told. Applying a message that breaks a
//! guarantee of the protocol fails the test.

use std::collections::BTreeMap;

use herenow_client::raw::RawConnection;
use serde_json::Value;

/// One subscriber's picture of one channel.
#[derive(Clone, Debug)]
pub struct View {
    channel: String,
    /// `(epoch, seq)`; `None` before the first snapshot.
    position: Option<(u64, u64)>,
    members: BTreeMap<String, (String, Value)>,
}

impl View {
    pub fn new(channel: &str) -> Self {
        Self { channel: channel.into(), position: None, members: BTreeMap::new() }
    }

    pub fn channel(&self) -> &str {
        &self.channel
    }

    pub fn position(&self) -> (u64, u64) {
        self.position.expect("a snapshot came")
    }

    /// Connection to user and state.
    pub fn members(&self) -> &BTreeMap<String, (String, Value)> {
        &self.members
    }

    /// The users, one per entry, sorted.
    pub fn users(&self) -> Vec<&str> {
        let mut users: Vec<_> = self.members.values().map(|(user, _)| user.as_str()).collect();
        users.sort_unstable();
        users
    }

    /// The state of a user with one entry.
    pub fn state_of(&self, user: &str) -> Option<&Value> {
        let mut members = self.members.values().filter(|(of, _)| of == user);
        let (_, state) = members.next()?;
        assert!(members.next().is_none(), "{user} has one entry");
        Some(state)
    }

    /// Takes the next message, which must be one of this channel's presence.
    pub fn apply(&mut self, message: &Value) {
        assert_eq!(message["channel"], *self.channel, "{message}");
        let seq = message["seq"].as_u64().expect("a presence frame has a seq");
        if message["type"] == "presence_sync" {
            return self.replace(message, seq);
        }
        let (epoch, known) = self.position.expect("no delta before the first snapshot");
        assert!(seq > known, "a delta's seq grows: {known} then {message}");
        self.position = Some((epoch, seq));
        let text = |field: &str| message[field].as_str().expect("an id is a string").to_owned();
        let (user, connection) = (text("userId"), text("connectionId"));
        match message["type"].as_str() {
            Some("presence_join") => {
                let was = self.members.insert(connection, (user, message["state"].clone()));
                assert!(was.is_none(), "a second join of a member: {message}");
            }
            Some("presence_update") => {
                let entry = self.members.get_mut(&connection);
                let entry = entry.unwrap_or_else(|| panic!("update of no entry: {message}"));
                assert_eq!(entry.0, user);
                entry.1 = message["state"].clone();
            }
            Some("presence_leave") => {
                let was = self.members.remove(&connection);
                let was = was.unwrap_or_else(|| panic!("leave of no entry: {message}"));
                assert_eq!(was.0, user);
                let reasons = ["disconnect", "timeout", "leave", "kicked"];
                assert!(reasons.contains(&message["reason"].as_str().unwrap_or("none")));
            }
            _ => panic!("no presence frame: {message}"),
        }
    }

    /// Reads until the view is as wanted.
    pub async fn read_until(&mut self, peer: &mut RawConnection, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            self.apply(&peer.next_message().await);
        }
    }

    fn replace(&mut self, message: &Value, seq: u64) {
        let epoch = message["epoch"].as_u64().expect("a snapshot has an epoch");
        if let Some((known_epoch, known_seq)) = self.position {
            assert!(epoch >= known_epoch, "an epoch never goes back");
            assert!(epoch > known_epoch || seq >= known_seq, "a snapshot is never older");
        }
        self.position = Some((epoch, seq));
        self.members.clear();
        for row in message["presences"].as_array().expect("a snapshot has rows") {
            let text = |field: &str| row[field].as_str().expect("an id is a string").to_owned();
            let was =
                self.members.insert(text("connectionId"), (text("userId"), row["state"].clone()));
            assert!(was.is_none(), "a member is one row: {message}");
            assert!(row["state"].is_object());
        }
    }
}

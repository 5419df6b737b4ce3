//! The roster against `fixtures/roster.json`, which every client library is tested from, and
//! against a model.

use std::collections::BTreeMap;

use herenow_client::protocol::{Delta, Departure, Position, Row, ServerMessage, Snapshot};
use herenow_client::roster::{Outcome, Roster, RosterEvent, UserRow};
use herenow_wire::ChannelName;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn the_roster_says_what_the_fixture_states() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/roster.json");
    let fixture = std::fs::read_to_string(path).expect("the fixture is in the repository");
    let fixture: Value = serde_json::from_str(&fixture).expect("the fixture is JSON");
    let cases = fixture["cases"].as_array().expect("the fixture has cases");
    assert!(!cases.is_empty());
    for case in cases {
        let mut roster = Roster::default();
        for (index, step) in case["steps"].as_array().expect("a case has steps").iter().enumerate()
        {
            let outcome = apply(&mut roster, step);
            let events: Vec<_> = outcome.events.iter().map(event_json).collect();
            let users: Vec<_> = roster.users().iter().map(user_json).collect();
            let got = json!({"events": events, "changed": outcome.changed, "users": users});
            let want = json!({
                "events": step["events"], "changed": step["changed"], "users": step["users"],
            });
            assert_eq!(got, want, "case {}, step {index}", case["name"]);
        }
    }
}

fn apply(roster: &mut Roster, step: &Value) -> Outcome {
    if step["reconnected"] == true {
        roster.suspend();
        return Outcome::default();
    }
    if step["lost"] == true {
        return roster.lose();
    }
    match ServerMessage::parse(&step["frame"].to_string()) {
        ServerMessage::Sync(snapshot) => roster.apply_snapshot(&snapshot),
        ServerMessage::Join(delta) | ServerMessage::Update(delta) => roster.apply_delta(&delta),
        ServerMessage::Leave(departure) => roster.apply_departure(&departure),
        other => panic!("no presence frame: {other:?}"),
    }
}

fn event_json(event: &RosterEvent) -> Value {
    match event {
        RosterEvent::Join { row, first } => {
            let mut json = row_json("join", row);
            json["first"] = json!(first);
            json
        }
        RosterEvent::Update { row } => row_json("update", row),
        RosterEvent::Leave { user_id, connection_id, reason, last } => json!({
            "type": "leave", "userId": user_id, "connectionId": connection_id,
            "reason": reason, "last": last,
        }),
    }
}

fn row_json(kind: &str, row: &Row) -> Value {
    let json = json!({
        "type": kind, "userId": row.user_id, "connectionId": row.connection_id,
        "state": parsed(&row.state),
    });
    with_info(json, row.info.as_deref())
}

fn user_json(row: &UserRow) -> Value {
    let connections = row.connections.iter().map(|row| {
        let json = json!({"connectionId": row.connection_id, "state": parsed(&row.state)});
        with_info(json, row.info.as_deref())
    });
    let json = json!({
        "userId": row.user_id, "state": parsed(&row.state),
        "connections": connections.collect::<Vec<_>>(),
    });
    with_info(json, row.info.as_deref())
}

fn with_info(mut json: Value, info: Option<&str>) -> Value {
    if let Some(info) = info {
        json["info"] = parsed(info);
    }
    json
}

fn parsed(state: &str) -> Value {
    serde_json::from_str(state).expect("a state is JSON")
}

/// The server, so simple that it is obviously right: connection to user and state.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: BTreeMap<u8, (u8, u8)>,
    seq: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        connection: u8,
        state: u8,
    },
    Remove {
        connection: u8,
    },
    Snapshot,
    /// The client is away while these happen.
    Away(Vec<Step>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6u8, 0..4u8).prop_map(|(connection, state)| Step::Put { connection, state }),
        2 => (0..6u8).prop_map(|connection| Step::Remove { connection }),
        1 => Just(Step::Snapshot),
    ];
    let away = prop::collection::vec(step.clone(), 0..5).prop_map(Step::Away);
    prop::collection::vec(prop_oneof![8 => step, 1 => away], 1..60)
}

impl Model {
    fn snapshot(&self) -> Snapshot {
        let rows = self.entries.iter().map(|(connection, (user, state))| Row {
            user_id: format!("u{user}").into(),
            connection_id: format!("c{connection}").into(),
            state: format!("{{\"n\":{state}}}").into(),
            info: None,
        });
        let position = Position { epoch: 1, seq: self.seq };
        Snapshot { channel: channel(), position, rows: rows.collect() }
    }

    /// Does the step and tells the client, where there is one to tell.
    fn step(&mut self, step: &Step, mut client: Option<&mut Fold>) {
        match step {
            Step::Put { connection, state } => {
                self.seq += 1;
                let user = connection / 2;
                self.entries.insert(*connection, (user, *state));
                let row = Row {
                    user_id: format!("u{user}").into(),
                    connection_id: format!("c{connection}").into(),
                    state: format!("{{\"n\":{state}}}").into(),
                    info: None,
                };
                let delta = Delta { channel: channel(), epoch: None, seq: self.seq, row };
                if let Some(client) = client {
                    client.take(|roster| roster.apply_delta(&delta));
                }
            }
            Step::Remove { connection } => {
                let Some((user, _)) = self.entries.remove(connection) else { return };
                self.seq += 1;
                let departure = Departure {
                    channel: channel(),
                    epoch: None,
                    seq: self.seq,
                    user_id: format!("u{user}").into(),
                    connection_id: format!("c{connection}").into(),
                    reason: "leave".into(),
                };
                if let Some(client) = client {
                    client.take(|roster| roster.apply_departure(&departure));
                }
            }
            Step::Snapshot => {
                if let Some(client) = client {
                    client.take(|roster| roster.apply_snapshot(&self.snapshot()));
                }
            }
            Step::Away(steps) => {
                steps.iter().for_each(|step| self.step(step, None));
                if let Some(client) = client.as_mut() {
                    client.roster.suspend();
                    client.take(|roster| roster.apply_snapshot(&self.snapshot()));
                }
            }
        }
    }
}

/// A roster, and what an application that only hears its events would believe.
#[derive(Default)]
struct Fold {
    roster: Roster,
    heard: BTreeMap<String, String>,
    users: BTreeMap<String, usize>,
}

impl Fold {
    fn take(&mut self, frame: impl FnOnce(&mut Roster) -> Outcome) {
        for event in frame(&mut self.roster).events {
            match event {
                RosterEvent::Join { row, first } => {
                    let count = self.users.entry(row.user_id.to_string()).or_default();
                    assert_eq!(first, *count == 0, "first says whether the user came");
                    *count += 1;
                    let was =
                        self.heard.insert(row.connection_id.to_string(), row.state.to_string());
                    assert_eq!(was, None, "an entry joins once");
                }
                RosterEvent::Update { row } => {
                    let was =
                        self.heard.insert(row.connection_id.to_string(), row.state.to_string());
                    assert!(was.is_some(), "only an entry that is there is updated");
                }
                RosterEvent::Leave { user_id, connection_id, last, .. } => {
                    assert!(self.heard.remove(&*connection_id).is_some(), "an entry leaves once");
                    let count = self.users.get_mut(&*user_id).expect("the user is there");
                    *count -= 1;
                    assert_eq!(last, *count == 0, "last says whether the user went");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_events_and_the_list_fold_to_the_servers_set(steps in steps()) {
        let (mut model, mut client) = (Model::default(), Fold::default());
        client.take(|roster| roster.apply_snapshot(&model.snapshot()));
        for step in &steps {
            model.step(step, Some(&mut client));
            let truth: BTreeMap<_, _> = model.entries.iter()
                .map(|(connection, (_, state))| (format!("c{connection}"), format!("{{\"n\":{state}}}")))
                .collect();
            let listed: BTreeMap<_, _> = client.roster.users().iter()
                .flat_map(|user| user.connections.clone())
                .map(|row| (row.connection_id.to_string(), row.state.to_string()))
                .collect();
            prop_assert_eq!(&listed, &truth);
            prop_assert_eq!(&client.heard, &truth);
        }
    }
}

fn channel() -> ChannelName {
    ChannelName::parse("presence:game-room").expect("a good name")
}

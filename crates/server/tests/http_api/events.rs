//! `GET /channels/{channel}/events`: what happens in a channel, as Server-Sent Events.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use herenow_server::auth::ServiceKeys;
use serde_json::{Value, json};
use ureq::BodyReader;

use crate::server::{KEY, Server, track};

/// Streams that one server has at once.
const MAX_STREAMS: usize = 64;
/// How long something may take that happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Events {
    lines: BufReader<BodyReader<'static>>,
    content_type: String,
}

#[derive(Debug, PartialEq)]
pub struct Event {
    pub kind: String,
    pub id: String,
    pub data: Value,
}

/// Who is in a channel, and what each shows, at the position of the last event.
#[derive(Debug, Default, PartialEq)]
struct List {
    members: BTreeMap<String, Value>,
    at: (u64, u64),
}

pub fn open(server: &Server, channel: &str) -> Result<Events, u16> {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    // A comment comes twice in that time.
    let config = config.timeout_recv_body(Some(PATIENCE * 4)).build();
    let url = format!("http://{}/api/presence/channels/{channel}/events", server.0.addr);
    let request =
        ureq::Agent::from(config).get(url).header("authorization", format!("Bearer {KEY}"));
    let answer = request.call().expect("the server answers");
    if answer.status() != 200 {
        return Err(answer.status().as_u16());
    }
    let content_type = answer.headers()["content-type"].to_str().expect("text").to_owned();
    Ok(Events { lines: BufReader::new(answer.into_body().into_reader()), content_type })
}

impl Events {
    /// The next event, or `None` where the server has ended the stream in order.
    pub fn next(&mut self) -> Option<Event> {
        let mut fields = BTreeMap::new();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("the stream is whole") == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some((field, value)) => fields.insert(field.to_owned(), value.to_owned()),
                None if fields.is_empty() => continue,
                None => break,
            };
        }
        let data = serde_json::from_str(&fields["data"]).expect("JSON");
        Some(Event { kind: fields["event"].clone(), id: fields["id"].clone(), data })
    }

    fn of_kind(&mut self, kind: &str) -> Event {
        let event = self.next().expect("the stream goes on");
        assert_eq!(event.kind, kind, "{event:?}");
        event
    }
}

impl List {
    fn fold(&mut self, event: &Event) {
        let data = &event.data;
        let state = |member: &Value| {
            let id = member["connectionId"].as_str().expect("an id").to_owned();
            (id, member["state"].clone())
        };
        match &*event.kind {
            "presence_sync" => {
                let rows = data["presences"].as_array().expect("a list");
                self.members = rows.iter().map(state).collect();
                self.at.0 = data["epoch"].as_u64().expect("an epoch");
            }
            "presence_leave" => drop(self.members.remove(&state(data).0)),
            _ => self.members.extend([state(data)]),
        }
        self.at.1 = data["seq"].as_u64().expect("a seq");
        assert_eq!(event.id, format!("{}-{}", self.at.0, self.at.1), "{event:?}");
    }
}

fn bot(state: Value) -> Value {
    json!({"userId": "bot", "state": state, "ttlMs": 60_000})
}

#[tokio::test]
async fn a_stream_has_the_messages_that_subscribers_get() {
    let server = Server::start();
    let (mut peer, _) = server.join("ann", "presence:a", json!({"n": 0})).await;
    let mut events = open(&server, "a").expect("it is open");
    assert_eq!(events.content_type, "text/event-stream");
    let sync = events.of_kind("presence_sync");
    assert_eq!(sync.data["presences"][0]["state"], json!({"n": 0}));
    let mut list = List::default();
    list.fold(&sync);
    // One after the other: changes that one flush tells are merged.
    for (n, kind) in ["presence_join", "presence_update", "presence_leave"].into_iter().enumerate()
    {
        match kind {
            "presence_leave" => server.send("DELETE", "/channels/a/presence/bot", None),
            _ => server.put("/channels/a/presence/bot", bot(json!({"n": n}))),
        };
        let event = events.of_kind(kind);
        assert_eq!(event.data, peer.next_of_type(kind).await);
        list.fold(&event);
    }
    let now = server.get("/channels/a").json();
    assert_eq!(json!([list.at.0, list.at.1]), json!([now["epoch"], now["seq"]]));
    assert_eq!(list.members.len(), 1);
    assert_eq!(now["subscribers"], 2, "one that watches subscribes");
}

#[test]
fn a_channel_that_nobody_uses_has_an_empty_list_and_its_name_is_checked() {
    let server = Server::start();
    let sync = open(&server, "presence%3Aa%2Fb").expect("it is open").of_kind("presence_sync");
    assert_eq!(
        (&sync.data["channel"], &sync.data["presences"]),
        (&json!("presence:a/b"), &json!([]))
    );
    server.get("/channels/%00/events").is_refused(400, "INVALID_CHANNEL");
    server.get("/channels/a/events?since=1").is_refused(400, "INVALID_PARAMETER");
    server.post("/channels/a/events", json!({})).is_refused(405, "METHOD_NOT_ALLOWED");
}

#[test]
fn so_many_streams_are_open_and_one_that_is_closed_leaves_nothing() {
    let server = Server::start();
    let mut all: Vec<Events> =
        (0..MAX_STREAMS).map(|n| open(&server, "a").unwrap_or_else(|_| panic!("{n}"))).collect();
    all.iter_mut().for_each(|events| drop(events.of_kind("presence_sync")));
    let until_subscribers = |wanted: usize| {
        let started = Instant::now();
        while server.get("/channels/a").json()["subscribers"] != wanted {
            assert!(started.elapsed() < PATIENCE, "there are not {wanted} subscribers");
        }
    };
    until_subscribers(MAX_STREAMS);
    let refused = server.get("/channels/b/events");
    refused.is_refused(503, "UNAVAILABLE");
    assert!(refused.detail().contains("64 event streams"), "{refused:?}");
    all.pop();
    until_subscribers(MAX_STREAMS - 1);
    all.push(open(&server, "a").expect("there is room again"));
    drop(all);
    until_subscribers(0);
    assert_eq!(server.get("/channels").json()["channels"], json!([]));
}

#[test]
fn streams_take_no_place_of_other_requests() {
    let server = Server::start();
    let streams: Vec<Events> =
        (0..MAX_STREAMS).map(|_| open(&server, "a").expect("it is open")).collect();
    // As many requests as may be answered at once are.
    for _ in 0..64 {
        assert_eq!(server.get("/channels/a").status, 200);
    }
    drop(streams);
}

#[tokio::test]
async fn a_reader_that_stops_for_a_while_gets_a_new_list_and_no_backlog() {
    let server = Server::with(|settings| {
        settings.send_queue_bytes = 16 * 1024;
        settings.max_messages_per_second = 100_000;
        settings.message_burst = 1_000_000;
    });
    let (mut peer, _) = server.join("ann", "presence:a", json!({"n": 0})).await;
    let mut events = open(&server, "a").expect("it is open");
    let mut list = List::default();
    list.fold(&events.of_kind("presence_sync"));
    // Far more than all buffers between the loop and this reader hold.
    let padding = "x".repeat(900);
    let updates = 30_000;
    for n in 1..=updates {
        let state = json!({"n": n, "x": padding});
        let message = json!({"type": "presence_update", "channel": "presence:a", "state": state});
        peer.send(message).await;
        if n % 100 == 0 {
            track(&mut peer, "presence:a", json!({"n": n})).await;
        }
    }
    let mut seen = 0;
    let mut lists = 0;
    while list.members.values().next().map(|state| &state["n"]) != Some(&json!(updates)) {
        let event = events.next().expect("the stream goes on");
        seen += 1;
        lists += usize::from(event.kind == "presence_sync");
        list.fold(&event);
    }
    assert!(lists > 0, "it was sent every change: {seen}");
    assert!(seen < updates, "{seen} events of {updates} changes");
    let now = server.get("/channels/a").json();
    assert_eq!(json!([list.at.0, list.at.1]), json!([now["epoch"], now["seq"]]));
}

#[test]
fn a_stream_ends_in_order_when_its_key_is_replaced_and_when_the_server_stops() {
    let path = std::env::temp_dir().join(format!("herenow-stream-keys-{}", std::process::id()));
    std::fs::write(&path, KEY).expect("the temporary folder can be written");
    let server = Server::with_keys(ServiceKeys::open(&path).expect("a good file"), |_| {});
    let mut events = open(&server, "a").expect("it is open");
    events.of_kind("presence_sync");
    let other = format!("{KEY}-another");
    std::fs::write(&path, format!("{other}\n{KEY}")).expect("it can be written");
    // It looks at its keys when it has something to say.
    assert_eq!(events.next(), None, "the client opens it anew");
    let mut events = open(&server, "a").expect("the key is still good");
    events.of_kind("presence_sync");
    std::fs::remove_file(&path).expect("it is there");
    let reader = std::thread::spawn(move || events.next());
    drop(server);
    assert_eq!(reader.join().expect("the stream is whole"), None);
}

#[test]
fn the_head_of_a_stream_can_be_asked_for() {
    let server = Server::start();
    let head = server.send("HEAD", "/channels/a/events", None);
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
}

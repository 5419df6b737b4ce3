//! However a list is seen, over a socket, over HTTP in one page or in several, or as a stream of
//! events: an epoch and a seq name one set of members.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::events::open;
use crate::server::{Server, track};

const SOCKETS: u64 = 200;
/// How long they come, change and go. A load, and no bound: a slow machine does less in that time.
const CHURN: Duration = Duration::from_secs(20);
/// For so much of it, one reader of a stream reads nothing.
const PAUSE: Duration = Duration::from_secs(10);
/// How long it may take until everybody has left who is to leave.
const PATIENCE: Duration = Duration::from_secs(60);
const CHANNEL: &str = "presence:churn";
/// Long enough to fill what lies between the server and a reader that has stopped.
const PADDING_BYTES: usize = 500;

/// How a list was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Socket,
    Page,
    Pages,
    Stream,
    PausedStream,
}

/// Every list that was seen, by epoch and seq.
#[derive(Default)]
struct Truth {
    seen: Mutex<HashMap<(u64, u64), (List, Way)>>,
    /// How often a list that was seen in one way had been seen in another before.
    agreed: Mutex<HashMap<Way, u64>>,
}

/// A set of members: how many, and a hash of them in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct List {
    members: usize,
    hash: u64,
}

/// A list that is kept by the messages of the protocol.
#[derive(Default)]
struct Folded {
    members: HashMap<String, u64>,
    hash: u64,
    at: (u64, u64),
    syncs: u64,
}

/// Whether the member is there that is put when everything has been said.
#[derive(PartialEq)]
enum Heard {
    End,
    More,
}

impl Truth {
    fn meet(&self, way: Way, at: (u64, u64), list: List) {
        let mut seen = self.seen.lock().expect("nobody panics with it");
        match seen.entry(at) {
            Entry::Vacant(place) => drop(place.insert((list, way))),
            Entry::Occupied(known) => {
                let (known, by) = *known.get();
                if known != list {
                    drop(seen);
                    panic!("{at:?} is {known:?} by {by:?} and {list:?} by {way:?}");
                }
                if by != way {
                    let mut agreed = self.agreed.lock().expect("nobody panics with it");
                    *agreed.entry(way).or_default() += 1;
                }
            }
        }
    }
}

impl Folded {
    fn fold(&mut self, kind: &str, data: &Value, (way, truth): (Way, &Truth)) -> Heard {
        match kind {
            "presence_sync" => {
                self.syncs += 1;
                self.at.0 = data["epoch"].as_u64().expect("an epoch");
                self.members = rows(&data["presences"]).collect();
                self.hash = self.members.values().fold(0, |all, one| all ^ one);
            }
            "presence_join" | "presence_update" => {
                let (id, hash) = row(data);
                self.hash ^= hash ^ self.members.insert(id, hash).unwrap_or_default();
            }
            "presence_leave" => {
                let gone = self.members.remove(data["connectionId"].as_str().expect("an id"));
                self.hash ^= gone.expect("a member that leaves was there");
            }
            _ => return Heard::More,
        }
        self.at.1 = data["seq"].as_u64().expect("a seq");
        truth.meet(way, self.at, List { members: self.members.len(), hash: self.hash });
        let is_end = |member: &Value| member["userId"] == "end";
        match is_end(data) || data["presences"].as_array().is_some_and(|all| all.iter().any(is_end))
        {
            true => Heard::End,
            false => Heard::More,
        }
    }
}

fn rows(presences: &Value) -> impl Iterator<Item = (String, u64)> {
    presences.as_array().expect("a list").iter().map(row)
}

fn row(member: &Value) -> (String, u64) {
    let id = member["connectionId"].as_str().expect("an id").to_owned();
    let mut hasher = DefaultHasher::new();
    (&id, member["userId"].as_str(), member["state"].to_string()).hash(&mut hasher);
    (id, hasher.finish())
}

fn list_of(members: &[(String, u64)]) -> List {
    let hash = members.iter().fold(0, |all, (_, one)| all ^ one);
    List { members: members.len(), hash }
}

fn state(number: u64) -> Value {
    json!({"n": number, "x": "x".repeat(PADDING_BYTES)})
}

/// Comes, changes, goes and comes back until it is told to stop. Returns what it shows then.
async fn churn(server: Arc<Server>, number: u64, stop: Arc<AtomicBool>) -> (RawConnection, u64) {
    let user = format!("user-{}", number / 2);
    let mut random = number;
    let mut shows = number;
    let (mut peer, _) = server.join(&user, CHANNEL, state(shows)).await;
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        shows += SOCKETS;
        match (random >> 33) % 10 {
            0 => {
                drop(peer);
                (peer, _) = server.join(&user, CHANNEL, state(shows)).await;
                continue;
            }
            1 => {
                let leave = json!({"type": "presence_leave", "channel": CHANNEL, "ref": 2});
                peer.send(leave).await;
                while peer.next_message().await != json!({"type": "ack", "ref": 2}) {}
            }
            _ => {}
        }
        track(&mut peer, CHANNEL, state(shows)).await;
    }
    (peer, shows)
}

/// Follows the channel over a socket to the end.
async fn observe(server: Arc<Server>, truth: Arc<Truth>) {
    let mut peer = server.sign_in("observer").await;
    peer.send(json!({"type": "subscribe", "channel": CHANNEL})).await;
    let mut list = Folded::default();
    loop {
        let message = peer.next_message().await;
        let kind = message["type"].as_str().expect("a type");
        if list.fold(kind, &message, (Way::Socket, &truth)) == Heard::End {
            return;
        }
    }
}

/// Follows the channel as events to the end. Stops for a while if there is something to wait for.
/// Returns how many whole lists it was sent.
fn follow(server: &Server, truth: &Truth, (way, pause): (Way, Option<Receiver<()>>)) -> u64 {
    let mut events = open(server, "churn").expect("it is open");
    let mut list = Folded::default();
    if let Some(pause) = pause {
        let first = events.next().expect("the stream goes on");
        list.fold(&first.kind, &first.data, (way, truth));
        pause.recv().expect("the pause ends");
    }
    loop {
        let event = events.next().expect("the stream goes on");
        let heard = list.fold(&event.kind, &event.data, (way, truth));
        assert_eq!(event.id, format!("{}-{}", list.at.0, list.at.1));
        if heard == Heard::End {
            return list.syncs;
        }
    }
}

/// Reads the whole list, page by page. `None` if it changed between two pages.
fn read_list(server: &Server, truth: &Truth, (way, limit): (Way, u64)) -> Option<Value> {
    let mut members = Vec::new();
    let mut presences = Vec::new();
    let mut at = None;
    let mut cursor = String::new();
    loop {
        let path = format!("/channels/churn/presence?limit={limit}{cursor}");
        let page = server.get(&path).json();
        let position = (page["epoch"].as_u64()?, page["seq"].as_u64()?);
        if *at.get_or_insert(position) != position {
            return None;
        }
        members.extend(rows(&page["presences"]));
        presences.extend(page["presences"].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => {
                truth.meet(way, position, list_of(&members));
                return Some(presences.into());
            }
        }
    }
}

/// Reads until everybody who has gone is seen to be gone. Returns what each member shows.
fn read_settled(server: &Server, truth: &Truth) -> Vec<u64> {
    let started = Instant::now();
    loop {
        let list = read_list(server, truth, (Way::Pages, 64)).expect("nothing changes any more");
        let list = list.as_array().expect("a list");
        if list.len() == SOCKETS as usize {
            let shown = list.iter().map(|member| member["state"]["n"].as_u64().expect("a number"));
            let mut shown: Vec<u64> = shown.collect();
            shown.sort_unstable();
            return shown;
        }
        assert!(started.elapsed() < PATIENCE, "{} members", list.len());
    }
}

#[tokio::test]
async fn an_epoch_and_a_seq_name_one_set_of_members_however_it_is_seen() {
    let server = Arc::new(Server::with(|settings| {
        settings.max_messages_per_second = 100_000;
        settings.message_burst = 1_000_000;
        settings.max_unauthenticated_per_address = 1_000;
        // What is held here does not hurry, however busy the machine is.
        settings.auth_timeout_ms = 60_000;
    }));
    let truth = Arc::new(Truth::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut observers = JoinSet::new();
    for _ in 0..3 {
        observers.spawn(observe(server.clone(), truth.clone()));
    }
    let (resume, pause) = channel();
    let mut streams = Vec::new();
    for how in [(Way::Stream, None), (Way::Stream, None), (Way::PausedStream, Some(pause))] {
        let (server, truth) = (server.clone(), truth.clone());
        streams.push(thread::spawn(move || follow(&server, &truth, how)));
    }
    let mut lists = Vec::new();
    for how in [(Way::Page, 1000), (Way::Pages, 64)] {
        let (server, truth, stop) = (server.clone(), truth.clone(), stop.clone());
        lists.push(thread::spawn(move || {
            let reads = || read_list(&server, &truth, how).is_some();
            std::iter::repeat_with(reads).take_while(|_| !stop.load(Ordering::Relaxed)).count()
        }));
    }
    let mut sockets = JoinSet::new();
    for number in 0..SOCKETS {
        sockets.spawn(churn(server.clone(), number, stop.clone()));
    }
    tokio::time::sleep(PAUSE).await;
    resume.send(()).expect("the reader waits");
    tokio::time::sleep(CHURN - PAUSE).await;
    stop.store(true, Ordering::Relaxed);
    let (peers, mut shown): (Vec<_>, Vec<u64>) = sockets.join_all().await.into_iter().unzip();
    let reads: Vec<usize> =
        lists.into_iter().map(|list| list.join().expect("the lists are true")).collect();

    shown.sort_unstable();
    assert_eq!(read_settled(&server, &truth), shown);
    let end = json!({"userId": "end", "state": {}, "ttlMs": 3_600_000});
    assert_eq!(server.put("/channels/churn/presence/end", end).status, 201);
    observers.join_all().await;
    for stream in streams {
        assert!(stream.join().expect("the events are true") > 0);
    }
    read_list(&server, &truth, (Way::Pages, 64)).expect("nothing changes any more");
    let agreed = truth.agreed.lock().expect("nobody panics with it");
    let seen = truth.seen.lock().expect("nobody panics with it").len();
    println!("{seen} lists, {reads:?} reads over HTTP, agreed: {agreed:?}");
    for way in [Way::Page, Way::Stream, Way::PausedStream] {
        assert!(agreed.get(&way).is_some_and(|times| *times > 0), "{way:?}: {agreed:?}");
    }
    drop(peers);
}

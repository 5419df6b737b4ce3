//! How long a change in a quiet channel takes to be seen while everything else is listed without a
//! pause. A measurement, and no test: what bounds it is tested by counting, in `request_cost.rs` of the
//! hub. Run it with
//! `cargo test --release -p herenow-server --test http_api -- --ignored --nocapture listing`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use ureq::Agent;

use crate::server::{KEY, Server, track};

const CHANNELS: usize = 10_000;
/// Members of each, and of one channel that has as many as all of them together.
const MEMBERS: usize = 5;
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(5);
const WRITERS: usize = 8;
const QUIET: &str = "presence:quiet";

/// A client that keeps its connections.
struct Backend {
    agent: Agent,
    base: String,
}

impl Backend {
    fn of(server: &Server) -> Self {
        let base = format!("http://{}/api/presence", server.0.addr);
        Self { agent: Agent::new_with_defaults(), base }
    }

    fn show(&self, channel: &str, key: usize) {
        let url = format!("{}/channels/{channel}/presence/{key}", self.base);
        let member = json!({"userId": format!("user-{key:06}"), "state": {"n": key, "status": "here"},
                            "ttlMs": 86_400_000});
        let request = self.agent.put(url).header("authorization", format!("Bearer {KEY}"));
        request.send_json(member).expect("there is room");
    }

    /// Reads all pages of a list. Returns how many there were.
    fn read_all(&self, path: &str, stop: &AtomicBool) -> u64 {
        let mut pages = 0;
        let mut cursor = String::new();
        while !stop.load(Ordering::Relaxed) {
            let url = format!("{}{path}?limit=1000{cursor}", self.base);
            let request = self.agent.get(url).header("authorization", format!("Bearer {KEY}"));
            let body = request.call().expect("it answers").body_mut().read_to_string();
            let body = body.expect("the answer is text");
            pages += 1;
            let (_, next) = body.rsplit_once("\"next\":").expect("a page has it");
            match next.trim_end_matches('}').trim_matches('"') {
                "null" => break,
                next => cursor = format!("&cursor={next}"),
            }
        }
        pages
    }
}

fn fill(server: &Arc<Server>) {
    let writers = (0..WRITERS).map(|writer| {
        let server = server.clone();
        thread::spawn(move || {
            let backend = Backend::of(&server);
            for n in (writer..CHANNELS * MEMBERS).step_by(WRITERS) {
                backend.show(&format!("room-{:05}", n % CHANNELS), n);
                backend.show("large", n);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    writers.into_iter().for_each(|writer| writer.join().expect("all are shown"));
}

fn describe(latencies: &mut [Duration]) -> String {
    latencies.sort_unstable();
    let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    let longest = latencies.last().map_or(0.0, |longest| longest.as_secs_f64() * 1e3);
    let count = latencies.len();
    format!("p50 {:.2}, p99 {:.2}, longest {longest:.2} ms of {count}", at(0.5), at(0.99))
}

#[ignore = "a measurement"]
#[tokio::test]
async fn a_quiet_channel_beside_a_listing_without_pause() {
    let server = Arc::new(Server::with(|settings| {
        settings.max_messages_per_second = 1_000_000;
        settings.message_burst = 1_000_000;
    }));
    fill(&server);
    let (mut sender, _) = server.join("ann", QUIET, json!({"n": 0})).await;
    let (mut reader, _) = server.join("bob", QUIET, json!({})).await;
    track(&mut reader, QUIET, json!({"is": "here"})).await;
    let mut latencies = [Vec::new(), Vec::new()];
    let pages = Arc::new(AtomicU64::new(0));
    let mut n = 0_u64;
    for round in 0..2 * ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let paths: &[&'static str] = &["/channels", "/channels/large/presence"];
        let lists: &[_] = if round % 2 == 1 { paths } else { &[] };
        let lists = lists.iter().map(|path| {
            let (server, stop, pages) = (server.clone(), stop.clone(), pages.clone());
            thread::spawn(move || {
                let backend = Backend::of(&server);
                while !stop.load(Ordering::Relaxed) {
                    pages.fetch_add(backend.read_all(path, &stop), Ordering::Relaxed);
                }
            })
        });
        let lists: Vec<_> = lists.collect();
        let began = Instant::now();
        while began.elapsed() < ROUND {
            n += 1;
            let update = json!({"type": "presence_update", "channel": QUIET, "state": {"n": n}});
            let sent = Instant::now();
            sender.send(update).await;
            while reader.next_of_type("presence_update").await["state"]["n"] != n {}
            latencies[round % 2].push(sent.elapsed());
            sender.next_of_type("presence_update").await;
        }
        stop.store(true, Ordering::Relaxed);
        lists.into_iter().for_each(|list| list.join().expect("it reads"));
    }
    let [alone, beside] = &mut latencies;
    println!("alone: {}", describe(alone));
    println!("beside a listing of {} pages: {}", pages.load(Ordering::Relaxed), describe(beside));
}

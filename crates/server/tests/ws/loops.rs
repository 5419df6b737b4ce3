//! A channel whose subscribers sit on more than one loop.

use serde_json::json;

use crate::support::{Server, track};

const SUBSCRIBERS: usize = 12;
const UPDATES: u64 = 20;

#[tokio::test]
async fn a_flush_is_one_message_to_another_loop_whatever_the_number_of_its_subscribers() {
    // Two loops, to which connections go in turn.
    let server = Server::start();
    let mut peers = Vec::new();
    for n in 0..SUBSCRIBERS {
        peers.push(server.watch(&format!("user-{n}")).await);
    }
    let read = async || {
        let flushes = server.counter("flushes_total").await;
        (flushes, server.counter("flushes_forwarded_total").await)
    };
    // A loop publishes what it counts at the end of a turn, so that a message may be there before.
    let counts = async || {
        let mut before = read().await;
        loop {
            let now = read().await;
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let (flushes, passed_on) = counts().await;
    for n in 0..UPDATES {
        track(&mut peers[0].0, json!({ "n": n })).await;
        // All have it before the next one: each update is a flush of its own.
        for (peer, view) in &mut peers {
            view.apply(&peer.next_message().await);
        }
    }
    let (flushes_after, passed_on_after) = counts().await;
    assert_eq!(flushes_after - flushes, UPDATES);
    assert_eq!(passed_on_after - passed_on, UPDATES);
}

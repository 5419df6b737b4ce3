//! A connection that breaks and comes back within the grace is never seen to have gone.

use std::time::Duration;

use herenow_client::machine::{Event, Status};
use herenow_client::raw::{Control, OpCode, RawConnection, frame, text_frame};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    GAME, Proxy, Seat, Server, User, View, expect_error, fence, game, names, next_close, state,
    subscribe, token,
};

/// Longer than any test takes: what ends sooner did not end by itself.
const GRACE: Duration = Duration::from_secs(60);
/// More than two: connections go to the loops in turn, so both the own and the other loop occur.
const ATTEMPTS: usize = 12;

fn server() -> Server {
    Server::with(|settings| settings.disconnect_grace_ms = GRACE.as_millis() as u64)
}

// P7.8, P7.9
#[tokio::test]
async fn a_network_drop_shows_nobody_a_leave_or_a_join() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    let mut others = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let Seat { peer, id, resume } = seat;
        peer.reset();
        if attempt % 3 == 0 {
            others.push(server.connect().await);
        }
        seat = Seat::again(server.addr, &resume, &id).await;
        assert_ne!(seat.resume, resume, "each token works once");
        seat.expect_only(attempt, &mut watcher).await;
    }
}

// P7.15
#[tokio::test]
async fn a_page_that_is_loaded_again_is_not_seen_to_go() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    for attempt in 1..=ATTEMPTS {
        // A browser says the first, and a script the second.
        let code = if attempt % 2 == 0 { 1001 } else { 4010u16 };
        let Seat { mut peer, id, resume } = seat;
        peer.send_bytes(&frame(OpCode::Control(Control::Close), &code.to_be_bytes())).await;
        assert_eq!(next_close(&mut peer).await, code);
        peer.expect_end().await;
        seat = Seat::again(server.addr, &resume, &id).await;
        seat.expect_only(attempt, &mut watcher).await;
    }
}

// P7.10
#[tokio::test]
async fn a_socket_whose_place_is_taken_is_closed_and_takes_nothing_with_it() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    let mut others = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let Seat { mut peer, id, resume } = seat;
        if attempt % 3 == 0 {
            others.push(server.connect().await);
        }
        seat = Seat::again(server.addr, &resume, &id).await;
        assert_eq!(next_close(&mut peer).await, 1001);
        // What the old socket still says is not heard, nor is its end.
        let ghost = json!({"type": "presence_join", "channel": GAME, "state": {"ghost": true}});
        let _ = peer.try_send_bytes(&text_frame(&ghost.to_string())).await;
        peer.reset();
        fence(&mut seat.peer).await;
        seat.expect_only(attempt, &mut watcher).await;
    }
}

#[tokio::test]
async fn of_many_sockets_with_one_token_one_gets_the_place() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    for attempt in 1..=ATTEMPTS {
        let Seat { peer, id, resume } = seat;
        if attempt % 2 == 0 {
            peer.reset();
        }
        let mut claims = JoinSet::new();
        for _ in 0..4 {
            claims.spawn(Seat::take(server.addr, "jane", Some(resume.clone())));
        }
        let seats = claims.join_all().await;
        let (mut placed, others): (Vec<_>, Vec<_>) =
            seats.into_iter().partition(|seat| seat.id == id);
        assert_eq!(placed.len(), 1, "attempt {attempt}");
        seat = placed.pop().expect("there is one");
        let mut view = View::new(GAME);
        view.apply(&seat.peer.next_message().await);
        assert_eq!(view.members().keys().collect::<Vec<_>>(), [&id]);
        for mut other in others {
            fence(&mut other.peer).await;
        }
        seat.expect_only(attempt, &mut watcher).await;
    }
}

#[tokio::test]
async fn what_is_said_together_with_the_claim_counts_for_the_place() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    for n in 1..=ATTEMPTS {
        let Seat { peer, id, resume } = seat;
        peer.reset();
        let words = [
            json!({"type": "auth", "token": token("jane"), "resume": resume}),
            json!({"type": "presence_join", "channel": GAME, "state": {"n": n}}),
        ];
        let first: Vec<u8> = words.iter().flat_map(|word| text_frame(&word.to_string())).collect();
        let mut peer = RawConnection::connect_with(server.addr, "", &first).await;
        let reply = peer.next_message().await;
        assert_eq!((&reply["type"], &reply["connectionId"]), (&json!("auth_success"), &json!(id)));
        let update = watcher.0.next_message().await;
        let got = (&update["type"], &update["connectionId"], &update["state"]["n"]);
        assert_eq!(got, (&json!("presence_update"), &json!(id), &json!(n)));
        watcher.1.apply(&update);
        seat = Seat { peer, id, resume: reply["resume"].clone() };
    }
}

#[tokio::test]
async fn what_was_only_watched_ends_with_the_socket() {
    let server = server();
    let mut watcher = server.watch("watcher").await;
    let mut seat = Seat::tracked(server.addr, &mut watcher).await;
    seat.peer.next_of_type("presence_sync").await;
    subscribe(&mut seat.peer, "presence:watched").await;
    seat.peer.reset();
    server.until_gauge("connections", 1).await;
    let mut seat = Seat::again(server.addr, &seat.resume, &seat.id).await;
    seat.peer.send(json!({"type": "presence_sync", "channel": "presence:watched"})).await;
    expect_error(&mut seat.peer, "NOT_SUBSCRIBED").await;
    seat.expect_only(1, &mut watcher).await;
}

#[tokio::test]
async fn the_rust_client_comes_back_to_its_place_by_itself() {
    let server = server();
    let proxy = Proxy::before(server.addr).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = User::join(proxy.addr, "jane").await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    let id = view.members().keys().next().cloned();
    for n in 2..5 {
        proxy.cut();
        while jane.event().await != Event::Status(Status::Reconnecting) {}
        let kept = jane.list().await;
        assert_eq!(names(&kept), ["jane"]);
        loop {
            match jane.event().await {
                Event::SignedIn { connection_id, .. } => {
                    assert_eq!(Some(&*connection_id), id.as_deref());
                    break;
                }
                Event::Roster { event, .. } => panic!("nothing differs: {event:?}"),
                _ => {}
            }
        }
        let newest = format!("{{\"n\":{n}}}");
        let tracked = state(&newest);
        jane.client.track(game(), tracked).await.expect("not closed");
        let update = watcher.next_message().await;
        assert_eq!(
            (&update["type"], &update["state"]["n"]),
            (&json!("presence_update"), &json!(n))
        );
        view.apply(&update);
        jane.until(|users| *users[0].state == *newest).await;
    }
}

#[tokio::test]
async fn what_the_rust_client_gave_up_while_away_is_gone_when_it_is_back() {
    let server = server();
    let proxy = Proxy::before(server.addr).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = User::join(proxy.addr, "jane").await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    proxy.cut();
    while jane.event().await != Event::Status(Status::Reconnecting) {}
    jane.client.untrack(game()).await.expect("not closed");
    let leave = watcher.next_message().await;
    assert_eq!((&leave["type"], &leave["reason"]), (&json!("presence_leave"), &json!("leave")));
}

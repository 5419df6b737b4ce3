//! Channels that hibernate, wake and are rebuilt, seen from every kind of socket.

use std::time::{Duration, Instant};

use herenow_client::machine::Event;
use herenow_client::raw::RawConnection;
use herenow_client::roster::RosterEvent;
use serde_json::{Value, json};

use crate::support::{GAME, Seat, Server, User, View, ask, fence, names, subscribe, track};

/// How long a rebuilding waits for those who tracked.
const COLLECT_FOR: Duration = Duration::from_secs(2);
/// What a busy test machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn server() -> Server {
    Server::with(|settings| settings.hibernate_after_ms = 1_000)
}

/// A watcher, and users who track in [`GAME`] and are subscribed, all of them up to date.
struct Party {
    watcher: RawConnection,
    view: View,
    members: Vec<RawConnection>,
}

impl Party {
    async fn of(server: &Server, users: &[&str]) -> Self {
        let (mut watcher, mut view) = server.watch("watcher").await;
        let mut members = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let (mut member, mut seen) = server.watch(user).await;
            track(&mut member, json!({"user": user})).await;
            view.read_until(&mut watcher, |view| view.members().len() == n + 1).await;
            seen.read_until(&mut member, |seen| seen.members().len() == n + 1).await;
            for earlier in &mut members {
                assert_eq!(RawConnection::next_message(earlier).await["type"], "presence_join");
            }
            members.push(member);
        }
        Self { watcher, view, members }
    }

    /// The map is freed; then somebody asks, and everybody is told to send again.
    async fn wake_up(&mut self, server: &Server) {
        server.until_gauge("members", 0).await;
        self.watcher.send(json!({"type": "presence_sync", "channel": GAME})).await;
        expect_resync(&mut self.watcher).await;
        for member in &mut self.members {
            expect_resync(member).await;
        }
    }
}

async fn expect_resync(peer: &mut RawConnection) {
    assert_eq!(peer.next_message().await, json!({"type": "PRESENCE_RESYNC", "channel": GAME}));
}

/// Tracks, and waits until the channel has taken it.
async fn track_and_wait(peer: &mut RawConnection, state: Value) {
    let message = json!({"type": "presence_join", "channel": GAME, "state": state, "ref": "taken"});
    assert_eq!(ask(peer, message).await, json!({"type": "ack", "ref": "taken"}));
}

// P9.1, P9.2, P9.3, P9.4
#[tokio::test]
async fn an_idle_channel_is_rebuilt_from_what_its_clients_send_again() {
    let server = server();
    let query = "?channel=presence:game";
    let mut unauthenticated = RawConnection::connect(server.addr, query).await;
    let mut outsider = server.sign_in("outsider").await;
    subscribe(&mut outsider, "presence:elsewhere").await;
    let mut party = Party::of(&server, &["jane", "bob"]).await;
    let before = party.view.clone();
    party.wake_up(&server).await;
    expect_resync(&mut unauthenticated).await;
    let last = party.members.len() - 1;
    for at in 0..=last {
        fence(&mut party.watcher).await;
        let user = ["jane", "bob"][at];
        let message = json!({"type": "presence_join", "channel": GAME, "state": {"user": user}});
        if at < last {
            let mut message = message;
            message["ref"] = json!("taken");
            let reply = ask(&mut party.members[at], message).await;
            assert_eq!(reply, json!({"type": "ack", "ref": "taken"}), "held back: no other word");
        } else {
            party.members[at].send(message).await;
        }
    }
    let sync = party.watcher.next_message().await;
    assert_eq!(sync["type"], "presence_sync");
    party.view.apply(&sync);
    assert_eq!(party.view.members(), before.members());
    assert!(party.view.position().0 > before.position().0, "another life of the map");
    fence(&mut party.watcher).await;
    for member in &mut party.members {
        assert_eq!(member.next_message().await, sync, "one snapshot for all");
        fence(member).await;
    }
    fence(&mut unauthenticated).await;
    fence(&mut outsider).await;
}

// P9.4, P9.5
#[tokio::test]
async fn who_does_not_answer_is_out_of_the_set_after_two_seconds() {
    let server = server();
    let mut party = Party::of(&server, &["jane", "bob"]).await;
    server.until_gauge("members", 0).await;
    let before = Instant::now();
    party.wake_up(&server).await;
    let told = Instant::now();
    track_and_wait(&mut party.members[0], json!({"back": true})).await;
    let sync = party.watcher.next_message().await;
    assert_eq!(sync["type"], "presence_sync");
    assert!(before.elapsed() >= COLLECT_FOR, "bob had his time: {:?}", before.elapsed());
    assert!(told.elapsed() < COLLECT_FOR + SLACK, "nobody waits for ever: {:?}", told.elapsed());
    party.view.apply(&sync);
    assert_eq!(party.view.users(), ["jane"]);
    // His socket stands, and he comes in again like anybody.
    party.members[1].next_of_type("presence_sync").await;
    track(&mut party.members[1], json!({"late": true})).await;
    let join = party.watcher.next_message().await;
    assert_eq!((&join["type"], &join["userId"]), (&json!("presence_join"), &json!("bob")));
}

#[tokio::test]
async fn who_comes_and_goes_meanwhile_is_told_by_the_one_snapshot_alone() {
    let server = server();
    let mut party = Party::of(&server, &["jane", "bob", "cat"]).await;
    party.wake_up(&server).await;
    let mut newcomer = server.sign_in("newcomer").await;
    track_and_wait(&mut newcomer, json!({})).await;
    party.members[1].send(json!({"type": "presence_leave", "channel": GAME})).await;
    let cat = party.members.pop().expect("there are three");
    cat.reset();
    track(&mut party.members[0], json!({"newest": 1})).await;
    track(&mut party.members[0], json!({"newest": 2})).await;
    let sync = party.watcher.next_message().await;
    assert_eq!(sync["type"], "presence_sync", "no join and no leave: {sync}");
    party.view.apply(&sync);
    let settled = |view: &View| {
        view.users() == ["jane", "newcomer"] && view.state_of("jane") == Some(&json!({"newest": 2}))
    };
    // A state sent after the last answer may come as an update behind the snapshot.
    party.view.read_until(&mut party.watcher, settled).await;
    fence(&mut party.watcher).await;
}

#[tokio::test]
async fn whatever_is_said_of_a_hibernating_channel_wakes_it() {
    let wakers = ["subscribe", "presence_join", "presence_leave", "close"];
    for waker in wakers {
        let server = server();
        let mut party = Party::of(&server, &["jane", "bob"]).await;
        server.until_gauge("members", 0).await;
        let mut wanted = vec!["bob", "jane"];
        let mut newcomer = server.sign_in("newcomer").await;
        match waker {
            "subscribe" => newcomer.send(json!({"type": waker, "channel": GAME})).await,
            "presence_join" => {
                track(&mut newcomer, json!({})).await;
                wanted.push("newcomer");
            }
            "presence_leave" => {
                party.members[1].send(json!({"type": waker, "channel": GAME})).await;
                wanted.remove(0);
            }
            _ => {
                party.members.pop().expect("there are two").reset();
                wanted.remove(0);
            }
        }
        expect_resync(&mut party.watcher).await;
        for (member, user) in party.members.iter_mut().zip(["jane", "bob"]) {
            expect_resync(member).await;
            if wanted.contains(&user) {
                track(member, json!({"user": user})).await;
            }
        }
        let sync = party.watcher.next_message().await;
        assert_eq!(sync["type"], "presence_sync", "{waker}");
        party.view.apply(&sync);
        assert_eq!(party.view.users(), wanted, "{waker}");
        fence(&mut party.watcher).await;
    }
}

#[tokio::test]
async fn a_channel_may_hibernate_again_and_again() {
    let server = server();
    let mut party = Party::of(&server, &["jane"]).await;
    for life in 0..3 {
        let before = party.view.position();
        party.wake_up(&server).await;
        track(&mut party.members[0], json!({"life": life})).await;
        let sync = party.watcher.next_message().await;
        party.view.apply(&sync);
        assert!(party.view.position().0 > before.0);
        assert_eq!(party.view.state_of("jane"), Some(&json!({"life": life})));
        assert_eq!(party.members[0].next_message().await, sync);
    }
}

#[tokio::test]
async fn the_rust_client_answers_by_itself_and_tells_the_rebuilt_list_once() {
    let server = server();
    let mut users = Vec::new();
    for name in ["ann", "bob", "cat"] {
        users.push(User::join(server.addr, name).await);
    }
    // Who came and went is the last that they have heard of before.
    let mut visitor = server.sign_in("visitor").await;
    track(&mut visitor, json!({})).await;
    for user in &mut users {
        user.until(|users| names(users) == ["ann", "bob", "cat", "visitor"]).await;
    }
    visitor.reset();
    let mut before = Vec::new();
    for user in &mut users {
        while !matches!(user.difference().await, RosterEvent::Leave { .. }) {}
        assert!(matches!(user.event().await, Event::Changed { .. }));
        before.push(user.list().await);
    }
    let (mut watcher, mut view) = server.watch("watcher").await;
    server.until_gauge("members", 0).await;
    watcher.send(json!({"type": "presence_sync", "channel": GAME})).await;
    expect_resync(&mut watcher).await;
    view.apply(&watcher.next_message().await);
    assert_eq!(view.users(), ["ann", "bob", "cat"]);
    // One more comes: whatever the rebuilding told lies before that.
    let mut last = server.sign_in("last").await;
    track(&mut last, json!({})).await;
    for (user, before) in users.iter_mut().zip(before) {
        let rebuilt = user.event().await;
        assert!(matches!(rebuilt, Event::Changed { .. }), "{rebuilt:?}");
        let join = user.event().await;
        let Event::Roster { .. } = join else { panic!("told a second time: {join:?}") };
        let after = user.list().await;
        let kept: Vec<_> = after.iter().filter(|row| &*row.user_id != "last").collect();
        assert_eq!(names(&before).len(), kept.len());
        for row in before {
            let same = kept.iter().find(|kept| kept.user_id == row.user_id);
            assert_eq!(same.map(|same| &same.connections), Some(&row.connections));
        }
    }
}

#[tokio::test]
async fn who_is_away_for_a_moment_stays_in_a_rebuilt_list() {
    let server = Server::with(|settings| {
        settings.hibernate_after_ms = 1_000;
        settings.disconnect_grace_ms = 60_000;
    });
    let mut watcher = server.watch("watcher").await;
    let jane = Seat::tracked(server.addr, &mut watcher).await;
    jane.peer.reset();
    server.until_gauge("connections", 1).await;
    server.until_gauge("members", 0).await;
    let (peer, view) = &mut watcher;
    peer.send(json!({"type": "presence_sync", "channel": GAME})).await;
    expect_resync(peer).await;
    let sync = peer.next_message().await;
    assert_eq!(sync["type"], "presence_sync");
    view.apply(&sync);
    assert_eq!(view.members().keys().collect::<Vec<_>>(), [&jane.id], "her entry is kept");
    let mut jane = Seat::again(server.addr, &jane.resume, &jane.id).await;
    jane.expect_only(1, &mut watcher).await;
}

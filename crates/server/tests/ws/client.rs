//! The Rust client against the real server.

use herenow_client::Client;
use herenow_client::machine::{Event, Status};
use herenow_client::roster::RosterEvent;
use herenow_server::access::{Namespace, Pattern, Patterns, Rules};
use serde_json::json;

use crate::support::{Proxy, Server, User, game, names, state, token};

#[tokio::test]
async fn two_clients_see_each_other_come_change_and_go() {
    let server = Server::start();
    let mut jane = User::connect(server.addr, "jane");
    let bob = User::connect(server.addr, "bob");
    jane.client.listen(game()).await.expect("not closed");
    while jane.event().await != (Event::Changed { channel: game() }) {}
    bob.client.track(game(), state(r#"{"n":1}"#)).await.expect("not closed");
    let RosterEvent::Join { row, first: true } = jane.difference().await else { panic!("a join") };
    assert_eq!((&*row.user_id, &*row.state), ("bob", r#"{"n":1}"#));
    bob.client.track(game(), state(r#"{"n":2}"#)).await.expect("not closed");
    let RosterEvent::Update { row } = jane.difference().await else { panic!("an update") };
    assert_eq!((&*row.user_id, &*row.state), ("bob", r#"{"n":2}"#));
    drop(bob);
    let RosterEvent::Leave { user_id, reason, last: true, .. } = jane.difference().await else {
        panic!("a leave")
    };
    assert_eq!((&*user_id, &*reason), ("bob", "disconnect"));
    jane.client.track(game(), state(r#"{"me":true}"#)).await.expect("not closed");
    jane.until(|users| names(users) == ["jane"]).await;
}

#[tokio::test]
async fn after_a_restart_everybody_is_back_by_itself_and_only_differences_are_told() {
    let server = Server::start();
    let addr = server.addr;
    let mut users = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let user = User::connect(server.addr, name);
        user.client.listen(game()).await.expect("not closed");
        user.client.track(game(), state(r#"{"n":1}"#)).await.expect("not closed");
        users.push(user);
    }
    for user in &mut users {
        user.until(|users| users.len() == 3).await;
    }
    tokio::task::spawn_blocking(|| server.join()).await.expect("the server returns");
    for user in &mut users {
        while user.event().await != Event::Status(Status::Reconnecting) {}
        let kept = user.client.users(game()).await.expect("not closed");
        assert_eq!(names(&kept), ["ann", "bob", "cat"], "the old list stays meanwhile");
    }
    // While the server was away, one changed its mind.
    users[1].client.track(game(), state(r#"{"n":2}"#)).await.expect("not closed");
    let _server = Server::on(addr, |_| {});
    for user in &mut users {
        user.until(|users| {
            users.len() == 3 && users.iter().any(|user| &*user.state == r#"{"n":2}"#)
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_token_is_reported_and_not_tried_again() {
    let server = Server::start();
    let origin = format!("ws://{}", server.addr);
    let (client, events) = Client::connect(&origin, Some("nonsense"));
    let mut user = User { client, events };
    let mut codes = Vec::new();
    loop {
        match user.event().await {
            Event::Refused(failure) => codes.push(failure.code),
            Event::Status(Status::Failed) => break,
            Event::Status(Status::Reconnecting) => panic!("there is no use in another attempt"),
            _ => {}
        }
    }
    assert_eq!(codes, ["AUTH_FAILED".into()]);
    user.client.renew(&token("jane")).await.expect("not closed");
    while !matches!(user.event().await, Event::SignedIn { user_id, .. } if &*user_id == "jane") {}
}

// P11.8
#[tokio::test]
async fn a_client_whose_own_entry_timed_out_is_back_by_itself() {
    let all = Pattern::parse("presence:*").expect("a good pattern");
    let short = Namespace { presence_ttl_ms: Some(2_000), ..Namespace::default() };
    let patterns = Patterns::new(vec![(all, short)]);
    // The connection itself outlives the silence.
    let server = Server::with(|settings| settings.rules = Rules::new(patterns, None));
    let proxy = Proxy::before(server.addr).await;
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = User::join(proxy.addr, "jane").await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    proxy.stand_still();
    let left = watcher.next_message().await;
    assert_eq!((&left["type"], &left["reason"]), (&json!("presence_leave"), &json!("timeout")));
    view.apply(&left);
    proxy.go_on();
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    let mut is_gone = false;
    loop {
        match jane.event().await {
            Event::Roster { event: RosterEvent::Leave { reason, .. }, .. } => {
                assert_eq!(&*reason, "timeout");
                is_gone = true;
            }
            Event::Roster { event: RosterEvent::Join { .. }, .. } if is_gone => break,
            Event::Status(Status::Connected) | Event::Changed { .. } => {}
            other => panic!("the connection stands all along: {other:?}"),
        }
    }
    assert_eq!(names(&jane.list().await), ["jane"]);
}

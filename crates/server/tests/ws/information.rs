//! What a token says of its user, as other clients see it.

use herenow_client::raw::RawConnection;
use serde_json::{Value, json};

use crate::support::{GAME, Server, ask, fence, subscribe, token, token_with, track, unix_seconds};

/// A token with the claim `presence.info`.
fn informed(user: &str, info: Value) -> String {
    let exp = unix_seconds() + 3600.0;
    token_with(json!({"sub": user, "exp": exp, "presence": {"info": info}}))
}

async fn signed_in(server: &Server, token: String) -> RawConnection {
    let mut peer = server.connect().await;
    let reply = ask(&mut peer, json!({"type": "auth", "token": token})).await;
    assert_eq!(reply["type"], "auth_success", "{reply}");
    peer
}

// P1.9, P5.7
#[tokio::test]
async fn the_information_of_a_token_stands_in_each_row_and_no_client_can_set_it() {
    let server = Server::start();
    let (mut watcher, _) = server.watch("ann").await;
    let mut jane = signed_in(&server, informed("jane", json!({"name": "Jane"}))).await;
    subscribe(&mut jane, GAME).await;
    let forged = json!({"name": "Root"});
    let join = json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}, "info": forged});
    jane.send(join).await;
    let joined = watcher.next_message().await;
    assert_eq!((&joined["type"], &joined["state"]), (&json!("presence_join"), &json!({"n": 1})));
    assert_eq!(joined["info"], json!({"name": "Jane"}));
    track(&mut jane, json!({"n": 2})).await;
    let updated = watcher.next_message().await;
    assert_eq!(updated["info"], json!({"name": "Jane"}), "{updated}");
    // Without the claim there is no field.
    let mut bob = signed_in(&server, token("bob")).await;
    let join = json!({"type": "presence_join", "channel": GAME, "state": {}, "info": forged});
    bob.send(join).await;
    let joined = watcher.next_message().await;
    assert_eq!((&joined["userId"], joined.get("info")), (&json!("bob"), None));
    let mut late = server.sign_in("eve").await;
    late.send(json!({"type": "subscribe", "channel": GAME})).await;
    assert_eq!(late.next_message().await["type"], "subscribed");
    let sync = late.next_message().await;
    let infos: Vec<Option<&Value>> =
        sync["presences"].as_array().expect("a list").iter().map(|row| row.get("info")).collect();
    assert_eq!(infos, [Some(&json!({"name": "Jane"})), None]);
}

// P5.7
#[tokio::test]
async fn a_refresh_with_other_information_updates_the_members() {
    let server = Server::start();
    let (mut watcher, _) = server.watch("ann").await;
    let mut jane = signed_in(&server, token("jane")).await;
    track(&mut jane, json!({"n": 1})).await;
    assert_eq!(watcher.next_message().await.get("info"), None);
    assert_eq!(jane.next_message().await["type"], "presence_sync");
    let refresh = json!({"type": "auth", "token": informed("jane", json!({"name": "Jane"}))});
    jane.send(refresh).await;
    let updated = watcher.next_message().await;
    assert_eq!(
        (&updated["type"], &updated["state"]),
        (&json!("presence_update"), &json!({"n": 1}))
    );
    assert_eq!(updated["info"], json!({"name": "Jane"}));
    fence(&mut watcher).await;
}

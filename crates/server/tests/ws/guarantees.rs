//! What every subscriber may rely on. `View::apply` fails on a delta before the snapshot, a second
//! join, a leave of no entry, and a number that does not grow.

use herenow_client::raw::{Control, OpCode, RawConnection, frame, text_frame};
use serde_json::json;

use crate::support::{GAME, Server, View, fence, subscribe, track};

const MEMBERS: usize = 1000;

/// A step of a random walk that any seed repeats.
fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

#[tokio::test]
async fn a_thousand_members_see_the_same_set() {
    let server = Server::start();
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mut peer = server.sign_in(&format!("user-{n}")).await;
        track(&mut peer, json!({"n": n})).await;
        members.push((peer, View::new(GAME)));
    }
    let mut first: Option<View> = None;
    for (peer, view) in &mut members {
        view.read_until(peer, |view| view.members().len() == MEMBERS).await;
        match &first {
            Some(first) => assert_eq!(view.members(), first.members()),
            None => first = Some(view.clone()),
        }
    }
    let (peer, _) = members.pop().expect("there are members");
    peer.reset();
    for (peer, view) in &mut members {
        view.read_until(peer, |view| view.members().len() == MEMBERS - 1).await;
    }
}

#[tokio::test]
async fn all_views_converge_whatever_the_order_of_events() {
    let server = Server::with(|settings| settings.message_burst = 100_000);
    let mut peers = Vec::new();
    for n in 0..8 {
        let (peer, view) = server.watch(&format!("user-{n}")).await;
        peers.push((peer, view));
    }
    let mut random = 0x5eed;
    for step in 0..2000 {
        let which = next(&mut random) as usize % peers.len();
        let peer = &mut peers[which].0;
        match next(&mut random) % 10 {
            0..6 => track(peer, json!({"step": step})).await,
            6..8 => peer.send(json!({"type": "presence_leave", "channel": GAME})).await,
            8 => peer.send(json!({"type": "presence_sync", "channel": GAME})).await,
            _ => {
                let mut bytes =
                    text_frame(&json!({"type": "unsubscribe", "channel": GAME}).to_string());
                let again = json!({"type": "subscribe", "channel": GAME});
                bytes.extend(text_frame(&again.to_string()));
                peer.send_bytes(&bytes).await;
            }
        }
    }
    for (n, (peer, _)) in peers.iter_mut().enumerate() {
        track(peer, json!({"last": n})).await;
    }
    let is_last = |view: &View| {
        view.members().len() == 8
            && view.members().values().all(|(_, state)| state.get("last").is_some())
    };
    let mut sets = Vec::new();
    for (peer, view) in &mut peers {
        // After an unsubscribe nothing comes before the next snapshot: the view begins anew.
        while !is_last(view) {
            let message = peer.next_message().await;
            match message["type"].as_str() {
                Some("unsubscribed") => *view = View::new(GAME),
                Some("subscribed") => {}
                _ => view.apply(&message),
            }
        }
        sets.push(view.members().clone());
    }
    assert!(sets.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn no_delta_comes_before_the_snapshot_and_none_that_it_holds_after_it() {
    let server = Server::with(|settings| settings.message_burst = 100_000);
    let mut busy = server.sign_in("busy").await;
    for round in 0..50 {
        for step in 0..20 {
            track(&mut busy, json!({"round": round, "step": step})).await;
        }
        // Subscribes in the middle of the changes; the view checks what comes.
        let (mut peer, mut view) = server.watch("watcher").await;
        let last = json!({"round": round, "step": 19});
        view.read_until(&mut peer, |view| view.state_of("busy") == Some(&last)).await;
    }
}

#[tokio::test]
async fn of_many_updates_the_last_is_never_lost() {
    let server = Server::with(|settings| settings.message_burst = 100_000);
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    for round in 0..20 {
        let mut bytes = Vec::new();
        for step in 0..200 {
            let state = json!({"round": round, "step": step});
            let message = json!({"type": "presence_join", "channel": GAME, "state": state});
            bytes.extend(text_frame(&message.to_string()));
        }
        jane.send_bytes(&bytes).await;
        let last = json!({"round": round, "step": 199});
        view.read_until(&mut watcher, |view| view.state_of("jane") == Some(&last)).await;
    }
}

#[tokio::test]
async fn join_leave_join_in_one_go_are_three_events() {
    let server = Server::start();
    let (mut watcher, _) = server.watch("watcher").await;
    let (mut jane, _) = server.watch("jane").await;
    let join = json!({"type": "presence_join", "channel": GAME, "state": {"n": 1}});
    let leave = json!({"type": "presence_leave", "channel": GAME});
    let mut bytes = Vec::new();
    for message in [&join, &leave, &join, &leave, &join] {
        bytes.extend(text_frame(&message.to_string()));
    }
    jane.send_bytes(&bytes).await;
    for peer in [&mut watcher, &mut jane] {
        let mut kinds = Vec::new();
        for _ in 0..5 {
            kinds.push(peer.next_message().await["type"].clone());
        }
        let expected = ["join", "leave", "join", "leave", "join"];
        assert_eq!(kinds, expected.map(|kind| format!("presence_{kind}")));
        fence(peer).await;
    }
}

#[tokio::test]
async fn an_update_is_never_told_as_a_leave_and_a_join() {
    let server = Server::start();
    let (mut jane, _) = server.watch("jane").await;
    track(&mut jane, json!({"n": 0})).await;
    assert_eq!(jane.next_message().await["type"], "presence_join");
    for n in 1..100 {
        track(&mut jane, json!({"n": n})).await;
        assert_eq!(jane.next_message().await["type"], "presence_update");
    }
}

/// The ways in which a connection can end, as far as its peer is concerned.
#[derive(Clone, Copy, Debug)]
enum Ending {
    CloseFrame,
    CloseFrameWithoutCode,
    Fin,
    HalfClose,
    Reset,
    BrokenFrame,
}

#[tokio::test]
async fn a_closed_sockets_entries_are_gone_at_once_whichever_way_it_closed() {
    // With the default lease of a minute, what comes within the patience of a test came at once.
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let endings = [
        Ending::CloseFrame,
        Ending::CloseFrameWithoutCode,
        Ending::Fin,
        Ending::HalfClose,
        Ending::Reset,
        Ending::BrokenFrame,
    ];
    for ending in endings {
        let mut jane = server.sign_in("jane").await;
        track(&mut jane, json!({"ending": format!("{ending:?}")})).await;
        view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
        let close = OpCode::Control(Control::Close);
        let kept = match ending {
            Ending::CloseFrame => {
                jane.send_bytes(&frame(close, &1000_u16.to_be_bytes())).await;
                Some(jane)
            }
            Ending::CloseFrameWithoutCode => {
                jane.send_bytes(&frame(close, &[])).await;
                Some(jane)
            }
            Ending::HalfClose => {
                jane.half_close().await;
                Some(jane)
            }
            Ending::BrokenFrame => {
                jane.send_bytes(&[0xff; 16]).await;
                Some(jane)
            }
            Ending::Fin => {
                // With nothing left unread, dropping the socket sends a FIN and no RST.
                assert_eq!(jane.next_message().await["type"], "presence_sync");
                drop(jane);
                None
            }
            Ending::Reset => {
                jane.reset();
                None
            }
        };
        let leave = watcher.next_message().await;
        assert_eq!(leave["type"], "presence_leave", "{ending:?}");
        assert_eq!(leave["reason"], "disconnect", "{ending:?}");
        view.apply(&leave);
        drop(kept);
    }
}

#[tokio::test]
async fn one_connections_end_takes_its_entries_in_all_channels_and_no_other() {
    let server = Server::start();
    let mut watcher = server.sign_in("watcher").await;
    let channels = ["presence:a", "presence:b", "presence:c"];
    for channel in channels {
        subscribe(&mut watcher, channel).await;
    }
    let mut tabs = [server.sign_in("jane").await, server.sign_in("jane").await];
    for tab in &mut tabs {
        for channel in channels {
            tab.send(json!({"type": "presence_join", "channel": channel, "state": {}})).await;
            let join = watcher.next_message().await;
            assert_eq!(
                (&join["type"], &join["channel"]),
                (&json!("presence_join"), &json!(channel))
            );
        }
    }
    let [first, mut second] = tabs;
    drop(first);
    let mut left = Vec::new();
    for _ in channels {
        let leave = watcher.next_message().await;
        assert_eq!(leave["reason"], "disconnect");
        left.push(leave["channel"].as_str().expect("a channel").to_owned());
    }
    left.sort_unstable();
    assert_eq!(left, channels);
    for channel in channels {
        second.send(json!({"type": "presence_join", "channel": channel, "state": {"n": 2}})).await;
        assert_eq!(watcher.next_message().await["type"], "presence_update", "the other tab stays");
    }
}

#[tokio::test]
async fn a_leave_that_is_late_cannot_take_a_newer_connection() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    for round in 0..20 {
        let mut old = server.sign_in("jane").await;
        track(&mut old, json!({"old": round})).await;
        view.read_until(&mut watcher, |view| view.users().len() == 1).await;
        let mut new = server.sign_in("jane").await;
        old.reset();
        track(&mut new, json!({"new": round})).await;
        let is_new = |view: &View| {
            view.members().len() == 1
                && view.members().values().all(|(_, state)| state.get("new").is_some())
        };
        view.read_until(&mut watcher, is_new).await;
        drop(new);
        view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    }
}

#[tokio::test]
async fn the_rows_of_a_snapshot_come_in_the_order_in_which_they_were_tracked() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut peers = Vec::new();
    for (n, user) in ["ann", "bob", "cat", "dan"].into_iter().enumerate() {
        let mut peer = server.sign_in(user).await;
        track(&mut peer, json!({"n": 0})).await;
        view.read_until(&mut watcher, |view| view.members().len() == n + 1).await;
        peers.push(peer);
    }
    let mut retrack = async |which: usize, user: &str| {
        track(&mut peers[which], json!({"n": 1})).await;
        let is_seen = |view: &View| view.state_of(user) == Some(&json!({"n": 1}));
        view.read_until(&mut watcher, is_seen).await;
    };
    retrack(1, "bob").await;
    retrack(0, "ann").await;
    let mut late = server.sign_in("late").await;
    late.send(json!({"type": "subscribe", "channel": GAME})).await;
    let sync = late.next_of_type("presence_sync").await;
    let rows = sync["presences"].as_array().expect("rows");
    let users: Vec<_> = rows.iter().map(|row| row["userId"].as_str().expect("an id")).collect();
    assert_eq!(users, ["cat", "dan", "bob", "ann"]);
}

#[tokio::test]
async fn a_channel_that_emptied_and_filled_again_never_repeats_a_position() {
    let server = Server::start();
    let mut positions: Vec<(u64, u64)> = Vec::new();
    for round in 0..10 {
        let mut jane: RawConnection = server.sign_in("jane").await;
        track(&mut jane, json!({"round": round})).await;
        let mut view = View::new(GAME);
        view.apply(&jane.next_message().await);
        if let Some(last) = positions.last() {
            assert!(view.position() > *last, "{last:?} then {:?}", view.position());
        }
        positions.push(view.position());
        jane.send(json!({"type": "unsubscribe", "channel": GAME})).await;
        assert_eq!(jane.next_of_type("unsubscribed").await["channel"], GAME);
    }
}

#[tokio::test]
async fn channels_do_not_hear_each_other() {
    let server = Server::start();
    let mut watcher = server.sign_in("watcher").await;
    let mut views: Vec<View> = Vec::new();
    for n in 0..20 {
        views.push(subscribe(&mut watcher, &format!("presence:c{n}")).await);
    }
    let mut jane = server.sign_in("jane").await;
    for n in (0..40).rev() {
        let channel = format!("presence:c{n}");
        jane.send(json!({"type": "presence_join", "channel": channel, "state": {"n": n}})).await;
    }
    let mut seen = 0;
    while seen < views.len() {
        let message = watcher.next_message().await;
        let at = views.iter().position(|view| message["channel"] == *view.channel());
        views[at.expect("only channels that it subscribes to")].apply(&message);
        seen += 1;
    }
    for (n, view) in views.iter().enumerate() {
        assert_eq!(view.state_of("jane"), Some(&json!({"n": n})));
    }
    fence(&mut watcher).await;
}

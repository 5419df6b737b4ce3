//! What one connection says takes effect in the order sent, also while a rule runs.

use herenow_client::raw::text_frame;
use serde_json::{Value, json};

use crate::support::{Server, fence};

/// Messages in one packet, so that all but the first come while its rule runs.
fn packet(messages: impl IntoIterator<Item = Value>) -> Vec<u8> {
    messages.into_iter().flat_map(|message| text_frame(&message.to_string())).collect()
}

#[tokio::test]
async fn messages_behind_a_question_take_effect_in_order() {
    let server = Server::start(
        "{ 'presence:*': { access: { async subscribe() {
            for (let turn = 0; turn < 100; turn++) await null;
            return true } } } }",
    );
    let mut peer = server.sign_in(json!({"sub": "jane"})).await;
    let on =
        |kind: &str, number: u32| json!({"type": kind, "channel": "presence:x", "ref": number});
    let mut join = on("presence_join", 2);
    join["state"] = json!({});
    peer.send_bytes(&packet([
        on("subscribe", 1),
        join,
        on("presence_leave", 3),
        on("unsubscribe", 4),
        on("unsubscribe", 5),
    ]))
    .await;
    let mut answers = Vec::new();
    while answers.len() < 5 {
        let message = peer.next_message().await;
        if !message["ref"].is_null() {
            answers.push((message["ref"].as_u64(), message["type"].as_str().map(str::to_owned)));
        }
    }
    // The acknowledgement of a join comes from the channel, and may come later than those of the
    // session itself.
    answers.sort();
    let expected = ["subscribed", "ack", "ack", "unsubscribed", "error"];
    let expected: Vec<_> =
        (1..).zip(expected).map(|(number, kind)| (Some(number), Some(kind.to_owned()))).collect();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn so_many_messages_wait_and_no_more() {
    let server =
        Server::start("{ 'presence:slow': { access: { subscribe: () => { for (;;) {} } } } }");
    let mut peer = server.sign_in(json!({"sub": "jane"})).await;
    let question = json!({"type": "subscribe", "channel": "presence:slow", "ref": 0});
    let rest = (1..=100)
        .map(|number| json!({"type": "presence_sync", "channel": "presence:x", "ref": number}));
    peer.send_bytes(&packet(std::iter::once(question).chain(rest))).await;
    let mut codes = vec![Value::Null; 101];
    for _ in 0..101 {
        let message = peer.next_message().await;
        let number = message["ref"].as_u64().expect("each is answered") as usize;
        codes[number] = message["code"].clone();
    }
    assert_eq!(codes[0], "CHANNEL_ACCESS_DENIED");
    assert!(codes[1..=64].iter().all(|code| code == "NOT_SUBSCRIBED"), "{codes:?}");
    assert!(codes[65..].iter().all(|code| code == "RATE_LIMITED"), "{codes:?}");
    fence(&mut peer).await;
}

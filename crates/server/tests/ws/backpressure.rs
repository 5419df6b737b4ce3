//! A connection that sends and does not read: the server stops reading it, and everybody else goes
//! on as before.

use herenow_client::raw::{Control, OpCode, RawConnection, frame, text_frame};
use serde_json::json;

use crate::support::{Server, fence, sign_in};

/// What one connection tries to send.
const FLOOD_BYTES: usize = 64 << 20;
/// What is read of it at most: its replies fill its send queue and what the kernel takes.
const MOST_READ_BYTES: u64 = 2 << 20;
/// Round trips of another connection meanwhile: the server turns at least as often.
const ROUNDS: usize = 2_000;

fn server() -> Server {
    Server::with(|settings| {
        settings.loops = 1;
        settings.max_messages_per_second = 100_000;
        settings.message_burst = 1_000_000;
        settings.auth_timeout_ms = 600_000;
    })
}

/// Frames that are each answered by about as much.
fn floods() -> [Vec<u8>; 3] {
    let long = "r".repeat(250);
    [
        frame(OpCode::Control(Control::Ping), &[b'p'; 125]),
        text_frame(&json!({"type": "ping", "ref": long}).to_string()),
        text_frame(&json!({"type": "nonsense", "ref": long}).to_string()),
    ]
}

async fn is_not_read_on(server: &Server, mut hostile: RawConnection, flood: &[u8]) {
    let mut quiet = server.sign_in("quiet").await;
    let before = server.counter("bytes_in_total").await;
    let bytes = flood.repeat(FLOOD_BYTES / flood.len());
    let sending = tokio::spawn(async move {
        // It ends with an error once the test has seen enough.
        let _ = hostile.try_send_bytes(&bytes).await;
    });
    for _ in 0..ROUNDS {
        fence(&mut quiet).await;
    }
    let read = server.counter("bytes_in_total").await - before;
    assert!(read > flood.len() as u64 * 100, "the flood has begun");
    let own = ROUNDS * text_frame(r#"{"ref":"fence","type":"ping"}"#).len();
    let read = read - own as u64;
    assert!(read <= MOST_READ_BYTES, "{read} bytes were read of a connection that reads nothing");
    sending.abort();
}

// P6.9
#[tokio::test]
async fn a_connection_that_sends_and_reads_nothing_is_not_read_on() {
    for flood in floods() {
        let server = server();
        let hostile = RawConnection::connect_narrow(server.addr, "").await;
        is_not_read_on(&server, hostile, &flood).await;
    }
    let server = server();
    let hostile = RawConnection::connect_narrow(server.addr, "").await;
    let hostile = sign_in(hostile, "hostile").await;
    is_not_read_on(&server, hostile, &floods()[1]).await;
}

// P4.3
#[tokio::test]
async fn equal_refusals_in_a_row_are_one_and_each_ref_is_answered() {
    let server = server();
    let mut peer = server.connect().await;
    let mut bytes = text_frame("").repeat(1000);
    for n in 0..3 {
        bytes.extend(text_frame(&json!({"type": "nonsense", "ref": n}).to_string()));
        bytes.extend(text_frame(&json!({"type": "nonsense", "ref": n}).to_string()));
    }
    bytes.extend(text_frame(&json!({"type": "unsubscribe", "channel": "presence:a"}).to_string()));
    bytes.extend(text_frame(&json!({"type": "unsubscribe", "channel": "presence:a"}).to_string()));
    peer.send_bytes(&bytes).await;
    let mut twins = 0;
    let mut message = peer.next_message().await;
    while message["code"] == "INVALID_JSON" {
        twins += 1;
        message = peer.next_message().await;
    }
    // One for each turn, and a turn takes 32 frames of one connection.
    assert!((1..=1000 / 16).contains(&twins), "{twins} of 1,000 equal refusals were told");
    for n in 0..3 {
        for _ in 0..2 {
            assert_eq!((&message["code"], &message["ref"]), (&json!("UNKNOWN_TYPE"), &json!(n)));
            message = peer.next_message().await;
        }
    }
    for _ in 0..2 {
        assert_eq!(message["code"], "NOT_SUBSCRIBED", "a request for a channel has its own answer");
        peer.send(json!({"type": "unsubscribe", "channel": "presence:a"})).await;
        message = peer.next_message().await;
    }
}

//! RFC 6455, as a client that keeps none of it would find it.

use herenow_client::raw::{
    Control, Data, OpCode, Part, RawConnection, Received, fragment, frame, text_frame,
};
use serde_json::json;

use crate::support::{Server, fence, track};

const TEXT: OpCode = OpCode::Data(Data::Text);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);

const MASKED: u8 = 0x80;
const FINAL: u8 = 0x80;

/// These bytes end the connection with this code.
async fn expect_refused(server: &Server, bytes: &[u8], code: u16) {
    let mut peer = server.sign_in("jane").await;
    peer.send_bytes(bytes).await;
    let (got, _) = peer.expect_close().await;
    assert_eq!(got, code, "{:02x?}", &bytes[..bytes.len().min(20)]);
    peer.half_close().await;
    peer.expect_end().await;
}

/// A close frame with this payload.
fn close(payload: &[u8]) -> Vec<u8> {
    frame(CLOSE, payload)
}

// P2.7
#[tokio::test]
async fn an_unmasked_frame_is_a_protocol_error() {
    let server = Server::start();
    let text = br#"{"type":"ping"}"#;
    let mut bytes = vec![FINAL | 1, text.len() as u8];
    bytes.extend_from_slice(text);
    expect_refused(&server, &bytes, 1002).await;
    expect_refused(&server, &[FINAL | 9, 0], 1002).await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_protocol_errors() {
    let server = Server::start();
    for bit in [0x40, 0x20, 0x10] {
        let mut bytes = text_frame(r#"{"type":"ping"}"#);
        bytes[0] |= bit;
        expect_refused(&server, &bytes, 1002).await;
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        expect_refused(&server, &[FINAL | opcode, MASKED, 1, 2, 3, 4], 1002).await;
    }
}

// P2.7
#[tokio::test]
async fn a_binary_frame_is_refused_with_1003() {
    let server = Server::start();
    expect_refused(&server, &frame(OpCode::Data(Data::Binary), b"{}"), 1003).await;
    expect_refused(&server, &frame(OpCode::Data(Data::Binary), b""), 1003).await;
}

// P2.7
#[tokio::test]
async fn text_that_is_no_utf8_is_refused_with_1007() {
    let server = Server::start();
    let bad: [&[u8]; 7] = [
        b"\xff",
        b"{\"type\":\"\xc3\"}",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
        b"{\"type\":\"ping\"}\x80",
    ];
    for text in bad {
        expect_refused(&server, &frame(TEXT, text), 1007).await;
    }
    let mut split = fragment(TEXT, Part::More, b"\xf0\x9f");
    split.extend(fragment(CONTINUE, Part::Last, b"\x98\x7a"));
    expect_refused(&server, &split, 1007).await;
}

// P2.7
#[tokio::test]
async fn a_message_above_the_limit_is_refused_with_1009_before_it_has_arrived() {
    let server = Server::with(|settings| settings.max_frame_bytes = 4096);
    let mut peer = server.sign_in("jane").await;
    let fits = format!(r#"{{"type":"ping","pad":"{}"}}"#, "x".repeat(4096 - 24));
    assert_eq!(fits.len(), 4096);
    peer.send_text(&fits).await;
    assert_eq!(peer.next_message().await, json!({"type": "pong"}));
    expect_refused(&server, &text_frame(&format!("{fits} ")), 1009).await;
    // The header alone is enough to know.
    let header = |length: &[u8]| [&[FINAL | 1], length, &[1, 2, 3, 4]].concat();
    expect_refused(&server, &header(&[MASKED | 126, 0xff, 0xff]), 1009).await;
    expect_refused(&server, &header(&[MASKED | 127, 0, 0, 0, 0, 0x10, 0, 0, 0]), 1009).await;
    expect_refused(
        &server,
        &header(&[MASKED | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        1009,
    )
    .await;
    // Of a message in parts the sum counts.
    let mut parts = fragment(TEXT, Part::More, &[b' '; 2000]);
    parts.extend(fragment(CONTINUE, Part::More, &[b' '; 2000]));
    parts.extend(fragment(CONTINUE, Part::Last, &[b' '; 97]));
    expect_refused(&server, &parts, 1009).await;
}

#[tokio::test]
async fn lengths_that_are_not_the_shortest_or_not_possible_are_protocol_errors() {
    let server = Server::start();
    let mask = [1, 2, 3, 4];
    let bad: [&[u8]; 4] = [
        &[FINAL | 1, MASKED | 126, 0, 125],
        &[FINAL | 1, MASKED | 126, 0, 0],
        &[FINAL | 1, MASKED | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[FINAL | 1, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    for header in bad {
        expect_refused(&server, &[header, &mask].concat(), 1002).await;
    }
}

#[tokio::test]
async fn control_frames_are_short_and_whole() {
    let server = Server::start();
    for opcode in [8, 9, 10] {
        let long = [&[FINAL | opcode, MASKED | 126, 0, 126, 1, 2, 3, 4][..], &[0; 126]].concat();
        expect_refused(&server, &long, 1002).await;
        expect_refused(&server, &[opcode, MASKED, 1, 2, 3, 4], 1002).await;
    }
}

#[tokio::test]
async fn fragments_come_in_order_and_end_before_the_next_message() {
    let server = Server::start();
    expect_refused(&server, &fragment(CONTINUE, Part::Last, b"{}"), 1002).await;
    expect_refused(&server, &fragment(CONTINUE, Part::More, b"{}"), 1002).await;
    let mut twice = fragment(TEXT, Part::More, b"{");
    twice.extend(fragment(TEXT, Part::Last, b"}"));
    expect_refused(&server, &twice, 1002).await;
}

#[tokio::test]
async fn a_message_may_come_in_any_number_of_parts_with_control_frames_between() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    let text = json!({"type": "ping", "ref": "caf\u{e9} \u{1F600}"}).to_string();
    let mut bytes = Vec::new();
    // One byte per part splits the characters as well.
    for (index, byte) in text.bytes().enumerate() {
        let opcode = if index == 0 { TEXT } else { CONTINUE };
        bytes.extend(fragment(opcode, Part::More, &[byte]));
        bytes.extend(fragment(CONTINUE, Part::More, b""));
        bytes.extend(frame(PONG, b"unasked"));
    }
    bytes.extend(frame(PING, b"between"));
    bytes.extend(fragment(CONTINUE, Part::Last, b""));
    peer.send_bytes(&bytes).await;
    assert_eq!(peer.next().await, Received::Pong(b"between".to_vec()));
    let reply = peer.next_message().await;
    assert_eq!(reply, json!({"type": "pong", "ref": "caf\u{e9} \u{1F600}"}));
    fence(&mut peer).await;
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte_or_many_at_once() {
    let server = Server::start();
    let mut peer = server.sign_in("jane").await;
    for byte in text_frame(&json!({"type": "ping", "ref": "x".repeat(200)}).to_string()) {
        peer.send_bytes(&[byte]).await;
    }
    assert_eq!(peer.next_message().await["ref"], "x".repeat(200));
    let mut many = Vec::new();
    for n in 0..300 {
        many.extend(text_frame(&json!({"type": "ping", "ref": n}).to_string()));
    }
    peer.send_bytes(&many).await;
    for n in 0..300 {
        assert_eq!(peer.next_message().await, json!({"type": "pong", "ref": n}));
    }
}

#[tokio::test]
async fn a_websocket_ping_is_answered_with_its_own_payload() {
    let server = Server::start();
    let mut peer = server.connect().await;
    let longest = [7; 125];
    for payload in [&b""[..], b"abc", &[0xff, 0x00], &longest] {
        peer.send_bytes(&frame(PING, payload)).await;
        assert_eq!(peer.next().await, Received::Pong(payload.to_vec()));
    }
    let mut many = Vec::new();
    for n in 0..100_u8 {
        many.extend(frame(PING, &[n]));
    }
    peer.send_bytes(&many).await;
    // Only the last ping must be answered, but never one that is older than one answered before.
    let mut last = None;
    while last != Some(99) {
        let Received::Pong(payload) = peer.next().await else { panic!("only pongs are due") };
        assert!(last < Some(payload[0]), "pongs in order");
        last = Some(payload[0]);
    }
}

// P2.8
#[tokio::test]
async fn a_close_is_answered_with_its_code_and_then_the_connection_ends() {
    let server = Server::start();
    for code in [1000_u16, 1001, 1003, 1011, 3000, 4999] {
        let mut peer = server.sign_in("jane").await;
        peer.send_bytes(&close(&[&code.to_be_bytes()[..], "caf\u{e9}".as_bytes()].concat())).await;
        assert_eq!(peer.expect_close().await.0, code);
        peer.expect_end().await;
    }
    let mut peer = server.sign_in("jane").await;
    peer.send_bytes(&close(&[])).await;
    let (code, _) = peer.expect_close().await;
    assert!([1000, 1005].contains(&code), "{code}");
    peer.expect_end().await;
}

#[tokio::test]
async fn a_close_that_breaks_the_rules_is_a_protocol_error() {
    let server = Server::start();
    expect_refused(&server, &close(&[3]), 1002).await;
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535] {
        expect_refused(&server, &close(&code.to_be_bytes()), 1002).await;
    }
    let mut peer = server.sign_in("jane").await;
    peer.send_bytes(&close(&[0x03, 0xe8, 0xff])).await;
    let (code, _) = peer.expect_close().await;
    assert!([1002, 1007].contains(&code), "a reason that is no UTF-8: {code}");
}

// P2.8
#[tokio::test]
async fn what_follows_a_close_is_not_read() {
    let server = Server::start();
    let (mut watcher, mut view) = server.watch("watcher").await;
    let mut jane = server.sign_in("jane").await;
    track(&mut jane, json!({"n": 1})).await;
    view.read_until(&mut watcher, |view| view.users() == ["jane"]).await;
    assert_eq!(jane.next_message().await["type"], "presence_sync");
    let join = json!({"type": "presence_join", "channel": "presence:game", "state": {"ghost": 1}});
    let mut bytes = close(&1000_u16.to_be_bytes());
    bytes.extend(text_frame(&join.to_string()));
    jane.send_bytes(&bytes).await;
    assert_eq!(jane.expect_close().await.0, 1000);
    // The presence ended with the frame, though this side of the TCP connection is still open.
    view.read_until(&mut watcher, |view| view.users().is_empty()).await;
    let _ = jane.try_send_bytes(&text_frame(&join.to_string())).await;
    let mut bob = server.sign_in("bob").await;
    track(&mut bob, json!({})).await;
    assert_eq!(watcher.next_message().await["userId"], "bob", "no ghost in between");
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let server = Server::start();
    let mut steady = server.sign_in("steady").await;
    let mut random = 7_u64;
    for _ in 0..50 {
        let mut garbage = Vec::new();
        for _ in 0..64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            garbage.push((random >> 40) as u8);
        }
        // An unmasked frame, whatever it is otherwise.
        garbage[1] &= !MASKED;
        let mut peer: RawConnection = server.connect().await;
        peer.send_bytes(&garbage).await;
        assert!([1002, 1003, 1009].contains(&peer.expect_close().await.0), "{garbage:02x?}");
    }
    fence(&mut steady).await;
}

//! What the server says, byte for byte.

use std::borrow::Cow;

use herenow_wire::encode::{self, Counts, DeltaPosition, Departure, Member, Position, Reply};
use herenow_wire::{
    ChannelName, ClientMessage, ConnectionId, DefaultChannel, ErrorCode, Info, LeaveReason, Ref,
    State, User, UserId, decode,
};
use proptest::prelude::*;
use serde_json::{Value, json};

mod golden;

/// The greatest integer that every JavaScript client reads exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The text of the only frame in `bytes`.
fn text(bytes: &[u8]) -> &str {
    let (frame, rest) = split_frame(bytes);
    assert!(rest.is_empty(), "one frame");
    frame
}

/// Reads the first frame in the plainest way: whole, unmasked, text, its length as short as it goes.
fn split_frame(bytes: &[u8]) -> (&str, &[u8]) {
    assert_eq!(bytes[0], 0x81);
    let (length, rest) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes(bytes[2..4].try_into().unwrap())), &bytes[4..]),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, &bytes[10..]),
        short => (usize::from(short), &bytes[2..]),
    };
    let header_bytes = if length < 126 {
        2
    } else if length < 65_536 {
        4
    } else {
        10
    };
    assert_eq!(bytes.len() - rest.len(), header_bytes, "the shortest form");
    let (payload, rest) = rest.split_at(length);
    (std::str::from_utf8(payload).unwrap(), rest)
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(&format!("presence:{name}")).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn state(json: &str) -> State {
    State::parse(json).unwrap()
}

fn connection(number: u8) -> ConnectionId {
    ConnectionId::from_bytes([number; 16])
}

fn member_user(id: &str) -> User {
    user(id).into()
}

fn reference(json: &str) -> Ref {
    let mut out = Vec::new();
    decode(&format!("{{\"type\":\"ping\",\"ref\":{json}}}"), &DefaultChannel::None, &mut out);
    out.remove(0).unwrap().reference.unwrap()
}

fn error(code: ErrorCode, message: &'static str, channel: Option<ChannelName>) -> Reply {
    Reply::Error { code, message: Cow::Borrowed(message), channel, retry_after_ms: None }
}

fn kicked(channel: Option<ChannelName>, retry_after_ms: u32) -> Reply {
    Reply::Error {
        code: ErrorCode::Kicked,
        message: Cow::Borrowed("a backend removed you"),
        channel,
        retry_after_ms: Some(retry_after_ms),
    }
}

// P5.1, P5.7, P5.8, P3.16, P4.20, P4.21
#[test]
fn every_server_message_is_as_in_the_golden_file() {
    let replies: Vec<(&str, Reply, Option<Ref>)> = vec![
        (
            "auth_success",
            Reply::AuthSuccess { user: user("jane"), connection: connection(1), resume: None },
            None,
        ),
        (
            "auth_success with ref",
            Reply::AuthSuccess { user: user("jane"), connection: connection(1), resume: None },
            Some(reference("1")),
        ),
        (
            "auth_error",
            Reply::AuthError { message: "the token is not signed with the server's key".into() },
            None,
        ),
        (
            "auth_error with ref",
            Reply::AuthError { message: "no token".into() },
            Some(reference("\"first\"")),
        ),
        ("auth_refreshed", Reply::AuthRefreshed { user: user("jane"), revoked: vec![] }, None),
        (
            "auth_refreshed with lost channels",
            Reply::AuthRefreshed {
                user: user("jane"),
                revoked: vec![channel("a"), channel("b \"c\"")],
            },
            Some(reference("0")),
        ),
        ("subscribed", Reply::Subscribed { channel: channel("lobby") }, None),
        (
            "subscribed with ref",
            Reply::Subscribed { channel: channel("lobby") },
            Some(reference("\"\"")),
        ),
        (
            "unsubscribed",
            Reply::Unsubscribed { channel: channel("lobby"), code: None, retry_after_ms: None },
            Some(reference("2.5")),
        ),
        (
            "unsubscribed by the server",
            Reply::Unsubscribed {
                channel: channel("lobby"),
                code: Some(ErrorCode::ChannelAccessDenied),
                retry_after_ms: None,
            },
            None,
        ),
        (
            "unsubscribed by a kick",
            Reply::Unsubscribed {
                channel: channel("lobby"),
                code: Some(ErrorCode::Kicked),
                retry_after_ms: Some(60_000),
            },
            None,
        ),
        ("error of a kick from a channel", kicked(Some(channel("lobby")), 0), Some(reference("4"))),
        ("error of a kick from the server", kicked(None, 86_400_000), None),
        ("pong", Reply::Pong, None),
        ("pong with ref", Reply::Pong, Some(reference("7"))),
        ("ack", Reply::Ack, Some(reference("\"\\u0000\\ud800\""))),
        ("error", error(ErrorCode::InvalidJson, "the message is not valid JSON", None), None),
        (
            "error of a channel",
            error(ErrorCode::NotSubscribed, "subscribe first", Some(channel("lobby"))),
            Some(reference("3")),
        ),
        ("PRESENCE_RESYNC", Reply::Resync { channel: channel("lobby") }, None),
    ];
    let mut rows = Vec::new();
    let mut add =
        |name: &str, bytes: &[u8]| rows.push(json!({ "name": name, "text": text(bytes) }));
    for (name, reply, reference) in &replies {
        let mut out = Vec::new();
        encode::reply(&mut out, reply, reference.as_ref());
        add(name, &out);
    }
    for code in ErrorCode::ALL {
        let mut out = Vec::new();
        encode::reply(&mut out, &error(code, "why", None), None);
        add(&format!("error {code}"), &out);
    }
    let (lobby, jane, strange) =
        (channel("lobby"), member_user("jane"), member_user("ja\"ne\n\u{1f600}\u{7f}\u{0}"));
    let (online, odd) =
        (state(r#"{"status":"online"}"#), state(r#"{"s":"\ud800\n\"","n":[1e21,-0,{}]}"#));
    let member = Member { user: &jane, connection: connection(1), state: &online };
    let odd_member = Member { user: &strange, connection: connection(255), state: &odd };
    let mut out = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        add(name, &bytes);
    };
    let position = Position { epoch: 1_700_000_000_000, seq: 42 };
    out("presence_sync", &|bytes| {
        encode::sync(bytes, &lobby, position, [member, odd_member].into_iter())
    });
    out("presence_sync of nobody", &|bytes| {
        encode::sync(bytes, &lobby, Position { epoch: 0, seq: 0 }, std::iter::empty());
    });
    out("presence_join", &|bytes| encode::join(bytes, &lobby, DeltaPosition::of_seq(43), member));
    out("presence_join, strange", &|bytes| {
        encode::join(
            bytes,
            &channel("\u{fc}\"\\"),
            DeltaPosition::of_seq(MAX_SAFE_INTEGER),
            odd_member,
        )
    });
    out("presence_update", &|bytes| {
        encode::update(bytes, &lobby, DeltaPosition::of_seq(44), member)
    });
    let info = Info::parse(r#"{ "name": "Jane \"J\" Doe" }"#).expect("an object");
    let named = User::new(user("jane"), Some(info));
    let named = Member { user: &named, ..member };
    out("presence_sync with information of one user", &|bytes| {
        encode::sync(bytes, &lobby, position, [named, odd_member].into_iter())
    });
    out("presence_join with information of the user", &|bytes| {
        encode::join(bytes, &lobby, DeltaPosition::of_seq(43), named)
    });
    out("presence_update with information of the user", &|bytes| {
        encode::update(bytes, &lobby, DeltaPosition::of_seq(44), named)
    });
    let counts = Counts { users: 2, connections: 3 };
    out("presence_count", &|bytes| encode::count(bytes, &lobby, position, counts));
    for reason in LeaveReason::ALL {
        let departure = Departure { user: &jane, connection: connection(1), reason };
        out(&format!("presence_leave {}", reason.as_str()), &|bytes| {
            encode::leave(bytes, &lobby, DeltaPosition::of_seq(45), departure)
        });
    }
    let first = DeltaPosition { epoch: Some(1_700_000_000_001), seq: 3 };
    out("presence_join in a new epoch", &|bytes| encode::join(bytes, &lobby, first, member));
    out("presence_update in a new epoch", &|bytes| encode::update(bytes, &lobby, first, named));
    let departure =
        Departure { user: &jane, connection: connection(1), reason: LeaveReason::Disconnect };
    out("presence_leave in a new epoch", &|bytes| encode::leave(bytes, &lobby, first, departure));
    golden::check("frames.json", &rows);
}

#[test]
fn frames_stand_one_after_the_other_behind_what_the_buffer_held() {
    let (lobby, jane, empty) = (channel("l"), member_user("j"), state("{}"));
    let member = Member { user: &jane, connection: connection(0), state: &empty };
    let mut out = b"before".to_vec();
    encode::reply(&mut out, &Reply::Pong, None);
    encode::leave(
        &mut out,
        &lobby,
        DeltaPosition::of_seq(1),
        Departure { user: &jane, connection: connection(0), reason: LeaveReason::Leave },
    );
    encode::sync(
        &mut out,
        &lobby,
        Position { epoch: 1, seq: 1 },
        std::iter::repeat_n(member, 3000),
    );
    encode::join(&mut out, &lobby, DeltaPosition::of_seq(2), member);
    let mut rest = out.strip_prefix(b"before").unwrap();
    for expected in ["pong", "presence_leave", "presence_sync", "presence_join"] {
        let (frame, after) = split_frame(rest);
        assert_eq!(serde_json::from_str::<Value>(frame).unwrap()["type"], expected);
        rest = after;
    }
    assert!(rest.is_empty());
}

#[test]
fn the_header_fits_at_every_length_around_a_change_of_its_form() {
    let jane = member_user("jane");
    for length in (0..200).chain(65_300..65_600) {
        let message = Cow::Owned("m".repeat(length));
        let mut out = Vec::new();
        encode::reply(
            &mut out,
            &Reply::Error {
                code: ErrorCode::ServerError,
                message,
                channel: None,
                retry_after_ms: None,
            },
            None,
        );
        assert_eq!(
            serde_json::from_str::<Value>(text(&out)).unwrap()["message"].as_str().unwrap().len(),
            length
        );
    }
    let (lobby, empty) = (channel("l"), state("{}"));
    let member = Member { user: &jane, connection: connection(0), state: &empty };
    for count in (900..1100).step_by(7) {
        let position = Position { epoch: 1, seq: 1 };
        let rows = || std::iter::repeat_n(member, count);
        let (mut hinted, mut unhinted) = (Vec::new(), Vec::new());
        encode::sync(&mut hinted, &lobby, position, rows());
        // A filter tells no lower bound, so the length is guessed wrongly and the snapshot moved.
        encode::sync(&mut unhinted, &lobby, position, rows().filter(|_| true));
        assert_eq!(hinted, unhinted);
        let sync: Value = serde_json::from_str(text(&hinted)).unwrap();
        assert_eq!(sync["presences"].as_array().unwrap().len(), count);
    }
}

proptest! {
    #[test]
    fn whatever_the_names_say_another_parser_reads_them_back(
        id in ".{1,60}", name in "\\PC{1,40}", raw in any::<[u8; 16]>(), seq in any::<u64>(), epoch in any::<u64>(),
        status in any::<String>(),
    ) {
        prop_assume!(!name.chars().any(char::is_control));
        let text_state = json!({ "status": status }).to_string();
        prop_assume!(text_state.len() <= State::MAX_BYTES);
        let (channel, user, state) = (channel(&name), member_user(&id), state(&text_state));
        let connection = ConnectionId::from_bytes(raw);
        let member = Member { user: &user, connection, state: &state };
        let entry = json!({ "userId": id, "connectionId": connection.to_string(), "state": { "status": status } });
        let mut out = Vec::new();
        encode::sync(&mut out, &channel, Position { epoch, seq }, [member, member].into_iter());
        let sync: Value = serde_json::from_str(text(&out)).unwrap();
        prop_assert_eq!(sync, json!({
            "type": "presence_sync", "channel": format!("presence:{name}"), "epoch": epoch, "seq": seq,
            "presences": [entry.clone(), entry],
        }));
        out.clear();
        encode::update(&mut out, &channel, DeltaPosition::of_seq(seq), member);
        // What the server says of a member, a client could say again word for word.
        let mut heard = Vec::new();
        decode(text(&out), &DefaultChannel::None, &mut heard);
        prop_assert_eq!(heard.remove(0).unwrap().message, ClientMessage::Track { channel, state, expire: None });
    }
}

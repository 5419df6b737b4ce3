//! What nodes say to each other, byte by byte.

use herenow_wire::link::{
    Assembler, Attachment, Body, Change, Channel, Copied, Follows, Incarnation, Interest, Item,
    Kick, KickTarget, LinkError, MIN_BODY_BYTES, Op, OwnerId, Packet, Part, Parts, Position,
    Presence, Put, Refused, RefusedWhy, Report, Reported, Row, Shown, Snap, Ticket, Urgency,
    bodies,
};
use herenow_wire::{ChannelName, ConnectionId, Info, LeaveReason, State, User, UserId};
use serde_json::json;

mod golden;

const ANY_SIZE: usize = 1 << 20;

fn lobby() -> ChannelName {
    ChannelName::parse("presence:lobby").unwrap()
}

fn state(json: &str) -> State {
    State::parse(json).unwrap()
}

fn connection(byte: u8) -> ConnectionId {
    ConnectionId::from_bytes([byte; 16])
}

fn presence(byte: u8) -> Presence {
    Presence {
        connection: connection(byte),
        generation: 3,
        user: UserId::parse("jane").unwrap().into(),
        attachment: Attachment::Socket,
        since_ms: 1_800_000_000_123,
    }
}

fn row(byte: u8, seq: u64) -> Row {
    Row {
        presence: presence(byte),
        owner: OwnerId(0x1234_5678_9abc_def0),
        state: state(r#"{"x":1}"#),
        seq,
    }
}

const HERE: Position = Position { epoch: 1_800_000_001 << 20, seq: 300 };

fn report() -> Report {
    let reported = |byte, shown, seen| Reported { presence: presence(byte), shown, seen };
    let info = Info::parse(r#"{"name":"Jane"}"#).unwrap();
    let user = User::new(UserId::parse("jane").unwrap(), Some(info));
    let attachment = Attachment::Detached;
    let detached = Presence { user, attachment, since_ms: 0, ..presence(2) };
    let members = vec![
        reported(1, Shown::State(state(r#"{"x":1}"#)), Some(HERE)),
        Reported { presence: detached, shown: Shown::Sleeping, seen: None },
    ];
    let copied = Some(Copied { position: HERE, rows: vec![row(3, 299)] });
    let lobby = Channel {
        name: lobby(),
        interest: Interest::Changes,
        members,
        waiting: vec![connection(9)],
        copied,
    };
    let other = ChannelName::parse("presence:\u{1f600}").unwrap();
    let other = Channel {
        name: other,
        interest: Interest::Nothing,
        members: Vec::new(),
        waiting: Vec::new(),
        copied: None,
    };
    let decided = Some(HERE);
    Report { shard: 1023, epoch: 1_800_000_001, decided, channels: vec![lobby, other] }
}

/// One of each kind.
fn items() -> Vec<(&'static str, Item)> {
    let channel = lobby();
    let ticket = Some(Ticket(7));
    let (id, generation) = (connection(1), 3);
    let put = Put {
        channel: lobby(),
        presence: presence(1),
        state: state(r#"{"x":1}"#),
        max_members: 1000,
        ticket,
    };
    let refused =
        Refused { channel: lobby(), connection: id, generation, ticket, why: RefusedWhy::Full };
    let removed = Op::Remove { connection: id, reason: LeaveReason::Kicked, seq: 300 };
    let ops = vec![Op::Put(row(2, 299)), removed];
    let user = KickTarget::User(UserId::parse("jane").unwrap());
    let kick = Kick { target: KickTarget::Connection(id), channel: Some(lobby()), for_ms: 60_000 };
    let reason = LeaveReason::Leave;
    let interest = Interest::Changes;
    vec![
        ("report", Item::Report(report())),
        ("put", Item::Put(put.clone())),
        ("put that nobody waits for", Item::Put(Put { ticket: None, ..put })),
        ("remove", Item::Remove { channel: lobby(), connection: id, generation, reason }),
        ("detach", Item::Detach { channel: lobby(), connection: id, generation }),
        ("interest", Item::Interest { channel: lobby(), interest }),
        ("interest in its sleep", Item::Interest { channel: lobby(), interest: Interest::Asleep }),
        ("no interest", Item::Interest { channel: lobby(), interest: Interest::Nothing }),
        ("snap", Item::Snap(Snap { channel: lobby(), position: HERE, rows: vec![row(1, 298)] })),
        ("change", Item::Change(Change { channel: lobby(), prev: 298, position: HERE, ops })),
        ("refused", Item::Refused(refused)),
        ("taken", Item::Taken { connection: id, generation }),
        ("heard", Item::Heard { channel: lobby() }),
        ("hibernated", Item::Hibernated { channel: lobby(), position: Some(HERE) }),
        ("woke", Item::Woke { channel }),
        ("kick from a channel", Item::Kick(kick)),
        ("kick from the server", Item::Kick(Kick { target: user, channel: None, for_ms: 1 })),
    ]
}

fn packet(body: Body<'_>) -> Packet<'_> {
    Packet {
        from: Incarnation(0x0102_0304_0506_0708),
        to: Incarnation(u64::MAX),
        n: 300,
        ack: 2,
        received: 5,
        body,
    }
}

fn batch(items: &[u8]) -> Packet<'_> {
    packet(Body::Batch { follows: Follows::Previous, urgency: Urgency::Soon, items })
}

const PART: Part<'_> = Part { id: 300, index: 0, count: 2, bytes: b"{}" };

/// Each packet with its name and its items.
fn packets() -> Vec<(String, Vec<u8>, Vec<Item>)> {
    let bare = |name: &str, body| (name.to_owned(), packet(body).encode(), Vec::new());
    let anew = Body::Batch { follows: Follows::Nothing, urgency: Urgency::Whenever, items: &[] };
    let mut all = vec![
        bare("tick", Body::Tick),
        bare("ack", Body::Ack),
        bare("nack", Body::Nack { seen: 301 }),
        bare("collect", Body::Collect { shards: vec![(0, 1), (1023, 1_800_000_001)] }),
        bare("an empty batch that begins anew", anew),
        bare("request", Body::Request(PART)),
        bare("response", Body::Response(Part { index: 1, ..PART })),
    ];
    for (name, item) in items() {
        let items = vec![item];
        let body = bodies(&items, ANY_SIZE).concat();
        all.push((format!("batch: {name}"), batch(&body).encode(), items));
    }
    let two = vec![items()[4].1.clone(), items()[11].1.clone()];
    all.push(("batch: two items".into(), batch(&bodies(&two, ANY_SIZE)[0]).encode(), two));
    all
}

fn read(bytes: &[u8]) -> Result<(Vec<Item>, usize), LinkError> {
    let mut items = Vec::new();
    match Packet::decode(bytes)?.body {
        Body::Batch { items: body, .. } => {
            let skipped = Assembler::new(ANY_SIZE).read(body, &mut items)?;
            Ok((items, skipped))
        }
        _ => Ok((items, 0)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn every_packet_is_written_as_in_the_golden_file() {
    let rows: Vec<_> = packets()
        .iter()
        // In this order, since it depends on the whole build whether keys are sorted.
        .map(|(name, bytes, _)| json!({ "hex": hex(bytes), "name": name }))
        .collect();
    golden::check("link.json", &rows);
}

#[test]
fn every_packet_of_the_golden_file_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/link.json");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let packets = packets();
    assert_eq!(rows.len(), packets.len());
    for (row, (name, _, items)) in rows.iter().zip(packets) {
        assert_eq!(row["name"], name.as_str());
        let bytes = from_hex(row["hex"].as_str().unwrap());
        assert_eq!(read(&bytes), Ok((items, 0)), "{name}");
        assert_eq!(Packet::decode(&bytes).unwrap().encode(), bytes, "{name}");
    }
}

#[test]
fn items_of_unknown_kinds_and_fields_that_were_added_are_skipped() {
    let heard = Item::Heard { channel: lobby() };
    let mut body = bodies(std::slice::from_ref(&heard), ANY_SIZE).concat();
    let longer = [body[0], body[1] + 2];
    let longer = [&longer[..], &body[2..], &[9, 9]].concat();
    body.extend([99, 3, 1, 2, 3]);
    body.extend(longer);
    assert_eq!(read(&batch(&body).encode()), Ok((vec![heard.clone(), heard], 1)));
}

#[test]
fn a_refusal_comes_back_with_its_reason() {
    let all =
        [RefusedWhy::Full, RefusedWhy::OlderGeneration, RefusedWhy::Fault, RefusedWhy::NotHome];
    for (number, why) in all.into_iter().enumerate() {
        let (channel, connection, ticket) = (lobby(), connection(1), Some(Ticket(7)));
        let refused = Refused { channel, connection, generation: 0, ticket, why };
        let items = vec![Item::Refused(refused)];
        let body = bodies(&items, ANY_SIZE).concat();
        assert_eq!(body.last(), Some(&(number as u8)), "other nodes read this number");
        assert_eq!(read(&batch(&body).encode()), Ok((items, 0)));
    }
}

#[test]
fn no_prefix_of_an_item_is_read_as_another_item() {
    for (name, bytes, items) in packets() {
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Err(_) => {}
                // A batch may end after any of its items.
                Ok((read, skipped)) => {
                    assert!(skipped == 0 && read.len() < items.len(), "{name} at {length}");
                    assert_eq!(read, items[..read.len()], "{name} at {length}");
                }
            }
        }
    }
}

#[test]
fn a_list_longer_than_its_bytes_is_refused_before_there_is_room_for_it() {
    // A snapshot that says it has 2^32 rows.
    let mut body = vec![7, 0];
    body.extend([5, b'l', b'o', b'b', b'b', b'y', 1, 1, 0x80, 0x80, 0x80, 0x80, 0x10]);
    body[1] = body.len() as u8 - 2;
    assert_eq!(read(&batch(&body).encode()), Err(LinkError::TooMany));

    let shards = vec![(5, 1); 1024];
    let collect = packet(Body::Collect { shards: shards.clone() }).encode();
    assert_eq!(Packet::decode(&collect).unwrap().body, Body::Collect { shards });
    let more = packet(Body::Collect { shards: vec![(5, 1); 1025] }).encode();
    assert_eq!(Packet::decode(&more), Err(LinkError::TooMany));
}

#[test]
fn ids_and_states_are_checked_as_those_of_clients_are() {
    let (body, at) = {
        let body = bodies(&[Item::Heard { channel: lobby() }], ANY_SIZE).concat();
        let at = body.len() - 1;
        (body, at)
    };
    for (byte, error) in [
        (7, LinkError::Channel(herenow_wire::ChannelError::ControlCharacter)),
        (0xff, LinkError::Text),
    ] {
        let mut bad = body.clone();
        bad[at] = byte;
        assert_eq!(read(&batch(&bad).encode()), Err(error));
    }
    let json = r#"{"x":1}"#;
    let put = &packets().into_iter().find(|(name, ..)| name == "batch: put").unwrap().1;
    let at = put.windows(json.len()).position(|window| window == json.as_bytes()).unwrap();
    let mut bad = put.clone();
    bad[at] = b'[';
    assert!(matches!(read(&bad), Err(LinkError::State(_))));
    let shard = [2, 5, 0x80, 8, 1, 0, 0];
    assert_eq!(read(&batch(&shard).encode()), Err(LinkError::Choice), "shard 1024");
}

#[test]
fn a_number_has_one_form_and_at_most_64_bits() {
    let with_received = |received: &[u8]| {
        let mut bytes = packet(Body::Ack).encode();
        bytes.pop();
        bytes.extend(received);
        Packet::decode(&bytes).map(|packet| packet.received)
    };
    assert_eq!(with_received(&[0x80, 0x00]), Err(LinkError::Number));
    assert_eq!(with_received(&[0x80; 11]), Err(LinkError::Number));
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(with_received(&most), Ok(u64::MAX));
    let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    assert_eq!(with_received(&over), Err(LinkError::Number));
}

#[test]
fn another_version_is_told_apart_from_what_is_broken() {
    let mut bytes = packet(Body::Tick).encode();
    bytes[0] = 2;
    assert_eq!(Packet::decode(&bytes), Err(LinkError::Version(2)));
    bytes[0] = 1;
    bytes[1] = 77;
    assert_eq!(Packet::decode(&bytes), Err(LinkError::Kind(77)));
}

fn large_snap() -> Item {
    let rows = (0..2_000).map(|n| row(n as u8, n)).collect();
    Item::Snap(Snap { channel: lobby(), position: HERE, rows })
}

#[test]
fn an_item_that_is_too_large_for_a_batch_goes_in_parts_and_is_put_together() {
    let all = vec![Item::Heard { channel: lobby() }, large_snap(), Item::Woke { channel: lobby() }];
    for max_bytes in [MIN_BODY_BYTES, 64 * 1024 - Packet::MAX_HEADER_BYTES, 512 * 1024] {
        let bodies = bodies(&all, max_bytes);
        assert!(bodies.iter().all(|body| body.len() <= max_bytes));
        let mut assembler = Assembler::new(ANY_SIZE);
        let mut read = Vec::new();
        for body in &bodies {
            assert_eq!(assembler.read(body, &mut read), Ok(0));
        }
        assert_eq!(read, all, "{max_bytes}");
        assert_eq!(assembler.held_bytes(), 0);
    }
}

#[test]
fn parts_that_do_not_follow_each_other_or_grow_too_large_are_refused() {
    let parts = bodies(&[large_snap()], 16 * 1024);
    assert!(parts.len() > 4);
    let mut items = Vec::new();

    let mut assembler = Assembler::new(40_000);
    assert_eq!(assembler.read(&parts[0], &mut items), Ok(0));
    assert_eq!(assembler.read(&parts[1], &mut items), Ok(0));
    assert_eq!(assembler.read(&parts[2], &mut items), Err(LinkError::TooLarge));
    assert_eq!(assembler.held_bytes(), 0, "what was begun is freed");

    assert_eq!(assembler.read(&parts[1], &mut items), Err(LinkError::Part), "without the first");
    assert_eq!(assembler.read(&parts[0], &mut items), Ok(0));
    assert_eq!(assembler.read(&parts[0], &mut items), Err(LinkError::Part), "the first again");
    assert_eq!(assembler.read(&parts[0], &mut items), Ok(0));
    let heard = bodies(&[Item::Heard { channel: lobby() }], ANY_SIZE).concat();
    assert_eq!(assembler.read(&heard, &mut items), Err(LinkError::Part), "another item between");
    assert_eq!(items, []);
}

#[test]
fn a_body_in_parts_comes_together_in_any_order_and_however_often_a_part_comes() {
    for (body, count) in [(&b""[..], 1), (b"1234", 1), (b"12345", 2), (b"123456789", 3)] {
        let parts: Vec<_> = Part::all_of(7, body, 4).collect();
        assert_eq!(parts.len(), count);
        let mut together = Parts::default();
        for part in parts[1..].iter().chain(&parts[1..]) {
            assert_eq!(together.take(part, 9), Ok(None));
        }
        assert_eq!(together.take(&parts[0], 9), Ok(Some(body.to_vec())));
        assert_eq!(together.held_bytes(), 0);
    }
}

#[test]
fn parts_that_do_not_fit_together_or_are_too_large_are_refused_and_dropped() {
    let mut parts = Parts::default();
    assert_eq!(parts.take(&PART, 3), Ok(None));
    let other = Part { index: 1, count: 3, ..PART };
    assert_eq!(parts.take(&other, 3), Err(LinkError::Part));
    assert_eq!(parts.held_bytes(), 0);
    assert_eq!(parts.take(&PART, 3), Ok(None));
    assert_eq!(parts.take(&Part { index: 1, ..PART }, 3), Err(LinkError::TooLarge));
    assert_eq!(parts.held_bytes(), 0);
}

#[test]
fn a_part_that_cannot_be_is_refused() {
    let refused = |part| {
        let bytes = packet(Body::Request(part)).encode();
        Packet::decode(&bytes).map(|_| ())
    };
    let too_many = Part { count: Part::MAX_COUNT + 1, ..PART };
    assert_eq!(refused(too_many), Err(LinkError::TooMany));
    assert_eq!(refused(Part { index: 2, ..PART }), Err(LinkError::Part));
    assert_eq!(refused(Part { count: 0, ..PART }), Err(LinkError::Part));
}

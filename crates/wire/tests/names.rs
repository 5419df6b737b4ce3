//! What is a channel, a user, a connection, and what is none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use herenow_wire::{ChannelError, ChannelName, ConnectionId, SHARDS, UserId, UserIdError};
use serde_json::json;

mod golden;

fn bare(wire: &str) -> Result<String, ChannelError> {
    ChannelName::parse(wire).map(|channel| channel.as_str().to_owned())
}

// P1.1
#[test]
fn a_channel_is_written_with_its_prefix_and_may_carry_one_realtime_before_it() {
    for (wire, name) in [
        ("presence:lobby", "lobby"),
        ("realtime:presence:lobby", "lobby"),
        ("presence:presence:lobby", "presence:lobby"),
        ("presence:realtime:presence:x", "realtime:presence:x"),
        ("presence: ", " "),
        ("presence:*", "*"),
        ("presence:Größe \u{1f600}", "Größe \u{1f600}"),
        ("presence:\u{a0}\u{2028}\u{feff}", "\u{a0}\u{2028}\u{feff}"),
    ] {
        assert_eq!(bare(wire).as_deref(), Ok(name), "{wire}");
        assert_eq!(ChannelName::parse(wire).unwrap().to_string(), format!("presence:{name}"));
    }
}

#[test]
fn a_text_without_exactly_that_prefix_names_no_channel() {
    for wire in [
        "",
        "lobby",
        "presence",
        "Presence:lobby",
        " presence:lobby",
        "realtime:lobby",
        "realtime:realtime:presence:lobby",
        "realtime:",
        "Realtime:presence:x",
    ] {
        assert_eq!(bare(wire), Err(ChannelError::NoPrefix), "{wire}");
    }
    assert_eq!(bare("presence:"), Err(ChannelError::Empty));
    assert_eq!(bare("realtime:presence:"), Err(ChannelError::Empty));
}

#[test]
fn a_name_has_at_most_200_bytes_however_few_characters_they_are() {
    let of = |name: String| bare(&format!("presence:{name}"));
    assert!(of("x".repeat(200)).is_ok());
    assert!(of("ü".repeat(100)).is_ok());
    assert_eq!(of("x".repeat(201)), Err(ChannelError::TooLong { bytes: 201 }));
    assert_eq!(of("\u{1f600}".repeat(51)), Err(ChannelError::TooLong { bytes: 204 }));
    let sentence = ChannelError::TooLong { bytes: 201 }.to_string();
    assert!(sentence.contains("200") && sentence.contains("201"), "{sentence}");
}

// P1.2
#[test]
fn a_name_holds_none_of_the_65_control_characters() {
    for code in (0..0x20).chain(0x7f..=0x9f) {
        let control = char::from_u32(code).unwrap();
        let wire = format!("presence:a{control}b");
        assert_eq!(bare(&wire), Err(ChannelError::ControlCharacter), "{code:x}");
    }
}

// P1.2
#[test]
fn names_are_compared_byte_by_byte() {
    let name = |wire| ChannelName::parse(wire).unwrap();
    assert_ne!(name("presence:Lobby"), name("presence:lobby"));
    assert_ne!(name("presence:\u{e9}"), name("presence:e\u{301}"));
    assert_eq!(name("realtime:presence:lobby"), name("presence:lobby"));
}

#[test]
fn a_connection_id_is_22_characters_of_base64url_and_comes_back_the_same() {
    let id = ConnectionId::from_bytes([0xfb, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff]);
    assert_eq!(id.to_string(), "-_8AAQIDBAUGBwgJCgsM_w");
    assert_eq!(ConnectionId::parse(&id.to_string()), Some(id));
    for wrong in [
        "",
        "-_8AAQIDBAUGBwgJCgsM_",
        "-_8AAQIDBAUGBwgJCgsM_w==",
        "+/8AAQIDBAUGBwgJCgsM/w",
        // The last character holds four bits that no byte has.
        "-_8AAQIDBAUGBwgJCgsM_x",
        "-_8AAQIDBAUGBwgJCgsMé",
    ] {
        assert_eq!(ConnectionId::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn each_byte_of_a_connection_id_is_written_as_any_encoder_writes_it() {
    for (at, byte) in (0..16).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
        for others in [0, u8::MAX] {
            let mut bytes = [others; 16];
            bytes[at] = byte;
            let id = ConnectionId::from_bytes(bytes);
            assert_eq!(id.to_string(), URL_SAFE_NO_PAD.encode(bytes));
        }
    }
}

#[test]
fn a_user_id_has_1_to_256_bytes() {
    assert_eq!(UserId::parse(""), Err(UserIdError::Empty));
    assert!(UserId::parse(&"x".repeat(256)).is_ok());
    assert_eq!(UserId::parse(&"x".repeat(257)), Err(UserIdError::TooLong { bytes: 257 }));
    assert_eq!(UserId::parse(&"ü".repeat(129)), Err(UserIdError::TooLong { bytes: 258 }));
}

#[test]
fn a_channel_belongs_to_the_same_shard_for_ever() {
    let names = ["lobby", "game-room", "a", "b", "presence:lobby", "Größe \u{1f600}", " "];
    let long = "x".repeat(ChannelName::MAX_BYTES);
    let shards: Vec<_> = names
        .into_iter()
        .chain([long.as_str()])
        .map(|name| {
            let channel = ChannelName::parse(&format!("presence:{name}")).unwrap();
            json!({ "channel": channel.to_string(), "shard": channel.shard() })
        })
        .collect();
    golden::check("shards.json", &shards);
}

#[test]
fn numbered_channels_spread_evenly_over_all_shards() {
    const CHANNELS_PER_SHARD: u32 = 100;
    let mut counts = [0_u32; SHARDS as usize];
    for number in 0..u32::from(SHARDS) * CHANNELS_PER_SHARD {
        let channel = ChannelName::parse(&format!("presence:game-{number}")).unwrap();
        counts[usize::from(channel.shard())] += 1;
    }
    // Six standard deviations of a fair throw.
    assert!(counts.iter().all(|count| count.abs_diff(CHANNELS_PER_SHARD) <= 60), "{counts:?}");
}

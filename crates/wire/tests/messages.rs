//! What a client's frame means, and with which code it is refused.

use herenow_wire::{
    ChannelName, ClientMessage, DefaultChannel, ErrorCode, Incoming, Mode, Refusal, State, decode,
};

fn read_with(default: &DefaultChannel, text: &str) -> Result<Incoming, Refusal> {
    let mut out = Vec::new();
    decode(text, default, &mut out);
    assert_eq!(out.len(), 1, "one frame, one message");
    out.remove(0)
}

fn read(text: &str) -> Result<Incoming, Refusal> {
    read_with(&DefaultChannel::None, text)
}

fn message(text: &str) -> ClientMessage {
    read(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}")).message
}

fn refusal(text: &str) -> Refusal {
    read(text).expect_err(text)
}

fn code(text: &str) -> ErrorCode {
    refusal(text).code
}

fn lobby() -> ChannelName {
    ChannelName::parse("presence:lobby").unwrap()
}

fn ref_of(text: &str) -> Option<String> {
    let reference = match read(text) {
        Ok(incoming) => incoming.reference,
        Err(refusal) => refusal.reference,
    };
    reference.map(|reference| reference.as_json().to_owned())
}

// P4.1
#[test]
fn every_message_and_every_alias_is_understood() {
    let channel = lobby;
    let state = || State::parse("{}").unwrap();
    for (kind, expected) in [
        ("subscribe", ClientMessage::Subscribe { channel: channel(), mode: Mode::List }),
        ("unsubscribe", ClientMessage::Unsubscribe { channel: channel() }),
        (
            "presence_join",
            ClientMessage::Track { channel: channel(), state: state(), expire: None },
        ),
        (
            "presence_track",
            ClientMessage::Track { channel: channel(), state: state(), expire: None },
        ),
        (
            "presence_update",
            ClientMessage::Track { channel: channel(), state: state(), expire: None },
        ),
        ("presence_leave", ClientMessage::Untrack { channel: channel() }),
        ("presence_untrack", ClientMessage::Untrack { channel: channel() }),
        ("presence_sync", ClientMessage::Sync { channel: channel() }),
        ("ping", ClientMessage::Ping),
        ("auth", ClientMessage::Auth { token: Some("t".into()), resume: None }),
    ] {
        let text = format!(
            r#"{{"type":"{kind}","channel":"realtime:presence:lobby","state":{{}},"token":"t"}}"#
        );
        assert_eq!(message(&text), expected, "{kind}");
    }
}

// P4.23
#[test]
fn expire_names_up_to_eight_fields_with_a_second_to_an_hour_each() {
    let with = |state: &str, expire: &str| {
        read(&format!(
            r#"{{"type":"presence_update","expire":{expire},"channel":"presence:lobby","state":{state}}}"#
        ))
    };
    let fields = |expire: &str| match with(r#"{"a":1,"b":2}"#, expire).expect(expire).message {
        ClientMessage::Track { expire, .. } => expire,
        other => panic!("{other:?}"),
    };
    let both = fields(r#"{"a":1000,"\u0062":3.6e6}"#).expect("the state has both");
    let times: Vec<u32> = both.fields().iter().map(|field| field.after_ms).collect();
    assert_eq!((times, both.rest().as_str()), (vec![1000, 3_600_000], "{}"));
    let known = fields(r#"{"c":1000,"b":2000}"#).expect("the state has one");
    assert_eq!((known.fields().len(), known.rest().as_str()), (1, r#"{"a":1}"#));
    for none in ["{}", r#"{"c":1000}"#] {
        assert_eq!(fields(none), None, "{none}");
    }
    let many = |count: u32| {
        let fields: Vec<String> = (0..count).map(|n| format!(r#""f{n}":1000"#)).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert_eq!(fields(&many(8)), None, "eight may be named");
    let nine = many(9);
    let bad = [
        "1",
        "null",
        "[]",
        r#"{"a":999}"#,
        r#"{"a":3600001}"#,
        r#"{"a":1000.5}"#,
        r#"{"a":"1000"}"#,
    ];
    for expire in bad.into_iter().chain([&*nine]) {
        let refusal = with("{}", expire).expect_err(expire);
        assert_eq!(refusal.code, ErrorCode::InvalidMessage, "{expire}");
        assert_eq!(refusal.channel, Some(lobby()));
    }
    // The state is looked at first.
    assert_eq!(with("1", "1").expect_err("no state").code, ErrorCode::InvalidState);
}

// P4.24
#[test]
fn one_message_may_subscribe_to_up_to_a_hundred_channels() {
    let with = |channels: &str| {
        read(&format!(r#"{{"channels":{channels},"ref":1,"type":"subscribe","mode":"count"}}"#))
    };
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!(r#""presence:{n}""#)).collect();
        format!("[ {} ]", names.join(" , "))
    };
    for count in [1, 100] {
        match with(&names(count)).expect("not too many").message {
            ClientMessage::SubscribeAll { channels, mode: Mode::Count } => {
                let numbers = channels.iter().map(|channel| channel.as_str().parse());
                assert!(numbers.eq((0..count).map(Ok)), "{channels:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    for channels in ["[]", "1", r#""presence:a""#, "{}", "null", &names(101)] {
        let refusal = with(channels).expect_err(channels);
        assert_eq!(refusal.code, ErrorCode::InvalidMessage, "{channels}");
        assert_eq!(refusal.reference.expect("it had one").as_json(), "1");
    }
    for channels in [r#"["presence:a",1]"#, r#"["a"]"#, r#"["presence:a","presence:"]"#] {
        assert_eq!(with(channels).expect_err(channels).code, ErrorCode::InvalidChannel);
    }
    let both = r#"{"type":"subscribe","channel":"presence:a","channels":["presence:b"]}"#;
    assert_eq!(code(both), ErrorCode::InvalidMessage);
    assert_eq!(code(r#"{"type":"subscribe","channels":["presence:a"}"#), ErrorCode::InvalidJson);
    // Other messages have no channels.
    assert_eq!(message(r#"{"type":"ping","channels":1}"#), ClientMessage::Ping);
}

// P4.22
#[test]
fn the_mode_of_a_subscription_is_count_or_left_out() {
    let with = |mode: &str| {
        read(&format!(r#"{{"type":"subscribe","channel":"presence:lobby","ref":1,"mode":{mode}}}"#))
    };
    let counting = ClientMessage::Subscribe { channel: lobby(), mode: Mode::Count };
    assert_eq!(with(r#""count""#).map(|incoming| incoming.message), Ok(counting.clone()));
    assert_eq!(with(r#""c\u006funt""#).map(|incoming| incoming.message), Ok(counting));
    for mode in [r#""list""#, r#""""#, "null", "1", "{}"] {
        let refusal = with(mode).expect_err(mode);
        assert_eq!(refusal.code, ErrorCode::InvalidMessage, "{mode}");
        assert_eq!(refusal.channel, Some(lobby()));
        assert_eq!(refusal.reference.expect("it had one").as_json(), "1");
    }
    // Other messages have no mode.
    assert_eq!(message(r#"{"type":"ping","mode":1}"#), ClientMessage::Ping);
}

#[test]
fn fields_come_in_any_order_with_blanks_escapes_and_repetitions_the_last_of_which_counts() {
    let expected = ClientMessage::Track {
        channel: lobby(),
        state: State::parse(r#"{"a":2}"#).unwrap(),
        expire: None,
    };
    for text in [
        r#"{"state":{"a":2},"channel":"presence:lobby","type":"presence_join"}"#,
        " {\t\"type\" :\r\n\"presence_join\" , \"channel\":\"presence:lobby\",\"state\" : { \"a\" : 2 } } ",
        r#"{"\u0074ype":"presence\u005fjoin","ch\u0061nnel":"presence:l\u006fbby","st\u0061te":{"\u0061":2}}"#,
        r#"{"type":"ping","type":"presence_join","channel":7,"channel":"presence:lobby","state":[],"state":{"a":1,"a":2}}"#,
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
    assert_eq!(
        code(r#"{"type":"presence_join","channel":"presence:lobby","state":{"a":2},"state":null}"#),
        ErrorCode::InvalidState
    );
}

// P1.4, P4.1
#[test]
fn what_a_client_says_of_itself_and_unknown_fields_are_ignored() {
    let text = r#"{"type":"presence_leave","channel":"presence:lobby","userId":{"x":[1]},"connectionId":5,"more":null,"\ud800":1}"#;
    assert_eq!(message(text), ClientMessage::Untrack { channel: lobby() });
}

// P4.2
#[test]
fn what_is_no_json_is_invalid_json() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}x",
        "{\"type\":\"ping\"}{}",
        "\u{feff}{\"type\":\"ping\"}",
        "{type:\"ping\"}",
        "{'type':'ping'}",
        "{\"type\":\"ping\",}",
        "{,\"type\":\"ping\"}",
        "{\"type\" \"ping\"}",
        "{\"type\":\"ping\" \"a\":1}",
        "{\"a\":}",
        "{\"type\":\"pi\nng\"}",
        "{\"type\":\"p\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x1}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":-Infinity}",
        "{\"a\":1e400}",
        "{\"a\":-1e400}",
        "{\"a\":[1e309]}",
        "{\"a\":nul}",
        "{\"a\":truefalse}",
        "{\"a\":TRUE}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":1]",
        "{\"a\":{}",
        "{1:2}",
        "{null:1}",
        "[",
        "\"",
        "ping",
        "{\"type\":\"ping\"}\0",
        "\u{a0}{}",
        "{\"a\":1}//",
        "{\"a\":\"\u{1f}\"}",
        "{\"a\":--1}",
        "{\"a\":00}",
        "{\"a\":-01}",
        "{\"a\":1.5.5}",
        "{\"a\":1e5e5}",
        "{\"a\":\u{ff11}}",
    ] {
        let refusal = refusal(text);
        assert_eq!(refusal.code, ErrorCode::InvalidJson, "{text:?}");
        assert_eq!((refusal.channel, refusal.reference), (None, None), "{text:?}");
    }
}

#[test]
fn json_may_nest_32_levels_the_message_included() {
    let nested = |levels: usize| {
        let inner = levels - 1;
        format!("{{\"type\":\"ping\",\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    assert_eq!(message(&nested(32)), ClientMessage::Ping);
    assert_eq!(code(&nested(33)), ErrorCode::InvalidJson);
    let bare = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(code(&bare(32)), ErrorCode::InvalidMessage);
    assert_eq!(code(&bare(33)), ErrorCode::InvalidJson);
    assert_eq!(code(&"[".repeat(16_384)), ErrorCode::InvalidJson);
    let state = |levels: usize| {
        let inner = levels - 1;
        let objects = format!("{}1{}", "{\"a\":".repeat(inner), "}".repeat(inner));
        format!(r#"{{"type":"presence_join","channel":"presence:lobby","state":{objects}}}"#)
    };
    assert!(matches!(message(&state(32)), ClientMessage::Track { .. }));
    assert_eq!(code(&state(33)), ErrorCode::InvalidJson);
    let siblings = format!("{{\"type\":\"ping\",\"a\":[{}[]]}}", "[[]],".repeat(100));
    assert_eq!(message(&siblings), ClientMessage::Ping);
}

// P4.2
#[test]
fn json_that_is_no_object_or_has_no_text_as_type_is_an_invalid_message() {
    for text in [
        "null",
        "true",
        "1",
        "\"ping\"",
        "[]",
        "[{\"type\":\"ping\"}]",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":1}"#,
        r#"{"type":["ping"]}"#,
        r#"{"type":{}}"#,
        r#"{"Type":"ping"}"#,
        r#"{"type":"ping","type":null}"#,
    ] {
        assert_eq!(code(text), ErrorCode::InvalidMessage, "{text}");
    }
}

// P4.2
#[test]
fn a_type_that_no_client_sends_is_unknown() {
    for kind in [
        "",
        "Ping",
        "ping ",
        "join",
        "auth_success",
        "auth_error",
        "auth_refreshed",
        "subscribed",
        "unsubscribed",
        "pong",
        "ack",
        "error",
        "PRESENCE_RESYNC",
        "FILTER_RESYNC",
        "\\ud800",
        "\\u0000ping",
        "__proto__",
    ] {
        let text = format!(r#"{{"type":"{kind}","channel":"presence:lobby","ref":3}}"#);
        let refusal = refusal(&text);
        assert_eq!(refusal.code, ErrorCode::UnknownType, "{text}");
        assert_eq!(refusal.reference.unwrap().as_json(), "3");
    }
}

#[test]
fn a_ref_is_a_number_or_a_text_of_at_most_256_bytes_and_comes_back_with_message_and_refusal() {
    let long = format!("\"{}\"", "x".repeat(256));
    let wide = format!("\"{}\"", "ü".repeat(128));
    let controls = format!("\"{}\"", "\\u0001".repeat(256));
    for (reference, repeated) in [
        ("\"a\"", "\"a\""),
        ("\"\"", "\"\""),
        ("0", "0"),
        ("-0", "0"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("\"\\u0041\\/\\n\\u0001\"", "\"A/\\n\\u0001\""),
        ("\"\\uD83D\\uDE00\"", "\"\u{1f600}\""),
        ("\"\\uD83D\"", "\"\\ud83d\""),
        (&long, &long),
        (&wide, &wide),
        (&controls, &controls),
    ] {
        for rest in
            [r#""type":"ping""#, r#""type":"presence_leave""#, r#""type":"nonsense""#, r#""a":1"#]
        {
            let text = format!("{{\"ref\":{reference},{rest}}}");
            assert_eq!(ref_of(&text).as_deref(), Some(repeated), "{text}");
        }
    }
    assert_eq!(ref_of(r#"{"type":"ping","ref":null}"#), None);
    assert_eq!(ref_of(r#"{"type":"ping"}"#), None);
    assert_eq!(ref_of(r#"{"type":"ping","ref":1,"ref":2}"#).as_deref(), Some("2"));
}

#[test]
fn any_other_ref_makes_the_message_invalid_before_its_type_is_looked_at() {
    let long = format!("\"{}\"", "x".repeat(257));
    let wide = format!("\"{}\"", "ü".repeat(129));
    let halves = format!("\"{}\"", "\\ud800".repeat(86));
    for reference in ["true", "[]", "{}", "[1]", &long, &wide, &halves] {
        let refusal = refusal(&format!(r#"{{"type":"nonsense","ref":{reference}}}"#));
        assert_eq!(refusal.code, ErrorCode::InvalidMessage, "{reference}");
        assert_eq!(refusal.reference, None);
    }
}

#[test]
fn a_channel_that_is_there_must_be_one_whatever_the_default() {
    let default = DefaultChannel::Named(lobby());
    for channel in [
        "null",
        "7",
        "[]",
        "{}",
        "true",
        "\"\"",
        "\"lobby\"",
        "\"presence:\"",
        "\"presence:\\u0000\"",
        "\"presence:\\u007f\"",
        "\"presence:\\ud800\"",
        "\"presence:\\udc00\\ud800\"",
        &format!("\"presence:{}\"", "x".repeat(201)),
    ] {
        for kind in ["subscribe", "unsubscribe", "presence_join", "presence_leave", "presence_sync"]
        {
            let text = format!(r#"{{"type":"{kind}","channel":{channel},"ref":1}}"#);
            let refusal = read_with(&default, &text).expect_err(&text);
            assert_eq!(refusal.code, ErrorCode::InvalidChannel, "{text}");
            assert_eq!(refusal.reference.unwrap().as_json(), "1");
            assert_eq!(refusal.channel, None);
        }
    }
}

#[test]
fn a_message_without_a_channel_is_about_the_default_one() {
    let text = r#"{"type":"subscribe"}"#;
    let named = read_with(&DefaultChannel::Named(lobby()), text).unwrap().message;
    assert_eq!(named, ClientMessage::Subscribe { channel: lobby(), mode: Mode::List });
    let missing = read_with(&DefaultChannel::None, text).unwrap_err();
    assert_eq!(missing.code, ErrorCode::InvalidChannel);
    let bad = DefaultChannel::from_query(Some("channel=lobby"));
    let invalid = read_with(&bad, text).unwrap_err();
    assert_eq!(invalid.code, ErrorCode::InvalidChannel);
    assert!(invalid.message.contains("presence:<name>"), "{}", invalid.message);
    let own = r#"{"type":"subscribe","channel":"presence:lobby"}"#;
    assert!(read_with(&bad, own).is_ok(), "a message that names its own does not rely on it");
}

#[test]
fn auth_and_ping_do_not_look_at_the_channel() {
    for kind in ["auth", "ping"] {
        assert!(read(&format!(r#"{{"type":"{kind}","channel":null}}"#)).is_ok());
    }
}

#[test]
fn a_token_that_is_missing_or_no_text_is_none() {
    let token = |text| match message(text) {
        ClientMessage::Auth { token, .. } => token,
        other => panic!("{other:?}"),
    };
    assert_eq!(token(r#"{"type":"auth","token":"a.b\u002ec"}"#).as_deref(), Some("a.b.c"));
    assert_eq!(token(r#"{"type":"auth","token":""}"#).as_deref(), Some(""));
    for text in [
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":null}"#,
        r#"{"type":"auth","token":1}"#,
        r#"{"type":"auth","token":["a"]}"#,
        r#"{"type":"auth","token":"\ud800"}"#,
    ] {
        assert_eq!(token(text), None, "{text}");
    }
}

#[test]
fn a_state_that_is_no_object_is_refused_and_the_channel_named() {
    for state in [r#""x":0"#, r#""state":null"#, r#""state":[]"#, r#""state":"{}""#, r#""state":1"#]
    {
        let text =
            format!(r#"{{"type":"presence_join","channel":"presence:lobby","ref":"r",{state}}}"#);
        let refusal = refusal(&text);
        assert_eq!(refusal.code, ErrorCode::InvalidState, "{state}");
        assert_eq!(refusal.channel, Some(lobby()));
        assert_eq!(refusal.reference.unwrap().as_json(), "\"r\"");
    }
}

// P4.2
#[test]
fn a_bad_channel_is_told_before_a_bad_state() {
    let text = r#"{"type":"presence_join","channel":"x","state":1}"#;
    assert_eq!(code(text), ErrorCode::InvalidChannel);
}

#[test]
fn a_state_has_at_most_1024_bytes_in_compact_form_however_it_was_written() {
    let track = |state: &str| {
        read(&format!(r#"{{"type":"presence_join","channel":"presence:lobby","state":{state}}}"#))
    };
    let of = |unit: &str, count: usize| format!("{{ \"a\" : \"{}\" }}", unit.repeat(count));
    let overhead = r#"{"a":""}"#.len();
    let room = 1024 - overhead;
    for (unit, bytes) in
        [("x", 1), ("\\u0078", 1), ("\\/", 1), ("\\n", 2), ("\\u000a", 2), ("\\u0000", 6)]
    {
        let fitting = room / bytes;
        assert!(track(&of(unit, fitting)).is_ok(), "{unit}");
        let refusal = track(&of(unit, fitting + 1)).expect_err(unit);
        assert_eq!(refusal.code, ErrorCode::StateTooLarge, "{unit}");
        assert_eq!(refusal.channel, Some(lobby()));
        let size = (overhead + (fitting + 1) * bytes).to_string();
        assert!(
            refusal.message.contains("1024") && refusal.message.contains(&size),
            "{}",
            refusal.message
        );
    }
    let last_wins = format!(r#"{{"a":"{}","a":1}}"#, "x".repeat(5000));
    assert!(track(&last_wins).is_ok());
    let numbers = format!(r#"{{"a":[{}1]}}"#, "1.0000000000,".repeat(400));
    assert!(track(&numbers).is_ok());
}

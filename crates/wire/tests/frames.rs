//! RFC 6455, the server's side: what is read, what is refused, and that it does not matter where
//! the reads cut.

use herenow_wire::CloseCode;
use herenow_wire::frame::{
    Chunk, CloseFrame, FrameError, Inbound, Opcode, Reader, write_close, write_header, write_ping,
    write_pong,
};
use proptest::prelude::*;

const MAX_BYTES: usize = 16 * 1024;

/// What was read, owned.
#[derive(Clone, PartialEq, Debug)]
enum Heard {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

impl Heard {
    fn from_inbound(inbound: Inbound<'_>) -> Self {
        match inbound {
            Inbound::Text(text) => Self::Text(text.to_owned()),
            Inbound::Fragment => panic!("a fragment is no message"),
            Inbound::Ping(payload) => Self::Ping(payload.to_vec()),
            Inbound::Pong => Self::Pong,
            Inbound::Close(close) => Self::Close(close.map(|CloseFrame { code }| code)),
        }
    }
}

/// Reads `stream` in pieces that end at `cuts`, up to the first fault.
fn hear(stream: &[u8], cuts: &[usize]) -> (Vec<Heard>, Option<FrameError>) {
    let mut reader = Reader::default();
    let mut heard = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let mut bytes = stream[start..end].to_vec();
        let mut chunk = Chunk::new(&mut bytes);
        loop {
            match reader.next(&mut chunk, MAX_BYTES) {
                Ok(Some(Inbound::Fragment)) => {}
                Ok(Some(inbound)) => heard.push(Heard::from_inbound(inbound)),
                Ok(None) => break,
                Err(error) => return (heard, Some(error)),
            }
        }
        assert!(chunk.rest().is_empty());
        start = end;
    }
    (heard, None)
}

fn read(stream: &[u8]) -> (Vec<Heard>, Option<FrameError>) {
    let whole = hear(stream, &[]);
    let bytewise: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(hear(stream, &bytewise), whole, "cut after every byte");
    whole
}

/// A client's frame as it is on the wire; `first` is its first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5a, 0x01, 0xff, 0x80];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn texts(texts: &[&str]) -> Vec<Heard> {
    texts.iter().map(|text| Heard::Text((*text).to_owned())).collect()
}

fn fault(stream: &[u8]) -> FrameError {
    let (heard, error) = read(stream);
    assert_eq!(heard, [], "nothing before the fault");
    error.expect("a fault")
}

fn close_number(stream: &[u8]) -> u16 {
    fault(stream).close_code().number()
}

#[test]
fn a_masked_text_of_any_length_is_read() {
    for length in [0, 1, 7, 8, 9, 125, 126, 127, 1000, MAX_BYTES] {
        let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
        assert_eq!(read(&masked(0x81, text.as_bytes())), (texts(&[&text]), None), "{length}");
    }
}

#[test]
fn several_frames_in_one_read_come_in_their_order() {
    let stream = [
        masked(0x81, b"a"),
        masked(0x89, b"p"),
        masked(0x8a, b""),
        masked(0x81, b"b"),
        masked(0x88, b""),
    ]
    .concat();
    let expected = [
        Heard::Text("a".into()),
        Heard::Ping(b"p".to_vec()),
        Heard::Pong,
        Heard::Text("b".into()),
        Heard::Close(None),
    ];
    assert_eq!(read(&stream), (expected.to_vec(), None));
}

// P2.7
#[test]
fn fragments_make_one_message_and_control_frames_may_come_between_them() {
    let stream = [
        masked(0x01, "\u{1f600}".as_bytes().split_at(2).0),
        masked(0x89, b"between"),
        masked(0x00, b""),
        masked(0x00, "\u{1f600}".as_bytes().split_at(2).1),
        masked(0x8a, b"x"),
        masked(0x80, b"!"),
        masked(0x81, b"next"),
    ]
    .concat();
    let expected = [
        Heard::Ping(b"between".to_vec()),
        Heard::Pong,
        Heard::Text("\u{1f600}!".into()),
        Heard::Text("next".into()),
    ];
    assert_eq!(read(&stream), (expected.to_vec(), None));
}

#[test]
fn a_client_that_does_not_mask_is_faulty() {
    assert_eq!(close_number(&[0x81, 0x00]), 1002);
    assert_eq!(close_number(&[0x89, 0x00]), 1002);
    assert_eq!(close_number(&[0x81, 0x7f]), 1002);
}

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc9, 0x80 | 0x40] {
        assert_eq!(close_number(&masked(first, b"")), 1002, "{first:x}");
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        assert_eq!(close_number(&masked(0x80 | opcode, b"")), 1002, "{opcode}");
    }
}

#[test]
fn binary_frames_are_refused_as_such() {
    assert_eq!(close_number(&masked(0x82, b"")), 1003);
    assert_eq!(close_number(&masked(0x02, b"x")), 1003);
}

#[test]
fn control_frames_are_whole_and_short() {
    for opcode in [0x8, 0x9, 0xa] {
        assert_eq!(close_number(&masked(opcode, b"")), 1002, "fragmented");
        assert_eq!(close_number(&masked(0x80 | opcode, &[b'x'; 126])), 1002, "long");
    }
    assert_eq!(read(&masked(0x89, &[b'x'; 125])).0, [Heard::Ping(vec![b'x'; 125])]);
}

#[test]
fn each_fragment_is_told_so_that_it_can_be_counted() {
    let mut stream = [masked(0x01, b"a"), masked(0x00, b""), masked(0x80, b"b")].concat();
    let mut reader = Reader::default();
    let mut chunk = Chunk::new(&mut stream);
    for expected in [Inbound::Fragment, Inbound::Fragment, Inbound::Text("ab")] {
        assert_eq!(reader.next(&mut chunk, MAX_BYTES), Ok(Some(expected)));
    }
    assert_eq!(reader.next(&mut chunk, MAX_BYTES), Ok(None));
}

// P2.7
#[test]
fn fragments_must_begin_continue_and_end_in_this_order() {
    assert_eq!(close_number(&masked(0x80, b"x")), 1002, "nothing to continue");
    assert_eq!(close_number(&masked(0x00, b"x")), 1002, "nothing to continue");
    assert_eq!(
        close_number(&[masked(0x01, b"a"), masked(0x81, b"b")].concat()),
        1002,
        "the first goes on"
    );
    let after_end = [masked(0x01, b"a"), masked(0x80, b"b"), masked(0x80, b"c")].concat();
    let (heard, error) = read(&after_end);
    assert_eq!(heard, texts(&["ab"]));
    assert_eq!(error.unwrap().close_code(), CloseCode::ProtocolError);
    let after_whole = [masked(0x81, b"a"), masked(0x80, b"b")].concat();
    assert_eq!(read(&after_whole).1.unwrap().close_code(), CloseCode::ProtocolError);
}

#[test]
fn a_length_is_written_in_its_shortest_form_and_without_the_highest_bit() {
    for length in [[0, 0], [0, 125]] {
        assert_eq!(close_number(&[&[0x81, 0xfe][..], &length, &[0; 4]].concat()), 1002);
    }
    for length in [0_u64, 125, 126, 0xffff, 1 << 63, u64::MAX] {
        assert_eq!(
            close_number(&[&[0x81, 0xff][..], &length.to_be_bytes()].concat()),
            1002,
            "{length}"
        );
    }
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    let header = |first: u8, length: u64| match length {
        ..=0xffff => [&[first, 0xfe][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, 0xff][..], &length.to_be_bytes()].concat(),
    };
    let over = MAX_BYTES as u64 + 1;
    for length in [over, 0x1_0000, u64::MAX >> 1] {
        assert_eq!(close_number(&header(0x81, length)), 1009, "{length}");
    }
    assert_eq!(read(&header(0x81, MAX_BYTES as u64)).1, None, "the rest may still come");
    let summed = [masked(0x01, &vec![b'x'; MAX_BYTES - 200]), header(0x80, 201)].concat();
    assert_eq!(close_number(&summed), 1009);
    let fits =
        [masked(0x01, &vec![b'x'; MAX_BYTES - 200]), masked(0x00, b""), masked(0x80, &[b'y'; 200])]
            .concat();
    assert_eq!(read(&fits).1, None);
    let full =
        [masked(0x01, &vec![b'x'; MAX_BYTES]), masked(0x89, b"ping"), masked(0x80, b"x")].concat();
    assert_eq!(read(&full), (vec![Heard::Ping(b"ping".to_vec())], Some(FrameError::TooBig)));
}

#[test]
fn texts_are_utf8_over_the_whole_message() {
    for bad in
        [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"abcdefgh\x80"]
    {
        assert_eq!(close_number(&masked(0x81, bad)), 1007, "{bad:?}");
    }
    assert_eq!(close_number(&[masked(0x01, b"\xc3"), masked(0x80, b"x")].concat()), 1007);
}

#[test]
fn a_close_carries_nothing_or_a_code_that_may_be_sent_and_a_readable_reason() {
    let close = |payload: &[u8]| masked(0x88, payload);
    let coded = |code: u16, reason: &[u8]| close(&[&code.to_be_bytes()[..], reason].concat());
    assert_eq!(read(&close(b"")).0, [Heard::Close(None)]);
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4001, 4999]
    {
        assert_eq!(
            read(&coded(code, "für immer".as_bytes())).0,
            [Heard::Close(Some(code))],
            "{code}"
        );
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(close_number(&coded(code, b"")), 1002, "{code}");
    }
    assert_eq!(close_number(&close(&[3])), 1002);
    assert_eq!(close_number(&coded(1000, b"\xff")), 1007);
}

#[test]
fn the_servers_frames_are_whole_and_unmasked() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    assert_eq!(written(&write_ping), [0x89, 0]);
    assert_eq!(written(&|out| write_pong(out, b"hi")), [0x8a, 2, b'h', b'i']);
    assert_eq!(written(&|out| write_close(out, CloseCode::Abuse, "")), [0x88, 2, 0x0f, 0xbd]);
    assert_eq!(written(&|out| write_header(out, Opcode::Text, 125)), [0x81, 125]);
    assert_eq!(written(&|out| write_header(out, Opcode::Text, 126)), [0x81, 126, 0, 126]);
    assert_eq!(written(&|out| write_header(out, Opcode::Text, 65_535)), [0x81, 126, 255, 255]);
    assert_eq!(
        written(&|out| write_header(out, Opcode::Text, 65_536)),
        [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
    );
}

#[test]
fn a_long_close_reason_is_cut_between_two_characters() {
    let mut out = Vec::new();
    write_close(&mut out, CloseCode::Restart, &"é".repeat(100));
    assert_eq!(out[..4], [0x88, 124, 0x03, 0xf4]);
    assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
}

/// A stretch of a client's stream that breaks no rule, and what it says.
fn any_messages() -> impl Strategy<Value = (Vec<u8>, Vec<Heard>)> {
    let control = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|payload| (masked(0x89, &payload), Heard::Ping(payload))),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|payload| (masked(0x8a, &payload), Heard::Pong)),
    ];
    let between = prop::collection::vec(control, 0..2);
    let message =
        (any::<String>(), 1..5_usize, between, prop_oneof![9 => 1..3_usize, 1 => 200..400_usize])
            .prop_map(|(text, fragments, controls, repeat)| {
                let text = text.repeat(repeat);
                let size = text.len().div_ceil(fragments).max(1);
                let mut parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                if parts.is_empty() {
                    parts.push(b"");
                }
                let last = parts.len() - 1;
                let mut stream = Vec::new();
                let mut heard = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    let opcode = u8::from(index == 0);
                    let fin = if index == last { 0x80 } else { 0 };
                    stream.extend(masked(opcode | fin, part));
                    if index == last {
                        heard.push(Heard::Text(text.clone()));
                    }
                    for (frame, said) in &controls {
                        stream.extend(frame);
                        heard.push(said.clone());
                    }
                }
                (stream, heard)
            });
    prop::collection::vec(message.prop_filter("fits", |(stream, _)| stream.len() < MAX_BYTES), 1..6)
        .prop_map(|messages| {
            let (streams, heard): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            (streams.concat(), heard.concat())
        })
}

fn sorted_cuts(places: &[prop::sample::Index], length: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = places.iter().map(|place| place.index(length + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_where_the_reads_cut(
        (stream, expected) in any_messages(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let cuts = sorted_cuts(&places, stream.len());
        prop_assert_eq!(hear(&stream, &cuts), (expected, None));
    }

    #[test]
    fn it_does_not_matter_where_the_reads_cut_a_faulty_stream_either(
        (mut stream, _) in any_messages(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let place = place.index(stream.len());
        stream[place] = byte;
        let cuts = sorted_cuts(&places, stream.len());
        prop_assert_eq!(hear(&stream, &cuts), hear(&stream, &[]));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(stream in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytewise: Vec<usize> = (1..stream.len()).collect();
        prop_assert_eq!(hear(&stream, &bytewise), hear(&stream, &[]));
    }
}

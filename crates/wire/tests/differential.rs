//! The framing beside another implementation of RFC 6455, in both directions.

use std::io::{self, Cursor, Read, Write};

use herenow_wire::CloseCode;
use herenow_wire::encode::{self, Reply};
use herenow_wire::frame::{
    Chunk, FrameError, Inbound, Reader, write_close, write_ping, write_pong,
};
use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

const MAX_BYTES: usize = 16 * 1024;

/// A socket whose peer has said all of `inbound` and nothing more.
struct Pipe {
    inbound: Cursor<Vec<u8>>,
    outbound: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.inbound.read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbound.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn socket(role: Role, inbound: Vec<u8>) -> WebSocket<Pipe> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_BYTES))
        .max_frame_size(Some(MAX_BYTES));
    WebSocket::from_raw_socket(
        Pipe { inbound: Cursor::new(inbound), outbound: Vec::new() },
        role,
        Some(limits),
    )
}

/// What was read, in the words of both.
#[derive(Clone, PartialEq, Debug)]
enum Heard {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

fn hear_ours(mut stream: Vec<u8>) -> (Vec<Heard>, Option<FrameError>) {
    let mut reader = Reader::default();
    let mut chunk = Chunk::new(&mut stream);
    let mut heard = Vec::new();
    loop {
        heard.push(match reader.next(&mut chunk, MAX_BYTES) {
            Ok(Some(Inbound::Text(text))) => Heard::Text(text.to_owned()),
            // Tungstenite tells whole messages alone.
            Ok(Some(Inbound::Fragment)) => continue,
            Ok(Some(Inbound::Ping(payload))) => Heard::Ping(payload.to_vec()),
            Ok(Some(Inbound::Pong)) => Heard::Pong,
            Ok(Some(Inbound::Close(close))) => {
                heard.push(Heard::Close(close.map(|close| close.code)));
                return (heard, None);
            }
            Ok(None) => return (heard, None),
            Err(error) => return (heard, Some(error)),
        });
    }
}

fn hear_theirs(role: Role, stream: Vec<u8>) -> (Vec<Heard>, Option<tungstenite::Error>) {
    let mut socket = socket(role, stream);
    let mut heard = Vec::new();
    loop {
        heard.push(match socket.read() {
            Ok(Message::Text(text)) => Heard::Text(text.as_str().to_owned()),
            Ok(Message::Ping(payload)) => Heard::Ping(payload.to_vec()),
            Ok(Message::Pong(_)) => Heard::Pong,
            Ok(Message::Close(close)) => {
                heard.push(Heard::Close(close.map(|close| close.code.into())));
                return (heard, None);
            }
            Ok(_) => Heard::Binary,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (heard, None);
            }
            Err(error) => return (heard, Some(error)),
        });
    }
}

/// What a client does next.
#[derive(Clone, Debug)]
enum Act {
    Text(String),
    Fragments(Vec<String>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn any_act() -> impl Strategy<Value = Act> {
    let payload = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        any::<String>().prop_map(Act::Text),
        ("[a-zé]{1,9}", 1..800_usize).prop_map(|(text, times)| Act::Text(text.repeat(times))),
        prop::collection::vec(any::<String>(), 2..6).prop_map(Act::Fragments),
        payload().prop_map(Act::Ping),
        payload().prop_map(Act::Pong),
    ]
}

fn any_acts() -> impl Strategy<Value = Vec<Act>> {
    let code = prop_oneof![1000..=1003_u16, 1007..=1013_u16, 3000..=4999_u16];
    let close = prop::option::of((code, "\\PC{0,30}")).prop_map(Act::Close);
    (prop::collection::vec(any_act(), 1..8), prop::option::of(close)).prop_map(
        |(mut acts, close)| {
            acts.extend(close);
            acts
        },
    )
}

/// The acts as the other implementation's client writes them, and what a server must hear.
fn written_by_them(acts: &[Act]) -> (Vec<u8>, Vec<Heard>) {
    let mut client = socket(Role::Client, Vec::new());
    let mut heard = Vec::new();
    for act in acts {
        match act {
            Act::Text(text) => {
                client.send(Message::text(text.as_str())).unwrap();
                heard.push(Heard::Text(text.clone()));
            }
            Act::Fragments(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    let data = if index == 0 { Data::Text } else { Data::Continue };
                    let is_last = index + 1 == parts.len();
                    let frame = Frame::message(part.clone(), OpCode::Data(data), is_last);
                    client.send(Message::Frame(frame)).unwrap();
                }
                heard.push(Heard::Text(parts.concat()));
            }
            Act::Ping(payload) => {
                client.send(Message::Ping(payload.clone().into())).unwrap();
                heard.push(Heard::Ping(payload.clone()));
            }
            Act::Pong(payload) => {
                client.send(Message::Pong(payload.clone().into())).unwrap();
                heard.push(Heard::Pong);
            }
            Act::Close(close) => {
                let frame = close.as_ref().map(|(code, reason)| CloseFrame {
                    code: TheirCode::from(*code),
                    reason: reason.as_str().into(),
                });
                client.close(frame).unwrap();
                heard.push(Heard::Close(close.as_ref().map(|(code, _)| *code)));
            }
        }
    }
    (client.get_ref().outbound.clone(), heard)
}

/// What we refuse by decision and they let pass: binary messages, and lengths that are longer
/// written than they need be.
fn is_stricter(error: FrameError) -> bool {
    error == FrameError::Binary || error.to_string().contains("shortest form")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_their_client_writes_we_read(acts in any_acts()) {
        let (stream, expected) = written_by_them(&acts);
        prop_assert_eq!(hear_ours(stream), (expected, None));
    }

    #[test]
    fn what_we_write_their_client_reads(
        messages in prop::collection::vec(("\\PC{0,40}", 1..50_usize), 0..5), payload in prop::collection::vec(any::<u8>(), 0..=125),
        code in prop::sample::select(CloseCode::ALL.to_vec()), reason in "\\PC{0,60}",
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (message, times) in messages {
            let message = message.repeat(times);
            let start = stream.len();
            encode::reply(&mut stream, &Reply::AuthError { message: message.into() }, None);
            let behind_header = stream[start..].windows(3).position(|bytes| bytes == b"{\"t");
            let text = stream[start + behind_header.expect("a message begins so")..].to_vec();
            expected.push(Heard::Text(String::from_utf8(text).expect("a message is text")));
            write_ping(&mut stream);
            expected.push(Heard::Ping(Vec::new()));
            write_pong(&mut stream, &payload);
            expected.push(Heard::Pong);
        }
        write_close(&mut stream, code, &reason);
        expected.push(Heard::Close(Some(code.number())));
        let (heard, error) = hear_theirs(Role::Client, stream);
        prop_assert_eq!(heard, expected);
        prop_assert!(error.is_none());
    }

    #[test]
    fn a_stream_with_one_byte_changed_means_the_same_to_both_or_we_are_the_stricter(
        acts in any_acts(), place in any::<prop::sample::Index>(), byte in any::<u8>(), in_front in any::<bool>(),
    ) {
        let (mut stream, _) = written_by_them(&acts);
        // Most bytes are payload: half of the changes go to the first header.
        let place = place.index(if in_front { stream.len().min(14) } else { stream.len() });
        stream[place] = byte;
        let (ours, our_error) = hear_ours(stream.clone());
        let (theirs, their_error) = hear_theirs(Role::Server, stream);
        if let Some(tungstenite::Error::Utf8(_)) = their_error {
            // They check each fragment, we the whole message: until it ends, only control frames come.
            let after = ours.strip_prefix(theirs.as_slice());
            let is_text = |heard: &Heard| matches!(heard, Heard::Text(_));
            prop_assert!(after.is_some_and(|after| !after.iter().any(is_text)), "{ours:?}, {theirs:?}");
            return Ok(());
        }
        match our_error {
            None => {
                prop_assert!(their_error.is_none(), "they refuse: {their_error:?}; we hear {ours:?}");
                // 1014 was registered after they drew up their list.
                let as_theirs = |heard| if heard == Heard::Close(Some(1014)) { Heard::Close(Some(1002)) } else { heard };
                let ours: Vec<Heard> = ours.into_iter().map(as_theirs).collect();
                prop_assert_eq!(ours, theirs);
            }
            Some(error) if is_stricter(error) => prop_assert!(theirs.starts_with(&ours)),
            // They tell their caller of such a close as of one with the code that they answer.
            Some(error) if error.to_string().contains("close code") => {
                prop_assert_eq!([ours, vec![Heard::Close(Some(1002))]].concat(), theirs);
            }
            // Where they wait for the rest of a frame that we refuse at its header, they hear no more.
            Some(error) => prop_assert_eq!(ours, theirs, "we refuse: {}; they: {:?}", error, their_error),
        }
    }
}

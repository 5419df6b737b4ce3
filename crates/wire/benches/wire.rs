//! What bytes cost: `cargo bench -p herenow-wire`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use herenow_wire::encode::{self, DeltaPosition, Member, Position};
use herenow_wire::frame::{Chunk, Reader};
use herenow_wire::{ChannelName, ConnectionId, DefaultChannel, State, User, UserId, decode};

const MAX_FRAME_BYTES: usize = 16 * 1024;
/// 200 bytes, as a cursor with a name takes them.
const TRACK: &str = concat!(
    r#"{"type":"presence_join","channel":"presence:bench-0001","state":"#,
    r#"{"name":"Member 000001","status":"online","cursor":{"x":"0007","y":"0013"},"#,
    r#""mode":"drawing","selection":"rectangle-100","n":"00000001"}}"#
);
const STATE: &str = concat!(
    r#"{"name":"Member 000001","status":"online","cursor":{"x":"0007","y":"0013"},"#,
    r#""mode":"drawing","m":"000001","n":"00000001"}"#
);

const _: () = assert!(TRACK.len() == 200);

fn main() {
    divan::main();
}

/// The text of a track to a message whose parts are valid.
#[divan::bench]
fn decode_track(bencher: Bencher) {
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_str(TRACK)).bench_local(|| {
        out.clear();
        decode(black_box(TRACK), &DefaultChannel::None, &mut out);
    });
    assert!(matches!(out.as_slice(), [Ok(_)]), "what is measured is the good case");
}

/// Text that is refused, which must not cost more than what is accepted.
#[divan::bench]
fn decode_nonsense(bencher: Bencher) {
    let text = "[".repeat(TRACK.len());
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_str(&text)).bench_local(|| {
        out.clear();
        decode(black_box(&text), &DefaultChannel::None, &mut out);
    });
}

/// The changes of one flush.
#[divan::bench(args = [1, 32, 100])]
fn encode_updates(bencher: Bencher, updates: u64) {
    let parts = Parts::new();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(updates)).bench_local(|| {
        out.clear();
        for seq in 0..updates {
            let at = DeltaPosition::of_seq(black_box(seq));
            encode::update(&mut out, &parts.channel, at, parts.member());
        }
    });
}

/// A snapshot.
#[divan::bench(args = [10, 1000])]
fn encode_sync(bencher: Bencher, rows: usize) {
    let parts = Parts::new();
    let mut out = Vec::new();
    let position = Position { epoch: 1_875_000_000_000_000, seq: 41 };
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        out.clear();
        encode::sync(&mut out, &parts.channel, position, (0..rows).map(|_| parts.member()));
    });
}

/// What one read from a socket held, unmasked and cut into frames.
#[divan::bench(args = [1, 16])]
fn read_frames(bencher: Bencher, frames: usize) {
    let bytes = masked(TRACK.as_bytes()).repeat(frames);
    bencher
        .counter(BytesCount::new(bytes.len()))
        // Frames are unmasked where they stand, so each time takes a fresh copy.
        .with_inputs(|| bytes.clone())
        .bench_local_refs(|bytes| {
            let mut reader = Reader::default();
            let mut chunk = Chunk::new(bytes);
            let mut read = 0;
            while let Some(inbound) =
                reader.next(&mut chunk, MAX_FRAME_BYTES).expect("the frames are valid")
            {
                black_box(&inbound);
                read += 1;
            }
            assert_eq!(read, frames);
        });
}

/// A client's text frame whose payload needs two bytes of length.
fn masked(payload: &[u8]) -> Vec<u8> {
    const FIN_TEXT: u8 = 0x81;
    const MASKED_16_BIT_LENGTH: u8 = 0x80 | 126;
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u16::try_from(payload.len()).expect("a short payload");
    let mut frame = vec![FIN_TEXT, MASKED_16_BIT_LENGTH];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// What a change is made of.
struct Parts {
    channel: ChannelName,
    user: User,
    state: State,
    connection: ConnectionId,
}

impl Parts {
    fn new() -> Self {
        Self {
            channel: ChannelName::parse("presence:bench-0001").expect("a valid channel"),
            user: UserId::parse("u000001").expect("a valid user").into(),
            state: State::parse(STATE).expect("a valid state"),
            connection: ConnectionId::from_bytes([0xA5; 16]),
        }
    }

    fn member(&self) -> Member<'_> {
        Member { user: &self.user, connection: self.connection, state: &self.state }
    }
}

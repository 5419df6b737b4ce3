//! What a server's bytes say, as far as a measurement needs it.
//!
//! Knows where the bench's own states carry their member and number, and finds both
//! without parsing JSON: the driver must stay far cheaper than the server. A snapshot
//! is read row by row as it arrives, because thousands of half-read ones would not fit
//! into memory. Refuses to judge: whether a roster is true is the view's to say.

use crate::frames::{self, Head};

/// `"m":"000012","n":"00000345"`: how every state of the bench ends.
const MARK: &[u8] = b"\"m\":\"";
const MEMBER_DIGITS: usize = 6;
const NUMBER_DIGITS: usize = 8;
const MEMBER_AT: usize = MARK.len();
const NUMBER_AT: usize = MEMBER_AT + MEMBER_DIGITS + "\",\"n\":\"".len();
/// From the mark to the last digit.
const MARK_BYTES: usize = NUMBER_AT + NUMBER_DIGITS;
/// What follows the mark in a delta: `"}}`.
const TAIL_BYTES: usize = 3;

const TYPE: &[u8] = b"{\"type\":\"";
const SNAPSHOT: &[u8] = b"{\"type\":\"presence_sync\"";

/// A member's number of an update, as found in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The connection of the driver that tracks the state.
    pub member: usize,
    /// How many states this member had sent before and with it.
    pub number: u32,
}

/// What one frame, or one row of a snapshot, says.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Opened,
    Authenticated,
    Joined(Mark),
    Updated(Mark),
    Left {
        member: usize,
    },
    /// How many connections are in a channel.
    Counted {
        connections: u32,
    },
    SnapshotBegins,
    Row(Mark),
    SnapshotEnds,
    Pong,
    Ping(&'a [u8]),
    Error(&'a [u8]),
    Other,
    Closed,
}

/// The bytes were not what a server of this protocol sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

/// Where the reading of one connection stands.
#[derive(Default)]
pub struct Inbound {
    is_upgraded: bool,
    snapshot_left_bytes: usize,
}

impl Inbound {
    /// Reads what can be read and says how many bytes that was; the rest comes again,
    /// in front of what arrives next.
    pub fn read(&mut self, bytes: &[u8], on: &mut impl FnMut(Event)) -> Result<usize, Broken> {
        let mut at = 0;
        if !self.is_upgraded {
            let Some(end) = frames::end_of_http_head(bytes) else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 101 ") {
                return Err(Broken);
            }
            self.is_upgraded = true;
            on(Event::Opened);
            at = end;
        }
        loop {
            if self.snapshot_left_bytes > 0 {
                at += self.read_rows(&bytes[at..], on);
                if self.snapshot_left_bytes > 0 {
                    return Ok(at);
                }
            }
            let (opcode, head_bytes, payload_bytes) = match frames::head(&bytes[at..]) {
                Head::Incomplete => return Ok(at),
                Head::Frame { opcode, head_bytes, payload_bytes, mask: None } => {
                    (opcode, head_bytes, payload_bytes)
                }
                Head::Broken | Head::Frame { .. } => return Err(Broken),
            };
            let rest = &bytes[at + head_bytes..];
            if opcode == frames::TEXT && rest.starts_with(SNAPSHOT) {
                on(Event::SnapshotBegins);
                self.snapshot_left_bytes = payload_bytes;
                at += head_bytes;
            } else if rest.len() >= payload_bytes {
                on(event(opcode, &rest[..payload_bytes])?);
                at += head_bytes + payload_bytes;
            } else {
                return Ok(at);
            }
        }
    }

    /// Reads the whole rows of the snapshot that `bytes` go on with.
    fn read_rows(&mut self, bytes: &[u8], on: &mut impl FnMut(Event)) -> usize {
        let is_whole = bytes.len() >= self.snapshot_left_bytes;
        let bytes = &bytes[..bytes.len().min(self.snapshot_left_bytes)];
        let mut read = 0;
        let mut row_bytes = 0;
        while let Some(at) = next_mark(bytes, read, row_bytes) {
            let Some(mark) = mark_at(bytes, at) else { break };
            on(Event::Row(mark));
            let end = at + MARK_BYTES;
            row_bytes = end - read;
            read = end;
        }
        let read = if is_whole {
            on(Event::SnapshotEnds);
            bytes.len()
        } else {
            // A mark may be cut anywhere, so what could be its beginning stays.
            read.max(bytes.len().saturating_sub(MARK_BYTES - 1))
        };
        self.snapshot_left_bytes -= read;
        read
    }
}

/// The next mark after `read`. Rows are of one length nearly always, so it is looked for
/// where the last row's length says before anything is searched.
fn next_mark(bytes: &[u8], read: usize, row_bytes: usize) -> Option<usize> {
    if row_bytes >= MARK_BYTES {
        let guess = read + row_bytes - MARK_BYTES;
        if bytes.get(guess..guess + MARK.len()) == Some(MARK) {
            return Some(guess);
        }
    }
    memchr::memmem::find(&bytes[read..], MARK).map(|at| read + at)
}

fn event(opcode: u8, payload: &[u8]) -> Result<Event<'_>, Broken> {
    match opcode {
        frames::TEXT => text_event(payload),
        frames::PING => Ok(Event::Ping(payload)),
        frames::PONG => Ok(Event::Other),
        frames::CLOSE => Ok(Event::Closed),
        _ => Err(Broken),
    }
}

fn text_event(payload: &[u8]) -> Result<Event<'_>, Broken> {
    let kind = payload.strip_prefix(TYPE).ok_or(Broken)?;
    if let Some(rest) = kind.strip_prefix(b"presence_") {
        return match rest.first() {
            Some(b'u') => Ok(Event::Updated(delta_mark(payload).ok_or(Broken)?)),
            Some(b'j') => Ok(Event::Joined(delta_mark(payload).ok_or(Broken)?)),
            Some(b'l') => Ok(Event::Left { member: leaving_member(payload).ok_or(Broken)? }),
            Some(b'c') => Ok(Event::Counted { connections: counted(payload).ok_or(Broken)? }),
            _ => Err(Broken),
        };
    }
    if kind.starts_with(b"auth_success\"") {
        return Ok(Event::Authenticated);
    }
    if kind.starts_with(b"pong\"") {
        return Ok(Event::Pong);
    }
    if kind.starts_with(b"error\"") || kind.starts_with(b"auth_error\"") {
        return Ok(Event::Error(payload));
    }
    Ok(Event::Other)
}

/// A delta ends with the state, so its mark stands at a known distance from the end;
/// where another server orders its fields differently the mark is searched.
fn delta_mark(payload: &[u8]) -> Option<Mark> {
    if let Some(at) = payload.len().checked_sub(MARK_BYTES + TAIL_BYTES)
        && payload[at..].starts_with(MARK)
    {
        return mark_at(payload, at);
    }
    mark_at(payload, memchr::memmem::find(payload, MARK)?)
}

fn mark_at(bytes: &[u8], at: usize) -> Option<Mark> {
    let mark = bytes.get(at..at + MARK_BYTES)?;
    Some(Mark {
        member: digits(&mark[MEMBER_AT..MEMBER_AT + MEMBER_DIGITS])? as usize,
        number: digits(&mark[NUMBER_AT..])?,
    })
}

/// A leave carries no state; the user's id names the member.
fn leaving_member(payload: &[u8]) -> Option<usize> {
    const USER: &[u8] = b"\"userId\":\"u";
    let at = memchr::memmem::find(payload, USER)? + USER.len();
    digits(payload.get(at..at + MEMBER_DIGITS)?).map(|member| member as usize)
}

/// A count ends with the number of connections.
fn counted(payload: &[u8]) -> Option<u32> {
    const CONNECTIONS: &[u8] = b"\"connections\":";
    let at = memchr::memmem::find(payload, CONNECTIONS)? + CONNECTIONS.len();
    digits(payload[at..].strip_suffix(b"}")?)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |value, byte| {
        byte.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(event: &Event) -> String {
        format!("{event:?}")
    }

    fn row(member: usize, number: u32) -> String {
        format!(
            r#"{{"userId":"u{member:06}","connectionId":"AAAA","state":{{"x":1,"m":"{member:06}","n":"{number:08}"}}}}"#
        )
    }

    fn stream() -> Vec<u8> {
        let mut bytes = frames::upgrade_response().into_bytes();
        let rows: Vec<String> = (0..40).map(|member| row(member, member as u32 + 7)).collect();
        for text in [
            r#"{"type":"auth_success","userId":"u000001","connectionId":"AAAA"}"#.to_owned(),
            format!(
                r#"{{"type":"presence_sync","channel":"presence:c","epoch":1,"seq":1,"presences":[{}]}}"#,
                rows.join(",")
            ),
            format!(
                r#"{{"type":"presence_join","channel":"presence:c","seq":2,{}"#,
                &row(41, 1)[1..]
            ),
            format!(r#"{{"type":"presence_update","seq":3,{}"#, &row(41, 2)[1..]),
            r#"{"type":"presence_leave","seq":4,"userId":"u000041","reason":"leave"}"#.to_owned(),
            r#"{"type":"presence_count","channel":"presence:c","epoch":1,"seq":4,"users":39,"connections":40}"#
                .to_owned(),
            r#"{"type":"pong"}"#.to_owned(),
        ] {
            frames::push_unmasked(&mut bytes, frames::TEXT, text.as_bytes());
        }
        bytes
    }

    fn read_in_pieces(piece_bytes: usize) -> Vec<String> {
        let (mut inbound, mut events, mut carry) = (Inbound::default(), Vec::new(), Vec::new());
        for piece in stream().chunks(piece_bytes) {
            carry.extend_from_slice(piece);
            let read = inbound.read(&carry, &mut |event| events.push(owned(&event)));
            carry.drain(..read.expect("the stream is well formed"));
        }
        assert!(carry.is_empty());
        events
    }

    #[test]
    fn a_stream_says_the_same_however_it_is_cut() {
        let whole = read_in_pieces(usize::MAX);
        assert_eq!(whole.len(), 2 + 42 + 5);
        assert_eq!(whole[3], owned(&Event::Row(Mark { member: 0, number: 7 })));
        assert_eq!(whole[44], owned(&Event::Joined(Mark { member: 41, number: 1 })));
        assert_eq!(whole[46], owned(&Event::Left { member: 41 }));
        assert_eq!(whole[47], owned(&Event::Counted { connections: 40 }));
        for piece_bytes in 1..300 {
            assert_eq!(read_in_pieces(piece_bytes), whole, "pieces of {piece_bytes}");
        }
    }

    #[test]
    fn a_refused_upgrade_is_no_stream() {
        let read = Inbound::default().read(b"HTTP/1.1 503 Busy\r\n\r\n", &mut |_| {});
        assert_eq!(read, Err(Broken));
    }
}

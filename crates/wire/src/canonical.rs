//! Writes JSON in the one compact form that the server counts, compares and sends.
//!
//! The form is what `JSON.stringify` gives for what `JSON.parse` read, except that keys keep the
//! order in which they first came, whole numbers among them too. It is fed by the reader, so it
//! knows that what it is told is valid.

use crate::json::{Number, Sink};
use crate::text::{Piece, Text, plain_prefix};

/// A sink that writes what it is told.
pub(crate) struct Canonical {
    out: String,
    /// The members of all objects that are open, outermost first.
    members: Vec<Member>,
}

/// Where one member lies in the output. Offsets fit: a message is far shorter than 4 GiB.
#[derive(Clone, Copy)]
struct Member {
    start: u32,
    value: u32,
    end: u32,
}

impl Canonical {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes), members: Vec::with_capacity(FEW_MEMBERS) }
    }

    pub(crate) fn into_string(self) -> String {
        self.out
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.out.len()).expect("a message is far shorter than 4 GiB")
    }

    fn key_of(&self, member: &Member) -> &str {
        &self.out[member.start as usize..member.value as usize]
    }

    fn has_repeated_key(&self, members: &[Member]) -> bool {
        if members.len() <= FEW_MEMBERS {
            let is_repeated = |(index, member): (usize, &Member)| {
                members[..index].iter().any(|earlier| self.key_of(earlier) == self.key_of(member))
            };
            return members.iter().enumerate().any(is_repeated);
        }
        let mut keys: Vec<&str> = members.iter().map(|member| self.key_of(member)).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Keeps of equal keys the place of the first and the value of the last.
    fn drop_repeated_keys(&mut self, mark: usize) {
        let members = &self.members[mark..];
        let mut by_key: Vec<usize> = (0..members.len()).collect();
        by_key.sort_by_key(|&index| self.key_of(&members[index])); // Stable: equal keys stay in order.
        let mut last_of_first: Vec<Option<usize>> = vec![None; members.len()];
        for same in by_key.chunk_by(|&a, &b| self.key_of(&members[a]) == self.key_of(&members[b])) {
            last_of_first[same[0]] = same.last().copied();
        }
        let start = members[0].start as usize;
        let mut kept = String::with_capacity(self.out.len() - start);
        for (first, last) in last_of_first.iter().enumerate() {
            if let Some(last) = *last {
                kept.push_str(self.key_of(&members[first]));
                kept.push_str(&self.out[members[last].value as usize..members[last].end as usize]);
            }
        }
        self.out.truncate(start);
        self.out.push_str(&kept);
    }

    /// Puts the closing bracket where the last comma stands.
    fn close(&mut self, bracket: char) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(bracket);
    }
}

impl Sink for Canonical {
    fn literal(&mut self, json: &'static str) {
        self.out.push_str(json);
    }

    fn number(&mut self, number: Number<'_>) {
        push_number(&mut self.out, number);
    }

    fn text(&mut self, text: Text<'_>) {
        push_text(&mut self.out, text);
    }

    fn open_array(&mut self) {
        self.out.push('[');
    }

    fn end_element(&mut self) {
        self.out.push(',');
    }

    fn close_array(&mut self) {
        self.close(']');
    }

    fn open_object(&mut self) -> usize {
        self.out.push('{');
        self.members.len()
    }

    fn key(&mut self, key: Text<'_>) {
        let start = self.offset();
        push_text(&mut self.out, key);
        self.out.push(':');
        let value = self.offset();
        self.members.push(Member { start, value, end: value });
    }

    fn end_member(&mut self) {
        self.out.push(',');
        let end = self.offset();
        self.members.last_mut().expect("a member ends after its key").end = end;
    }

    fn close_object(&mut self, mark: usize) {
        if self.has_repeated_key(&self.members[mark..]) {
            self.drop_repeated_keys(mark);
        }
        self.members.truncate(mark);
        self.close('}');
    }
}

/// As ECMAScript prints its double.
pub(crate) fn push_number(out: &mut String, number: Number<'_>) {
    match number.to_print {
        None => out.push_str(number.json),
        Some(value) => out.push_str(ryu_js::Buffer::new().format_finite(value)),
    }
}

/// With its quotes, and with only those escapes that JSON asks for.
pub(crate) fn push_text(out: &mut String, text: Text<'_>) {
    out.push('"');
    if text.is_escaped {
        push_pieces(out, text);
    } else {
        out.push_str(text.raw);
    }
    out.push('"');
}

/// The contents of a JSON string that says `text`.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match short_escape(byte) {
            Some(letter) => out.extend_from_slice(&[b'\\', letter]),
            None => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = after;
    }
}

fn push_pieces(out: &mut String, text: Text<'_>) {
    for piece in text.pieces() {
        match piece {
            Piece::Plain(plain) => out.push_str(plain),
            Piece::LoneSurrogate(unit) => push_unicode_escape(out, unit),
            Piece::Character(character) => match u8::try_from(character) {
                Ok(byte) if plain_prefix(&[byte]) == 0 => match short_escape(byte) {
                    Some(letter) => out.extend(['\\', char::from(letter)]),
                    None => push_unicode_escape(out, u16::from(byte)),
                },
                _ => out.push(character),
            },
        }
    }
}

fn push_unicode_escape(out: &mut String, unit: u16) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(HEX[usize::from(unit >> shift & 15)]));
    }
}

/// The letter of a two-character escape, where there is one.
fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Up to this many members are compared in pairs; beyond it pairs would cost a hostile message
/// more than sorting does.
const FEW_MEMBERS: usize = 16;

//! JSON strings: what one says, told piece by piece from the slice it was read from.
//!
//! Relies on the reader for valid escapes. Lone surrogates are valid JSON and no text, so they are
//! pieces of their own.

use std::borrow::Cow;

/// A JSON string whose escapes have been checked and not yet read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// What stands between the quotes.
    pub(crate) raw: &'a str,
    pub(crate) is_escaped: bool,
}

/// A stretch of a [`Text`].
pub(crate) enum Piece<'a> {
    Plain(&'a str),
    Character(char),
    /// Half of a surrogate pair: it can be written in JSON and is no character.
    LoneSurrogate(u16),
}

impl<'a> Text<'a> {
    /// What the string says; `None` where lone surrogates keep it from being text.
    pub(crate) fn decode(self) -> Option<Cow<'a, str>> {
        if !self.is_escaped {
            return Some(Cow::Borrowed(self.raw));
        }
        let mut decoded = String::with_capacity(self.raw.len());
        for piece in self.pieces() {
            match piece {
                Piece::Plain(plain) => decoded.push_str(plain),
                Piece::Character(character) => decoded.push(character),
                Piece::LoneSurrogate(_) => return None,
            }
        }
        Some(Cow::Owned(decoded))
    }

    pub(crate) fn pieces(self) -> Pieces<'a> {
        Pieces { rest: self.raw }
    }
}

pub(crate) struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let escape = self.rest.find('\\').unwrap_or(self.rest.len());
        if escape > 0 {
            return Some(Piece::Plain(self.skip(escape)));
        }
        let &kind = self.rest.as_bytes().get(1)?;
        if kind == b'u' {
            return Some(self.unicode_escape());
        }
        self.skip(2);
        Some(Piece::Character(match kind {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            itself => char::from(itself),
        }))
    }
}

impl<'a> Pieces<'a> {
    fn unicode_escape(&mut self) -> Piece<'a> {
        let unit = code_unit(self.skip(6));
        let pair = match (unit, self.rest.get(..6)) {
            (0xd800..=0xdbff, Some(next)) if next.starts_with("\\u") => [unit, code_unit(next)],
            _ => [unit, 0],
        };
        let mut characters = char::decode_utf16(pair);
        match characters.next().expect("two units decode to something") {
            Ok(character) => {
                if character.len_utf16() == 2 {
                    self.skip(6);
                }
                Piece::Character(character)
            }
            Err(_) => Piece::LoneSurrogate(unit),
        }
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        skipped
    }
}

/// Of an escape `\uXXXX`.
fn code_unit(escape: &str) -> u16 {
    u16::from_str_radix(&escape[2..6], 16).expect("the reader has checked the four hex digits")
}

/// How many bytes from the start stand in a JSON string as they are: no quote, no backslash, no
/// control character.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        // A borrow can mark a byte falsely, but only above one that is marked rightly.
        let special = controls | quotes | backslashes;
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    bytes.len() - tail.len() + tail.iter().take_while(is_plain).count()
}

//! A strict reader of RFC 8259 that walks a text once and tells a sink what it passes.
//!
//! Knows what is JSON and how deep it may nest. It builds no tree: a caller that wants a value keeps
//! it as the slice it was read from. It knows no field names.

use std::fmt;

use crate::text::{Text, plain_prefix};

/// How deep arrays and objects may nest, the message itself included. Bounds the reader's stack.
pub(crate) const MAX_DEPTH: u8 = 32;

/// Why a text is not taken as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JsonError {
    /// The text breaks the grammar of RFC 8259.
    Syntax,
    /// The text nests deeper than 32 arrays and objects.
    TooDeep,
    /// A number is beyond what a double can hold.
    NumberOutOfRange,
}

impl JsonError {
    /// What is wrong, as a sentence for the peer.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Syntax => "the message is not valid JSON",
            Self::TooDeep => "the JSON nests deeper than 32 levels",
            Self::NumberOutOfRange => "the JSON contains a number beyond the range of a double",
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for JsonError {}

/// What a value turned out to be. What lies inside an array or an object went to the sink.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(Text<'a>),
    Number(Number<'a>),
    Object,
    Array,
    Boolean,
    Null,
}

/// Told the parts of a value as the reader passes them.
pub(crate) trait Sink {
    fn literal(&mut self, json: &'static str);
    fn number(&mut self, number: Number<'_>);
    fn text(&mut self, text: Text<'_>);
    fn open_array(&mut self);
    fn end_element(&mut self);
    fn close_array(&mut self);
    /// Returns a mark that comes back with [`Sink::close_object`].
    fn open_object(&mut self) -> usize;
    fn key(&mut self, key: Text<'_>);
    fn end_member(&mut self);
    fn close_object(&mut self, mark: usize);
}

/// Passes over a value and keeps nothing of it.
pub(crate) struct Skip;

impl Sink for Skip {
    fn literal(&mut self, _: &'static str) {}
    fn number(&mut self, _: Number<'_>) {}
    fn text(&mut self, _: Text<'_>) {}
    fn open_array(&mut self) {}
    fn end_element(&mut self) {}
    fn close_array(&mut self) {}
    fn open_object(&mut self) -> usize {
        0
    }
    fn key(&mut self, _: Text<'_>) {}
    fn end_member(&mut self) {}
    fn close_object(&mut self, _: usize) {}
}

/// A number as it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) json: &'a str,
    /// Its value, where a double of this value may print otherwise than it was written.
    pub(crate) to_print: Option<f64>,
}

pub(crate) struct Reader<'a> {
    json: &'a str,
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self { json, at: 0, depth: 0 }
    }

    /// Whether the next thing is an object.
    pub(crate) fn is_at_object(&mut self) -> bool {
        self.skip_blanks();
        self.peek() == Some(b'{')
    }

    /// How much of the text is still to be read.
    pub(crate) fn remaining_bytes(&self) -> usize {
        self.json.len() - self.at
    }

    pub(crate) fn value<S: Sink>(&mut self, sink: &mut S) -> Result<Value<'a>, JsonError> {
        self.skip_blanks();
        match self.peek().ok_or(JsonError::Syntax)? {
            b'{' => {
                let mark = sink.open_object();
                self.members(|reader, key| {
                    sink.key(key);
                    reader.value(sink)?;
                    sink.end_member();
                    Ok(())
                })?;
                sink.close_object(mark);
                Ok(Value::Object)
            }
            b'[' => self.array(sink),
            b'"' => {
                let text = self.text()?;
                sink.text(text);
                Ok(Value::Text(text))
            }
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                sink.number(number);
                Ok(Value::Number(number))
            }
            b't' => self.literal("true", Value::Boolean, sink),
            b'f' => self.literal("false", Value::Boolean, sink),
            b'n' => self.literal("null", Value::Null, sink),
            _ => Err(JsonError::Syntax),
        }
    }

    /// Reads an object; `member` is called after each key and its colon and must read the value.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.skip_blanks();
        self.expect(b'{')?;
        self.descend()?;
        self.skip_blanks();
        if !self.take(b'}') {
            loop {
                self.skip_blanks();
                let key = self.text()?;
                self.skip_blanks();
                self.expect(b':')?;
                member(self, key)?;
                self.skip_blanks();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Whether an array comes next.
    pub(crate) fn is_at_array(&mut self) -> bool {
        self.skip_blanks();
        self.peek() == Some(b'[')
    }

    /// Reads an array; `element` is called for each element and must read it.
    pub(crate) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.descend()?;
        self.skip_blanks();
        if !self.take(b']') {
            loop {
                element(self)?;
                self.skip_blanks();
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Only blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.at == self.json.len() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn array<S: Sink>(&mut self, sink: &mut S) -> Result<Value<'a>, JsonError> {
        self.expect(b'[')?;
        self.descend()?;
        sink.open_array();
        self.skip_blanks();
        if !self.take(b']') {
            loop {
                self.value(sink)?;
                sink.end_element();
                self.skip_blanks();
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        sink.close_array();
        self.depth -= 1;
        Ok(Value::Array)
    }

    fn literal<S: Sink>(
        &mut self,
        word: &'static str,
        value: Value<'a>,
        sink: &mut S,
    ) -> Result<Value<'a>, JsonError> {
        if !self.json.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        sink.literal(word);
        Ok(value)
    }

    fn text(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"')?;
        let bytes = self.json.as_bytes();
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at += plain_prefix(&bytes[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return Err(JsonError::Syntax),
            }
        }
        let raw = &self.json[start..self.at];
        self.at += 1;
        Ok(Text { raw, is_escaped })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let escape = &self.json.as_bytes()[self.at..];
        let bytes = match escape.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if escape.len() >= 6 && escape[2..6].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(JsonError::Syntax),
        };
        self.at += bytes;
        Ok(())
    }

    fn number(&mut self) -> Result<Number<'a>, JsonError> {
        let start = self.at;
        let is_negative = self.take(b'-');
        let starts_with_zero = self.peek() == Some(b'0');
        let integer_digits = self.digits()?;
        if starts_with_zero && integer_digits > 1 {
            return Err(JsonError::Syntax);
        }
        let fraction_digits = if self.take(b'.') { self.digits()? } else { 0 };
        let plain = &self.json[start..self.at];
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        let json = &self.json[start..self.at];
        // No two decimals of up to 15 digits are the same double, so such a one is the shortest
        // that reads as its double and prints as itself, unless it has zeros to drop or is so
        // small that it prints with an exponent.
        let fraction = &plain[plain.len() - fraction_digits..];
        let prints_otherwise = match fraction_digits {
            0 => is_negative && starts_with_zero,
            _ => fraction.ends_with('0') || starts_with_zero && fraction.starts_with("000000"),
        };
        let is_plain = plain.len() == json.len();
        if is_plain && integer_digits + fraction_digits <= EXACT_DIGITS && !prints_otherwise {
            return Ok(Number { json, to_print: None });
        }
        let value: f64 = json.parse().expect("a JSON number is in the grammar of f64");
        if value.is_infinite() {
            return Err(JsonError::NumberOutOfRange);
        }
        Ok(Number { json, to_print: Some(value) })
    }

    fn digits(&mut self) -> Result<usize, JsonError> {
        let rest = &self.json.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(JsonError::Syntax) } else { Ok(count) }
    }

    fn descend(&mut self) -> Result<(), JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.depth += 1;
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }
}

/// How many decimal digits every double tells apart.
const EXACT_DIGITS: usize = 15;

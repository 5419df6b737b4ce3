//! Integers that JavaScript cannot hold, written as text before a rule sees them. Knows where a
//! number stands in JSON; the text has been parsed before, so it is well-formed.

use std::borrow::Cow;

/// The largest integer that JavaScript tells from its neighbours, 2^53 - 1.
const MAX_SAFE: &str = "9007199254740991";

/// The same JSON, in which each integer beyond 2^53 - 1 or below its negative is a string of its
/// digits. A rule would see another number than the token holds, and ids are such numbers.
pub fn quote_large_numbers(json: &str) -> Cow<'_, str> {
    let mut quoted = String::new();
    let mut copied = 0;
    let mut at = 0;
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let end = match byte {
            b'"' => end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => end_of_number(bytes, at),
            _ => at + 1,
        };
        if is_large(&json[at..end]) {
            quoted.push_str(&json[copied..at]);
            quoted.push('"');
            quoted.push_str(&json[at..end]);
            quoted.push('"');
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    quoted.push_str(&json[copied..]);
    Cow::Owned(quoted)
}

/// Whether a part of JSON is such an integer. A fraction or an exponent says that the exact digits
/// do not matter.
fn is_large(part: &str) -> bool {
    let digits = part.strip_prefix('-').unwrap_or(part);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer && (digits.len(), digits) > (MAX_SAFE.len(), MAX_SAFE)
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    start + bytes[start..].iter().take_while(|byte| is_part(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_javascript_would_round_become_text_and_all_else_stays() {
        for (json, expected) in [
            ("9007199254740991", "9007199254740991"),
            ("9007199254740992", "\"9007199254740992\""),
            ("-9007199254740992", "\"-9007199254740992\""),
            ("[123456789012345678901234567890]", "[\"123456789012345678901234567890\"]"),
            ("{\"a\":18446744073709551615,\"b\":1}", "{\"a\":\"18446744073709551615\",\"b\":1}"),
            ("1e300", "1e300"),
            ("90071992547409920.5", "90071992547409920.5"),
            (r#"{"9007199254740993":"90071992547409930 \" 90071992547409930"}"#, ""),
            (r#"["\\",9007199254740993]"#, r#"["\\","9007199254740993"]"#),
            ("[true, null, \"é\", 0]", ""),
        ] {
            let expected = if expected.is_empty() { json } else { expected };
            assert_eq!(quote_large_numbers(json), expected);
        }
    }
}

//! The credential in `Authorization: Bearer`, whatever it opens.

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// What a request shows, if it shows anything.
pub(super) fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, shown) = shown.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| shown.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

//! The target of a request before a handler is chosen: everything in it has to be text.

use std::borrow::Cow;

use axum::extract::Request;
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;

use super::BASE;
use super::problem::Problem;

/// Refuses a target that is not well-formed. Libraries below would replace what is wrong by
/// something else, and so read another channel than the one that was meant.
pub(super) fn check(request: &mut Request) -> Result<(), Problem> {
    let uri = request.uri();
    if !is_text(uri.path()) {
        return Err(Problem::parameter(
            "The path should be percent-encoded UTF-8: write / as %2F and % as %25.",
        ));
    }
    if !uri.query().is_none_or(is_text) {
        return Err(Problem::parameter(
            "The query should be percent-encoded UTF-8: write & as %26 and % as %25.",
        ));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && let Some(name) = as_name(uri)
    {
        *request.uri_mut() = name;
    }
    Ok(())
}

/// Whether every percent sign begins an encoded byte, and all bytes together are UTF-8.
fn is_text(encoded: &str) -> bool {
    let is_encoded = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    encoded.split('%').skip(1).all(is_encoded) && percent_decode_str(encoded).decode_utf8().is_ok()
}

/// `query` is what `POST` is sent to, and may also be the name of a channel or the id of a user. A
/// path that reads one of those has an encoded letter, so that the router takes it for a name.
fn as_name(uri: &Uri) -> Option<Uri> {
    let collection = match uri.path().strip_prefix(BASE)? {
        "/channels/query" => "/channels/",
        "/users/query" => "/users/",
        _ => return None,
    };
    let query = uri.query().map_or(Cow::Borrowed(""), |query| format!("?{query}").into());
    format!("{BASE}{collection}%71uery{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_whole_escapes_of_whole_characters() {
        for text in ["", "/a", "a%20b", "%2F%c3%a9", "a%25zz", "é"] {
            assert!(is_text(text), "{text}");
        }
        for wrong in ["%", "a%", "%2", "%zz", "%2z", "%ff", "%c3", "%c3a%a9", "% 2"] {
            assert!(!is_text(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_that_is_also_a_path_keeps_its_query() {
        let named = |uri: &str| as_name(&uri.parse().expect("a uri")).map(|uri| uri.to_string());
        let channel = named("/api/presence/users/query?limit=5");
        assert_eq!(channel.as_deref(), Some("/api/presence/users/%71uery?limit=5"));
        assert_eq!(named("/api/presence/users/jane"), None);
        assert_eq!(named("/api/presence/channels/query/presence"), None);
    }
}

//! Whether a request becomes a WebSocket: RFC 6455's opening handshake, the server's side, as a
//! pure function of the request's head. Knows no socket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use herenow_wire::DefaultChannel;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, StatusCode, Uri, Version};
use sha1::{Digest, Sha1};

use crate::config::Origin;

/// What the request says before its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Only GET upgrades.
    pub method: &'a Method,
    /// Its query may name the default channel.
    pub uri: &'a Uri,
    /// Only HTTP/1.1 upgrades.
    pub version: Version,
    /// What the handshake is judged by.
    pub headers: &'a HeaderMap,
}

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Handshake {
    /// The answer to the client's key.
    pub accept: HeaderValue,
    /// What `?channel=` named.
    pub default_channel: DefaultChannel,
}

/// Why a request stays HTTP. A browser shows none of it to a page; developers read it with curl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoUpgrade {
    /// Only GET upgrades.
    Method,
    /// A plain GET.
    Plain,
    /// Another version of the protocol than 13.
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, stands twice, or is not 16 bytes in base64.
    Key,
    /// A page of an origin that the settings do not name.
    Origin,
}

/// Judges the head of a request to the realtime path. `allowed_origins` empty means any.
pub fn handshake(
    head: RequestHead<'_>,
    allowed_origins: &[Origin],
) -> Result<Handshake, NoUpgrade> {
    if head.method != Method::GET {
        return Err(NoUpgrade::Method);
    }
    let asks = names_token(head.headers, &UPGRADE, "websocket")
        && names_token(head.headers, &CONNECTION, "upgrade")
        && head.version == Version::HTTP_11;
    if !asks {
        return Err(NoUpgrade::Plain);
    }
    if single(head.headers, &SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(NoUpgrade::WebSocketVersion);
    }
    let key = single(head.headers, &SEC_WEBSOCKET_KEY).ok_or(NoUpgrade::Key)?;
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(KEY_BYTES) {
        return Err(NoUpgrade::Key);
    }
    if !is_allowed(head.headers.get(ORIGIN), allowed_origins) {
        return Err(NoUpgrade::Origin);
    }
    Ok(Handshake {
        accept: accept(key),
        default_channel: DefaultChannel::from_query(head.uri.query()),
    })
}

impl Handshake {
    /// The headers of the 101.
    pub fn headers(self) -> [(HeaderName, HeaderValue); 3] {
        [
            (UPGRADE, HeaderValue::from_static("websocket")),
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (SEC_WEBSOCKET_ACCEPT, self.accept),
        ]
    }
}

impl NoUpgrade {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Plain | Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Key => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
        }
    }

    /// What the answer's headers say beside it.
    pub fn headers(self) -> Vec<(HeaderName, HeaderValue)> {
        let upgrade = [
            (UPGRADE, HeaderValue::from_static("websocket")),
            (CONNECTION, HeaderValue::from_static("Upgrade")),
        ];
        match self {
            Self::Method => vec![(ALLOW, HeaderValue::from_static("GET"))],
            Self::Plain => upgrade.into(),
            Self::WebSocketVersion => {
                let version = (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                upgrade.into_iter().chain([version]).collect()
            }
            Self::Key | Self::Origin => Vec::new(),
        }
    }

    /// The answer's text.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Method => "Only a GET becomes a WebSocket.",
            Self::Plain => "This is a WebSocket endpoint: connect with ws:// or wss://.",
            Self::WebSocketVersion => "This server speaks version 13 of the WebSocket protocol.",
            Self::Key => "Sec-WebSocket-Key should be 16 bytes in base64.",
            Self::Origin => "This server takes no connections from pages of this origin.",
        }
    }
}

/// A client that is no browser sends no origin, and could send any: it is let through.
fn is_allowed(origin: Option<&HeaderValue>, allowed: &[Origin]) -> bool {
    let Some(origin) = origin else { return true };
    allowed.is_empty() || allowed.iter().any(|one| one.matches(origin.as_bytes()))
}

/// Whether a header that lists tokens names this one. Letters may be of either case.
fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The value of a header that may stand once only.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

fn accept(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(HANDSHAKE_GUID).finalize();
    HeaderValue::from_str(&STANDARD.encode(digest)).expect("base64 fits into a header")
}

/// RFC 6455, section 1.3.
const HANDSHAKE_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const KEY_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &[(&str, &str)] = &[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// The whole request with some headers replaced; an empty value leaves the header out.
    fn ask(changed: &[(&str, &str)], allowed: &[Origin]) -> Result<Handshake, NoUpgrade> {
        let mut headers = HeaderMap::new();
        for (name, value) in ASKS.iter().chain(changed) {
            let name: HeaderName = name.parse().expect("a header name");
            headers.remove(&name);
            if !value.is_empty() {
                headers.insert(name, value.parse().expect("a header value"));
            }
        }
        let head = RequestHead {
            method: &Method::GET,
            uri: &Uri::from_static("/api/realtime?channel=presence:x"),
            version: Version::HTTP_11,
            headers: &headers,
        };
        handshake(head, allowed)
    }

    fn refused(changed: &[(&str, &str)]) -> NoUpgrade {
        ask(changed, &[]).expect_err("refused")
    }

    #[test]
    fn the_key_of_the_standards_example_gets_its_answer() {
        let handshake = ask(&[], &[]).expect("a good handshake");
        assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(matches!(handshake.default_channel, DefaultChannel::Named(_)));
    }

    #[test]
    fn whatever_does_not_ask_for_a_websocket_is_plain() {
        for changed in [
            ("upgrade", ""),
            ("upgrade", "h2c"),
            ("connection", ""),
            ("connection", "keep-alive"),
            ("connection", "upgraded"),
        ] {
            assert_eq!(refused(&[changed]), NoUpgrade::Plain, "{changed:?}");
        }
    }

    #[test]
    fn another_version_is_told_which_one_is_spoken() {
        for version in ["", "8", "14", "013", "13, 8"] {
            let refusal = refused(&[("sec-websocket-version", version)]);
            assert_eq!(refusal, NoUpgrade::WebSocketVersion, "{version}");
        }
        let headers = NoUpgrade::WebSocketVersion.headers();
        assert!(headers.contains(&(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))));
    }

    #[test]
    fn a_key_has_to_be_16_bytes_in_base64() {
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZSE=",
            "dGhlIHNhbXBsZSBub25jZ===",
            "not base64 at all!!!!!==",
        ] {
            let refusal = refused(&[("sec-websocket-key", key)]);
            assert_eq!(refusal, NoUpgrade::Key, "{key}");
        }
    }

    #[test]
    fn an_origin_is_looked_at_only_where_the_settings_name_some() {
        let allowed =
            ["https://example.com"].map(|origin| Origin::parse(origin).expect("an origin"));
        assert!(ask(&[("origin", "https://evil.test")], &[]).is_ok());
        assert!(ask(&[("origin", "null")], &[]).is_ok());
        assert!(ask(&[], &allowed).is_ok());
        assert!(ask(&[("origin", "https://EXAMPLE.com")], &allowed).is_ok());
        for origin in ["https://evil.test", "null", "https://example.com.evil.test"] {
            let refusal = ask(&[("origin", origin)], &allowed).expect_err("refused");
            assert_eq!(refusal, NoUpgrade::Origin, "{origin}");
        }
    }

    #[test]
    fn unknown_subprotocols_and_extensions_change_nothing() {
        let asked = [
            ("sec-websocket-protocol", "chat, superchat"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        let answer = ask(&asked, &[]).expect("ignored").headers();
        let names = answer.map(|(name, _)| name);
        assert_eq!(names, [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT]);
    }
}

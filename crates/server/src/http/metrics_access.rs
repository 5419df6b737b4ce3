//! Who may read `/metrics`. Closed unless a setting opens it: on the server's port a request may
//! have come through a proxy that says nothing of it, and would publish the page.

use hyper::StatusCode;
use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue, VIA, WWW_AUTHENTICATE};

use super::{FrontDoor, Port, bearer};
use crate::answer::{self, Answer};
use crate::client_address::Peer;
use crate::config::Pages;

/// What a request for the metrics is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) peer: Peer,
    pub(super) port: Port,
    pub(super) headers: &'a HeaderMap,
}

/// The answer to one that may not read them.
pub(super) fn refusal(door: &FrontDoor, reader: Reader<'_>) -> Option<Answer> {
    if shows_token(door, reader.headers) || is_named(door, reader) || is_local(door, reader) {
        return None;
    }
    Some(match door.metrics_token {
        Some(_) => answer::with_headers(
            answer::text(StatusCode::UNAUTHORIZED, NEEDS_TOKEN),
            [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))],
        ),
        None => answer::text(StatusCode::FORBIDDEN, CLOSED),
    })
}

/// A token is good from any address.
fn shows_token(door: &FrontDoor, headers: &HeaderMap) -> bool {
    let Some(token) = &door.metrics_token else { return false };
    bearer::credential(headers).is_some_and(|shown| token.is(shown))
}

/// A peer in `metricsFrom` that has connected itself. A trusted proxy never has.
fn is_named(door: &FrontDoor, reader: Reader<'_>) -> bool {
    let settings = &door.settings;
    let Peer::Ip(address) = reader.peer else { return false };
    let is_named = settings.metrics_from.iter().any(|network| network.contains(address));
    let is_proxy = reader.port == Port::Public && reader.peer.is_trusted(&settings.trusted_proxies);
    is_named && !is_proxy && !is_forwarded(reader.headers)
}

/// This machine, on the port that is for metrics alone, and under `herenow dev`.
fn is_local(door: &FrontDoor, reader: Reader<'_>) -> bool {
    let is_for_this_machine = match (reader.port, door.pages) {
        (Port::Metrics, _) | (_, Pages::Development) => true,
        (Port::Public, Pages::Production) => false,
    };
    is_for_this_machine && reader.peer.is_loopback() && !is_forwarded(reader.headers)
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING.iter().any(|name| headers.contains_key(name))
}

/// What proxies add to a request that is not their own.
const FORWARDING: [HeaderName; 4] = [
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

const CLOSED: &str = "/metrics is closed to this address. Set metricsListen to serve it on a port \
                      of its own, METRICS_TOKEN_FILE to ask for a bearer token, or metricsFrom to \
                      name the addresses that may read it.\n";
const NEEDS_TOKEN: &str = "Send `Authorization: Bearer` with the token in METRICS_TOKEN or \
                           METRICS_TOKEN_FILE.\n";

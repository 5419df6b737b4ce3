//! The files that the binary has in it. Knows what kind of content a file is; which of them are
//! served, and to whom, is decided in `console` and `dev`.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::body::Bytes;

use crate::answer::{self, Answer};

/// Path and content: `console/…`, `demo/…`, and `sdk/…` from the SDK's sources.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What scripts are served as.
pub const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The content of a file.
pub fn find(path: &str) -> Option<&'static [u8]> {
    let found = FILES.iter().find(|(known, _)| *known == path);
    found.map(|(_, bytes)| *bytes)
}

/// The paths of all files.
#[cfg(test)]
pub fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _)| *path)
}

/// The answer that a file is.
pub fn file(path: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Answer {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let content_type = match ending {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => JAVASCRIPT,
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    let bytes = match bytes.into() {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    answer::body(StatusCode::OK, content_type, bytes)
}

//! What the development server shows: the demo, the SDK as the modules that its own sources stand
//! for, and tokens for anybody on this machine. Nothing of it exists in production.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::auth::Minter;
use crate::clock::unix_ms;
use crate::typescript;

/// Path below `/` and content: `demo/…`, and `sdk/…` from the SDK's sources.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A demo or SDK file. `path` starts with `/`.
pub fn page(path: &str) -> Option<Answer> {
    let path = match path {
        "/" | "/demo" | "/demo/" => "demo/index.html",
        other => other.strip_prefix('/')?,
    };
    let answer = match find(path) {
        Some(bytes) => file(path, bytes),
        None => module(path)?,
    };
    let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    Some(answer::with_headers(answer, headers))
}

/// `POST /dev/token {userId, …claims}`.
pub async fn token(request: Request<Incoming>, minter: &Minter) -> Answer {
    if request.method() != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Ask for a token with POST.");
    }
    if !is_local(request.headers()) {
        return refuse(
            StatusCode::FORBIDDEN,
            "Development tokens are given to this machine alone: use localhost or 127.0.0.1.",
        );
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let Ok(body) = body.await else {
        return refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body should be a JSON object of at most 16 KiB.",
        );
    };
    let now_unix_ms = unix_ms();
    let Some(claims) = claims(&body.to_bytes(), now_unix_ms) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "The body should be a JSON object with a userId, as in {\"userId\": \"jane\"}.",
        );
    };
    match minter.mint(claims, now_unix_ms) {
        Ok(token) => answer::json(StatusCode::OK, &json!({ "token": token })),
        Err(error) => answer::json(
            StatusCode::BAD_REQUEST,
            &json!({ "error": format!("A server would refuse this token: {error}") }),
        ),
    }
}

/// `userId` becomes `sub`; every other field is a claim, an `exp` of one's own included.
fn claims(body: &[u8], now_unix_ms: u64) -> Option<Map<String, Value>> {
    let mut claims: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let user = claims.remove("userId").filter(Value::is_string)?;
    claims.insert("sub".into(), user);
    let expiry = now_unix_ms / 1000 + TOKEN_LIFETIME_S;
    claims.entry("exp").or_insert(expiry.into());
    Some(claims)
}

/// A page of another site can be made to resolve to 127.0.0.1 and would then be let in by the
/// browser; what it cannot change is the name that it asks for.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]")
}

fn refuse(status: StatusCode, sentence: &'static str) -> Answer {
    answer::json(status, &json!({ "error": sentence }))
}

fn find(path: &str) -> Option<&'static [u8]> {
    let found = FILES.iter().find(|(known, _)| *known == path);
    found.map(|(_, bytes)| *bytes)
}

fn file(path: &str, bytes: &'static [u8]) -> Answer {
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
    answer::body(StatusCode::OK, content_type, Bytes::from_static(bytes))
}

/// The JavaScript of a TypeScript source beside which it does not stand.
fn module(path: &str) -> Option<Answer> {
    let source_path = format!("{}.ts", path.strip_suffix(".js")?);
    let source = std::str::from_utf8(find(&source_path)?).ok()?;
    let (status, script) = match typescript::strip(source, &source_path) {
        Ok(script) => (StatusCode::OK, script),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("throw new SyntaxError({:?});\n", format!("{source_path}: {error}")),
        ),
    };
    Some(answer::body(status, JAVASCRIPT, Bytes::from(script)))
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TOKEN_LIFETIME_S: u64 = 3600;
const MAX_BODY_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        let is_local = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a header value"));
            super::is_local(&headers)
        };
        for host in ["localhost", "LOCALHOST:4600", "127.0.0.1:80", "[::1]", "[::1]:4600"] {
            assert!(is_local(host), "{host}");
        }
        for host in
            ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test:4600", "", "::1", "192.0.2.1"]
        {
            assert!(!is_local(host), "{host}");
        }
        assert!(!super::is_local(&HeaderMap::new()));
    }

    #[test]
    fn every_typescript_source_is_served_as_a_module_that_parses() {
        for (source, _) in FILES.iter().filter(|(path, _)| path.ends_with(".ts")) {
            let module = format!("/{}", source.replace(".ts", ".js"));
            let answer = page(&module).expect("it has a source");
            assert_eq!(answer.status(), StatusCode::OK, "{module}");
            assert_eq!(answer.headers()["content-type"], JAVASCRIPT, "{module}");
        }
    }

    #[test]
    fn nothing_but_the_embedded_files_is_served() {
        for path in ["/sdk/nothing.js", "/demo/../Cargo.toml", "/sdk/", "//", "/etc/passwd", "*"] {
            assert!(page(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_token_expires_after_an_hour_unless_it_says_otherwise() {
        let own = |body: &str| claims(body.as_bytes(), 1_000_000).expect("claims");
        assert_eq!(own(r#"{"userId":"a","role":"x"}"#)["exp"], 4_600);
        assert_eq!(own(r#"{"userId":"a","exp":7}"#)["exp"], 7);
        assert_eq!(own(r#"{"userId":"a","sub":"b"}"#)["sub"], "a");
        for body in ["", "[]", "{}", r#"{"userId":1}"#, r#"{"userId":"a"} x"#] {
            assert!(claims(body.as_bytes(), 0).is_none(), "{body}");
        }
    }
}

//! What the development server shows: the demo, the SDK as the modules that its own sources stand
//! for, and tokens and the service key of the run for anybody on this machine. Nothing of it exists in
//! production.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::auth::{Minter, RunKey};
use crate::clock::unix_ms;
use crate::embedded::{self, JAVASCRIPT};
use crate::typescript;

/// A demo or SDK file. `path` starts with `/`.
pub fn page(path: &str) -> Option<Answer> {
    let path = match path {
        "/" | "/demo" | "/demo/" => "demo/index.html",
        other => other.strip_prefix('/')?,
    };
    let answer = match embedded::find(path) {
        Some(bytes) => embedded::file(path, bytes),
        None => module(path)?,
    };
    let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    Some(answer::with_headers(answer, headers))
}

/// `POST /dev/token {userId, …claims}`.
pub async fn token(request: Request<Incoming>, minter: &Minter) -> Answer {
    if let Some(refusal) = refusal(request.method(), request.headers()) {
        return refusal;
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

/// `POST /dev/service-key`: what the console opens with.
pub fn service_key<B>(request: &Request<B>, key: Option<&RunKey>) -> Answer {
    if let Some(refusal) = refusal(request.method(), request.headers()) {
        return refusal;
    }
    let Some(key) = key else {
        return refuse(
            StatusCode::NOT_FOUND,
            "This run has the service key of its settings, which the server never shows.",
        );
    };
    let answer = answer::json(StatusCode::OK, &json!({ "key": key.as_str() }));
    answer::with_headers(answer, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

/// The answer to a request for a secret that may not have it.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Answer> {
    if method != Method::POST {
        return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, "Ask for it with POST."));
    }
    let is_allowed = is_local(headers) && !is_of_another_origin(headers);
    (!is_allowed).then(|| {
        refuse(
            StatusCode::FORBIDDEN,
            "Development tokens and keys are given to pages of this server and to programs on this \
             machine alone: use localhost or 127.0.0.1.",
        )
    })
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

/// A page of another origin could not read the answer either. Browsers name the origin with every
/// POST; programs do not.
fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(HeaderValue::as_bytes);
    let Some(origin) = text(ORIGIN) else { return false };
    let own = text(HOST).map(|host| [b"http://", host].concat());
    own.is_none_or(|own| !own.eq_ignore_ascii_case(origin))
}

fn refuse(status: StatusCode, sentence: &'static str) -> Answer {
    answer::json(status, &json!({ "error": sentence }))
}

/// The JavaScript of a TypeScript source beside which it does not stand.
fn module(path: &str) -> Option<Answer> {
    let source_path = format!("{}.ts", path.strip_suffix(".js")?);
    let source = std::str::from_utf8(embedded::find(&source_path)?).ok()?;
    let (status, script) = match typescript::strip(source, &source_path) {
        Ok(script) => (StatusCode::OK, script),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("throw new SyntaxError({:?});\n", format!("{source_path}: {error}")),
        ),
    };
    Some(answer::body(status, JAVASCRIPT, Bytes::from(script)))
}

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
        for source in embedded::paths().filter(|path| path.ends_with(".ts")) {
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

//! What the development server shows: the demo, the SDK as the modules that its own sources stand
//! for, and tokens and the service key of the run for anybody on this machine. Nothing of it exists in
//! production.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, HOST, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::auth::{Minter, RunKey};
use crate::clock::unix_ms;
use crate::embedded::{self, JAVASCRIPT};
use crate::typescript;

/// A demo or SDK file. `path` starts with `/`. Pages of another port of this machine, where an
/// app is developed, may import the SDK.
pub fn page(path: &str, headers: &HeaderMap) -> Option<Answer> {
    let is_shared = path.starts_with("/sdk/");
    let path = match path {
        "/" | "/demo" | "/demo/" => "demo/index.html",
        other => other.strip_prefix('/')?,
    };
    let answer = match embedded::find(path) {
        Some(bytes) => embedded::file(path, bytes),
        None => module(path)?,
    };
    let no_cache = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    let answer = answer::with_headers(answer, no_cache);
    Some(if is_shared { readable(answer, local_origin(headers)) } else { answer })
}

/// `POST /dev/token {userId, …claims}`, from pages of this machine, whatever their port.
pub async fn token(request: Request<Incoming>, minter: &Minter) -> Answer {
    let origin = local_origin(request.headers());
    let answer = match (request.method(), &origin) {
        (&Method::OPTIONS, Some(_)) if is_local(request.headers()) => preflight(),
        _ => given_token(request, minter).await,
    };
    readable(answer, origin)
}

async fn given_token(request: Request<Incoming>, minter: &Minter) -> Answer {
    if let Some(refusal) = Pages::OfThisMachine.refusal(&request) {
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

/// `POST /dev/service-key`: what the console opens with. For pages of this server alone.
pub fn service_key<B>(request: &Request<B>, key: Option<&RunKey>) -> Answer {
    if let Some(refusal) = Pages::OfThisServer.refusal(request) {
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

/// Which pages are given a secret. Programs, which name no origin, are given each of them.
#[derive(Clone, Copy)]
enum Pages {
    OfThisServer,
    OfThisMachine,
}

impl Pages {
    /// The answer to a request that may not have it.
    fn refusal<B>(self, request: &Request<B>) -> Option<Answer> {
        if request.method() != Method::POST {
            return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, "Ask for it with POST."));
        }
        let headers = request.headers();
        let (is_admitted, sentence) = match self {
            Self::OfThisServer => (
                !is_of_another_origin(headers),
                "The development key is given to pages of this server and to programs on this \
                 machine alone: use localhost or 127.0.0.1.",
            ),
            Self::OfThisMachine => (
                !headers.contains_key(ORIGIN) || local_origin(headers).is_some(),
                "Development tokens are given to pages and programs of this machine alone: use \
                 localhost or 127.0.0.1, for the page too.",
            ),
        };
        (!(is_local(headers) && is_admitted)).then(|| refuse(StatusCode::FORBIDDEN, sentence))
    }
}

/// The origin of the page that asks, if it is one of this machine, whatever its port.
fn local_origin(headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let text = origin.to_str().ok()?;
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    is_this_machine(host).then(|| origin.clone())
}

/// What a browser asks before it sends a page's request to another origin.
fn preflight() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    answer::with_headers(answer, headers)
}

/// The same answer, which pages of this origin may read.
fn readable(answer: Answer, origin: Option<HeaderValue>) -> Answer {
    let answer = answer::with_headers(answer, [(VARY, HeaderValue::from_static("Origin"))]);
    let allowed = origin.map(|origin| (ACCESS_CONTROL_ALLOW_ORIGIN, origin));
    answer::with_headers(answer, allowed)
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
    host.is_some_and(is_this_machine)
}

/// Whether a host, perhaps with a port, is this machine.
fn is_this_machine(host: &str) -> bool {
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
            let answer = page(&module, &HeaderMap::new()).expect("it has a source");
            assert_eq!(answer.status(), StatusCode::OK, "{module}");
            assert_eq!(answer.headers()["content-type"], JAVASCRIPT, "{module}");
        }
    }

    #[test]
    fn nothing_but_the_embedded_files_is_served() {
        for path in ["/sdk/nothing.js", "/demo/../Cargo.toml", "/sdk/", "//", "/etc/passwd", "*"] {
            assert!(page(path, &HeaderMap::new()).is_none(), "{path}");
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

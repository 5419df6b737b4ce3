//! A server with a service key, what a backend sends it, and connections that it then sees.

use std::net::SocketAddr;

use herenow_client::raw::RawConnection;
use herenow_server::auth::ServiceKeys;
use herenow_server::config::Settings;
use herenow_testing::{Setup, token, unix_seconds};
use serde_json::{Value, json};
use ureq::http::Request;

pub const KEY: &str = "a-service-key-of-the-tests-0123456789";

pub struct Server(pub herenow_testing::Server);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    headers: ureq::http::HeaderMap,
}

impl Server {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_keys(ServiceKeys::parse(KEY.as_bytes()).expect("a good key"), change)
    }

    pub fn with_keys(keys: ServiceKeys, change: impl FnOnce(&mut Settings)) -> Self {
        let mut setup = Setup::default();
        setup.keys.service = keys;
        change(&mut setup.settings);
        Self(herenow_testing::Server::start(setup))
    }

    /// The same, where and how the test says.
    pub fn at(mut setup: Setup) -> Self {
        setup.keys.service = ServiceKeys::parse(KEY.as_bytes()).expect("a good key");
        Self(herenow_testing::Server::start(setup))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(&body.to_string()))
    }

    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(&body.to_string()))
    }

    /// The path is below `/api/presence`.
    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        ask(self.0.addr, (method, path), &format!("Bearer {KEY}"), body)
    }

    /// A connection that has authenticated.
    pub async fn sign_in(&self, user: &str) -> RawConnection {
        let mut peer = self.0.connect().await;
        let token = token(&json!({"sub": user, "exp": unix_seconds() + 3600.0}));
        peer.send(json!({"type": "auth", "token": token})).await;
        assert_eq!(peer.next_message().await["type"], "auth_success");
        peer
    }

    /// A connection that is a member of the channel, and its id.
    pub async fn join(&self, user: &str, channel: &str, state: Value) -> (RawConnection, String) {
        let mut peer = self.0.connect().await;
        let token = token(&json!({"sub": user, "exp": unix_seconds() + 3600.0}));
        peer.send(json!({"type": "auth", "token": token})).await;
        let success = peer.next_message().await;
        let id = success["connectionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{user} is signed in, not told {success}")).to_owned();
        track(&mut peer, channel, state).await;
        (peer, id)
    }
}

/// Waits until the server has confirmed it.
pub async fn track(peer: &mut RawConnection, channel: &str, state: Value) {
    peer.send(json!({"type": "presence_join", "channel": channel, "state": state, "ref": 1})).await;
    while peer.next_message().await != json!({"type": "ack", "ref": 1}) {}
}

pub fn ask(
    server: SocketAddr,
    (method, path): (&str, &str),
    authorization: &str,
    body: Option<&str>,
) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let config = config.allow_non_standard_methods(true).build();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{server}/api/presence{path}"))
        .header("authorization", authorization);
    let agent = ureq::Agent::from(config);
    let answered = match body {
        Some(body) => agent.run(request.body(body).expect("a good request")),
        None => agent.run(request.body(()).expect("a good request")),
    };
    let mut answer = answered.expect("the server answers");
    let body = answer.body_mut().read_to_string().expect("the answer is text");
    Answer { status: answer.status().as_u16(), body, headers: answer.headers().clone() }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII"))
    }

    /// What a request that was right is answered.
    pub fn json(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// The code of a problem, whose shape it checks.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("JSON");
        let code = problem["code"].as_str().expect("a code").to_owned();
        let anchor = format!("docs/http-api.md#{}", code.to_lowercase());
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["type"].as_str().expect("a URL").ends_with(&anchor), "{problem}");
        for sentence in ["title", "detail"] {
            assert!(problem[sentence].as_str().is_some_and(|text| text.len() > 10), "{problem}");
        }
        assert_eq!(problem.as_object().expect("an object").len(), 5, "{problem}");
        assert!(!self.body.contains(KEY), "{problem}");
        code
    }

    pub fn detail(&self) -> String {
        let problem: Value = serde_json::from_str(&self.body).expect("JSON");
        problem["detail"].as_str().expect("a sentence").to_owned()
    }

    #[track_caller]
    pub fn is_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, &*self.code()), (status, code), "{self:?}");
    }
}

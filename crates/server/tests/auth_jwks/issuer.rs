//! An issuer that publishes a key set over HTTP, and documents as the well-known ones publish them, with
//! the keys of these tests in the place of theirs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::jwk;

/// Answers every request alike, until the test's process ends.
pub struct Issuer {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    requests: AtomicUsize,
}

/// What it answers.
#[derive(Clone)]
pub struct Answer {
    pub status: &'static str,
    pub headers: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", headers: "", body: body.into() }
    }

    pub fn status(status: &'static str, headers: &'static str) -> Self {
        Self { status, headers, body: b"<html>Sorry.</html>".to_vec() }
    }
}

impl Issuer {
    pub fn start(answer: Answer) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").expect("a port is free"), answer)
    }

    pub fn at(listener: TcpListener, answer: Answer) -> Self {
        let addr = listener.local_addr().expect("it has one");
        let shared = Shared { answer: Mutex::new(answer), requests: AtomicUsize::new(0) };
        let shared = Arc::new(shared);
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answering.answer(stream.expect("it accepts"));
            }
        });
        Self { addr, shared }
    }

    /// Where its key set is.
    pub fn url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.addr)
    }

    pub fn publish(&self, answer: Answer) {
        *self.shared.answer.lock().expect("no test panics within") = answer;
    }

    /// How often it has been asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(&stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        self.requests.fetch_add(1, Ordering::SeqCst);
        let Answer { status, headers, body } = self.answer.lock().expect("nobody panics").clone();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
        // A client may have read enough before the end.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    }
}

/// What an issuer publishes, and which of its keys a token is signed with.
pub struct Document {
    pub issuer: &'static str,
    pub headers: &'static str,
    pub body: Value,
    /// The key pair of these tests, and its `kid` in the document.
    pub key: &'static str,
    pub key_id: &'static str,
}

/// The documents of Auth0, Clerk, Supabase, Keycloak and Firebase, as they are to the last member.
pub fn documents() -> Vec<Document> {
    let rsa = |members: Value| with(jwk("rsa"), members);
    let (auth0, clerk) = ("NEYxNTA1QkY1RjM4QkQ4", "ins_2fQkWxq1yTLlAo3JbxsRjYmd4nM");
    let supabase = "2b1c6d0f-6a5e-4c0b-9f0e-5b6e4c1f7a11";
    let keycloak = "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE";
    let firebase = "9a35c4f60ac1b9eaf7f3a1a5c1b8d2f0e6c7d8a9";
    // Nobody reads the certificates, so any text will do.
    let chain = json!(["MIIDBTCCAe2gAwIBAgIJdoqjqHRkJ0yWMA0GCSqGSIb3DQEBCwUA"]);
    vec![
        Document {
            issuer: "Auth0",
            headers: "Cache-Control: public, max-age=15, stale-while-revalidate=15, stale-if-error=86400\r\n",
            body: json!({ "keys": [rsa(json!({
                "kid": auth0, "use": "sig", "alg": "RS256", "x5t": "NEYxNTA1QkY1RjM4QkQ4", "x5c": chain,
            })), rsa(json!({
                "kid": "next", "use": "sig", "alg": "RS256", "x5t": "bmV4dA", "x5c": chain,
            }))] }),
            key: "rsa",
            key_id: auth0,
        },
        Document {
            issuer: "Clerk",
            headers: "Cache-Control: public, max-age=3600\r\n",
            body: json!({ "keys": [rsa(json!({ "use": "sig", "alg": "RS256", "kid": clerk }))] }),
            key: "rsa",
            key_id: clerk,
        },
        Document {
            issuer: "Supabase",
            headers: "Cache-Control: public, max-age=600\r\n",
            body: json!({ "keys": [with(jwk("ec"), json!({
                "alg": "ES256", "ext": true, "key_ops": ["verify"], "kid": supabase, "use": "sig",
            }))] }),
            key: "ec",
            key_id: supabase,
        },
        Document {
            issuer: "Keycloak",
            headers: "Cache-Control: no-cache\r\n",
            body: json!({ "keys": [rsa(json!({
                "kid": "enc", "use": "enc", "alg": "RSA-OAEP", "x5c": chain, "x5t": "ZW5j", "x5t#S256": "ZW5j",
            })), rsa(json!({
                "kid": keycloak, "use": "sig", "alg": "RS256", "x5c": chain, "x5t": "c2ln", "x5t#S256": "c2ln",
            }))] }),
            key: "rsa",
            key_id: keycloak,
        },
        Document {
            issuer: "Firebase",
            headers: "Cache-Control: public, max-age=19302, must-revalidate, no-transform\r\n",
            body: json!({ "keys": [
                rsa(json!({ "use": "sig", "alg": "RS256", "kid": firebase })),
                rsa(json!({ "use": "sig", "alg": "RS256", "kid": "f1a2" })),
            ] }),
            key: "rsa",
            key_id: firebase,
        },
    ]
}

/// What Firebase publishes beside its key set, at `/robot/v1/metadata/x509/`.
pub fn certificates_of_firebase() -> Value {
    let certificate =
        "-----BEGIN CERTIFICATE-----\nMIIDHTCCAgWgAwIBAgIJAMd1\n-----END CERTIFICATE-----\n";
    json!({ "9a35c4f60ac1b9eaf7f3a1a5c1b8d2f0e6c7d8a9": certificate, "f1a2": certificate })
}

fn with(mut key: Value, members: Value) -> Value {
    let key_members = key.as_object_mut().expect("a key is an object");
    key_members.extend(members.as_object().expect("members are an object").clone());
    key
}

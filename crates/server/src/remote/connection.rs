//! Requests to the HTTP API of a running server. One connection each: a command sends few.

use std::io;
use std::time::Duration;

use herenow_server::files;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::RemoteError;
use super::origin::Origin;
use crate::cli::Remote;
use crate::health::Target;

/// A server, and the key that it is shown.
pub struct Connection {
    origin: Origin,
    authorization: HeaderValue,
    tls: Option<TlsConnector>,
}

/// A server that hibernates many channels takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Far above a page of a thousand of the largest states.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

impl Connection {
    pub fn to(remote: &Remote) -> Result<Self, RemoteError> {
        let listen = std::env::var("HERENOW_LISTEN").ok();
        let here = || Origin::Plain(Target::of_this_machine(listen.as_deref()));
        let origin = remote.url.clone().unwrap_or_else(here);
        let key = service_key(remote)?;
        let visible = |key: &String| key.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = Some(key).filter(visible).map(|key| format!("Bearer {key}"));
        let header = bearer.and_then(|bearer| HeaderValue::try_from(bearer).ok());
        let mut authorization = header.ok_or(RemoteError::BadKey)?;
        authorization.set_sensitive(true);
        let tls = origin.tls();
        let tls = tls.map_err(|error| RemoteError::Silent { origin: origin.clone(), error })?;
        Ok(Self { origin, authorization, tls })
    }

    pub async fn get(&self, path: &str) -> Result<Value, RemoteError> {
        self.ask(Method::GET, path, String::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, RemoteError> {
        self.ask(Method::POST, path, body.to_string()).await
    }

    /// Begins to read an answer that has no end.
    pub async fn stream(&self, path: &str) -> Result<Incoming, RemoteError> {
        let answer = self.send(Method::GET, path, String::new());
        let answer = self.in_time(answer).await?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body()),
            status => Err(self.refusal(status, self.in_time(self.json(answer)).await?)),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<Value, RemoteError> {
        let answering = async {
            let answer = self.send(method, path, body).await?;
            Ok((answer.status().as_u16(), self.json(answer).await?))
        };
        match self.in_time(answering).await? {
            (200..300, Some(json)) => Ok(json),
            (status, json) => Err(self.refusal(status, json)),
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        timeout(ANSWER_TIMEOUT, work).await.unwrap_or_else(|_| {
            Err(self.silent(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, RemoteError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/presence{path}"))
            .header(HOST, self.origin.host())
            .header(AUTHORIZATION, &self.authorization)
            .body(Full::<Bytes>::from(body));
        let request = request.map_err(|error| self.silent(io::Error::other(error)))?;
        let stream = self.origin.connect(self.tls.as_ref()).await;
        let stream = stream.map_err(|error| self.silent(error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| self.no_answer())?;
        // It ends with the answer. An error of the connection is one of the answer too.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|_| self.no_answer())
    }

    async fn json(&self, answer: Response<Incoming>) -> Result<Option<Value>, RemoteError> {
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|_| self.no_answer())?;
        Ok(serde_json::from_slice(&body.to_bytes()).ok())
    }

    fn refusal(&self, status: u16, problem: Option<Value>) -> RemoteError {
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        match (status, detail) {
            (400.., Some(detail)) => RemoteError::Refused { status, detail: detail.to_owned() },
            _ => self.no_answer(),
        }
    }

    fn silent(&self, error: io::Error) -> RemoteError {
        RemoteError::Silent { origin: self.origin.clone(), error }
    }

    fn no_answer(&self) -> RemoteError {
        RemoteError::NoAnswer { origin: self.origin.clone() }
    }
}

/// What a command runs on.
pub fn runtime() -> Result<Runtime, RemoteError> {
    Builder::new_current_thread().enable_all().build().map_err(RemoteError::Runtime)
}

fn service_key(remote: &Remote) -> Result<String, RemoteError> {
    if let Some(key) = std::env::var("SERVICE_KEY").ok().filter(|key| !key.trim().is_empty()) {
        return Ok(key.trim().to_owned());
    }
    let path = remote.service_key_file.clone().ok_or(RemoteError::NoKey)?;
    let text = files::read_text(&path, MAX_KEY_FILE_BYTES)
        .map_err(|reason| RemoteError::KeyFile { path, reason })?;
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    first.map(str::to_owned).ok_or(RemoteError::NoKey)
}

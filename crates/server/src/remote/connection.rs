//! Requests to the HTTP API of a running server. One connection each: a command sends few.

use std::io;
use std::time::Duration;

use herenow_server::files;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::error::RemoteError;
use crate::cli::Remote;
use crate::health::Target;

/// A server, and the key that it is shown.
pub struct Connection {
    target: Target,
    authorization: HeaderValue,
    runtime: Runtime,
}

/// A server that hibernates many channels takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Far above a page of a thousand of the largest states.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
const MAX_KEY_FILE_BYTES: usize = 64 * 1024;

impl Connection {
    pub fn to(remote: &Remote) -> Result<Self, RemoteError> {
        let listen = std::env::var("HERENOW_LISTEN").ok();
        let here = || Target::of_this_machine(listen.as_deref());
        let target = remote.url.clone().unwrap_or_else(here);
        let key = service_key(remote)?;
        let visible = |key: &String| key.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = Some(key).filter(visible).map(|key| format!("Bearer {key}"));
        let header = bearer.and_then(|bearer| HeaderValue::try_from(bearer).ok());
        let mut authorization = header.ok_or(RemoteError::BadKey)?;
        authorization.set_sensitive(true);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| silent(&target, error))?;
        Ok(Self { target, authorization, runtime })
    }

    pub fn get(&self, path: &str) -> Result<Value, RemoteError> {
        self.send(Method::GET, path, String::new())
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value, RemoteError> {
        self.send(Method::POST, path, body.to_string())
    }

    fn send(&self, method: Method, path: &str, body: String) -> Result<Value, RemoteError> {
        let host = match &self.target {
            Target::Tcp(address) => address,
            Target::Unix(_) => "localhost",
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/presence{path}"))
            .header(HOST, host)
            .header(AUTHORIZATION, &self.authorization)
            .body(Full::from(body));
        let request = request.map_err(|error| silent(&self.target, io::Error::other(error)))?;
        let answering = async { timeout(ANSWER_TIMEOUT, self.answer(request)).await };
        let answered = self.runtime.block_on(answering);
        let (status, body) = answered.unwrap_or_else(|_| {
            let error = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            Err(silent(&self.target, error))
        })?;
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, json) {
            (200..300, Some(json)) => Ok(json),
            (400.., Some(json)) if json["detail"].is_string() => {
                let detail = json["detail"].as_str().unwrap_or_default().to_owned();
                Err(RemoteError::Refused { status, detail })
            }
            _ => Err(RemoteError::NoAnswer { target: self.target.clone() }),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), RemoteError> {
        let silent = |error| silent(&self.target, error);
        match &self.target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(silent)?;
                exchange(stream, request).await
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(silent)?;
                exchange(stream, request).await
            }
        }
        .map_err(|_| RemoteError::NoAnswer { target: self.target.clone() })
    }
}

/// Any error of the peer or of what it says.
type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await?;
        Ok((status, body.to_bytes()))
    };
    let driving = async {
        // An error of the connection is one of the answer too.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answered = answering => answered,
        never = driving => never,
    }
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

fn silent(target: &Target, error: io::Error) -> RemoteError {
    RemoteError::Silent { target: target.clone(), error }
}

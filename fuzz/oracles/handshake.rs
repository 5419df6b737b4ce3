//! The bytes with which a WebSocket is to be opened, as they come from anybody: HTTP takes them in
//! and the handshake is judged, as the front door does it, over a socket in memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use herenow_server::upgrade::{RequestHead, handshake};
use hyper::body::{Body, Incoming};
use hyper::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tungstenite::handshake::derive_accept_key;

/// The input is everything that the peer ever sends.
pub fn check(input: &[u8]) {
    let upgraded: RefCell<Option<(Vec<u8>, String)>> = RefCell::default();
    let answer = |request: Request<Incoming>| {
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        };
        let mut answer = Response::new(String::new());
        match handshake(head, &[]) {
            Ok(handshake) if request.body().is_end_stream() => {
                let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes().trim_ascii().to_vec();
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                answer
                    .headers_mut()
                    .extend(handshake.headers().map(|(name, value)| (Some(name), value)));
                let accept = answer.headers()[SEC_WEBSOCKET_ACCEPT].to_str();
                let accept = accept.expect("base64 is text").to_owned();
                assert!(upgraded.replace(Some((key, accept))).is_none(), "one upgrade is the end");
            }
            Ok(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
            Err(refusal) => {
                assert!(refusal.status().is_client_error() && !refusal.sentence().is_empty());
                *answer.status_mut() = refusal.status();
            }
        }
        ready(Ok::<_, Infallible>(answer))
    };
    let mut connection = http1::Builder::new()
        .max_buf_size(16 * 1024)
        .serve_connection(InMemory { to_come: input, said: Vec::new() }, service_fn(answer));
    // HTTP lets others go first now and then, but has something to do each time it is asked.
    let mut ended = (0..=input.len())
        .map(|_| connection.poll_without_shutdown(&mut Context::from_waker(Waker::noop())));
    assert!(ended.any(|polled| polled.is_ready()), "all bytes are there: nothing is waited for");
    let parts = connection.into_parts();
    let said = parts.io.said;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "whoever asks by HTTP is so answered");
    if let Some((key, accept)) = upgraded.take() {
        assert_eq!(accept, derive_accept_key(&key), "as another implementation answers the key");
        let rest: Vec<u8> = [&parts.read_buf, parts.io.to_come].concat();
        let head = input.strip_suffix(&*rest).expect("what follows the handshake is not touched");
        assert!(head.ends_with(b"\n"), "the handshake ends with its head");
    }
}

/// Gives what is to come and then its end; keeps what was said.
struct InMemory<'a> {
    to_come: &'a [u8],
    said: Vec<u8>,
}

impl Read for InMemory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.to_come.split_at(buffer.remaining().min(self.to_come.len()));
        buffer.put_slice(now);
        self.to_come = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for InMemory<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.said.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

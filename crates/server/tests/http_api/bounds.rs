//! What a request may cost: its size, its time, and how many there are.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{KEY, Server};

/// Far above what anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(40);

const MAX_BODY_BYTES: usize = 64 * 1024;

fn head(length: &str) -> String {
    format!(
        "POST /api/presence/users/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {KEY}\r\n{length}\r\n\r\n"
    )
}

async fn send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.0.addr).await.expect("it listens");
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("a whole answer");
    answer
}

#[tokio::test]
async fn a_body_has_at_most_64_kib() {
    let server = Server::start();
    let json = r#"{"userIds": []}"#;
    let largest = format!("{json}{}", " ".repeat(MAX_BODY_BYTES - json.len()));
    assert_eq!(server.send("POST", "/users/query", Some(&largest)).status, 200);
    let announced = send(&server, head("Content-Length: 65537").as_bytes()).await;
    let refused = answer(announced).await;
    assert!(refused.starts_with("HTTP/1.1 413 ") && refused.contains("PAYLOAD_TOO_LARGE"));
    let mut chunked = head("Transfer-Encoding: chunked");
    chunked.push_str(&format!("10001\r\n{largest} \r\n0\r\n\r\n"));
    let refused = answer(send(&server, chunked.as_bytes()).await).await;
    assert!(refused.starts_with("HTTP/1.1 413 ") && refused.contains("PAYLOAD_TOO_LARGE"));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let server = Server::start();
    let mut stalled = send(&server, head("Content-Length: 15").as_bytes()).await;
    stalled.write_all(b"{\"userIds\"").await.expect("sent");
    let refused = answer(stalled).await;
    assert!(refused.starts_with("HTTP/1.1 408 ") && refused.contains("REQUEST_TIMEOUT"));
}

#[tokio::test]
async fn more_requests_than_are_answered_at_once_are_told_to_come_back() {
    let server = Server::start();
    let mut held = Vec::new();
    for _ in 0..32 {
        // The answer 100 says that the body is being waited for.
        let head = head("Content-Length: 15\r\nExpect: 100-continue");
        let mut stream = send(&server, head.as_bytes()).await;
        let mut interim = [0; 25];
        let read = timeout(PATIENCE, stream.read_exact(&mut interim)).await;
        read.expect("in time").expect("an interim answer");
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        held.push(stream);
    }
    let refused = server.get("/channels");
    refused.is_refused(503, "UNAVAILABLE");
    assert_eq!(refused.header("retry-after"), Some("1"));
    for mut stream in held {
        stream.write_all(br#"{"userIds": []}"#).await.expect("sent");
        let answered = answer(stream).await;
        assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    }
    assert_eq!(server.get("/channels").status, 200);
}

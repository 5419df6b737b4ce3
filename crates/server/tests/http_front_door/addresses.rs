//! Whose address counts: the peer's own, or the one that a trusted proxy names.

use std::net::{IpAddr, Ipv4Addr};

use herenow_server::config::{Network, Pages, Settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::{Server, read_answer, upgrade};

/// Unauthenticated connections that one address may hold here.
const LIMIT: usize = 2;
/// An address of this machine that the settings do not trust.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// A server that trusts 127.0.0.1 and the machines of 10.0.0.0/8.
async fn behind_a_proxy() -> Server {
    Server::start(Pages::Production, trusting_a_proxy()).await
}

fn trusting_a_proxy() -> Settings {
    let trusted_proxies =
        ["127.0.0.1", "10.0.0.0/8"].map(|text| Network::parse(text).expect("a network"));
    Settings {
        trusted_proxies: trusted_proxies.into(),
        max_unauthenticated_per_address: LIMIT,
        ..Settings::default()
    }
}

/// The status of an upgrade with these headers. The connection stays while the stream is kept.
async fn open(mut stream: TcpStream, headers: &str) -> (u16, TcpStream) {
    stream.write_all(upgrade(headers).as_bytes()).await.expect("sent");
    let answer = read_answer(&mut stream).await;
    if answer.status == 429 {
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    (answer.status, stream)
}

/// As many connections as one address may hold, each with these headers, and one that is refused.
async fn fill(server: &Server, headers: &[&str]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for headers in headers.iter().cycle().take(LIMIT) {
        let (status, stream) = open(server.connect().await, headers).await;
        assert_eq!(status, 101, "{headers}");
        held.push(stream);
    }
    for headers in headers {
        assert_eq!(open(server.connect().await, headers).await.0, 429, "{headers}");
    }
    held
}

async fn assert_open(server: &Server, headers: &str) {
    assert_eq!(open(server.connect().await, headers).await.0, 101, "{headers}");
}

// P2.3, P2.10
#[tokio::test]
async fn the_clients_of_a_trusted_proxy_are_counted_one_by_one() {
    let server = behind_a_proxy().await;
    let same = [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.7\r\n",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1:80\r\n",
        "Forwarded: for=6.6.6.6, for=\"192.0.2.1:80\";proto=https\r\n",
    ];
    let _held = fill(&server, &same).await;
    for other in ["X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n", "Forwarded: for=192.0.2.3\r\n"] {
        assert_open(&server, other).await;
    }
    server.stop().await;
}

// P2.3, P2.10
#[tokio::test]
async fn a_client_that_is_refused_is_counted_and_is_still_shown_pages() {
    // Under `dev` this machine may read the metrics.
    let server = Server::start(Pages::Development, trusting_a_proxy()).await;
    let jane = "X-Forwarded-For: 192.0.2.1\r\n";
    let held = fill(&server, &[jane]).await;
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{jane}\r\n");
    assert_eq!(server.ask(&request).await.status, 200);
    let metrics = server.get("/metrics").await.body;
    let refused = "herenow_upgrades_refused_total{reason=\"address_full\"} 1\n";
    assert!(metrics.contains(refused), "{metrics}");
    let upgraded = format!("herenow_upgrades_total {}\n", held.len());
    assert!(metrics.contains(&upgraded), "{metrics}");
    server.stop().await;
}

// P2.10
#[tokio::test]
async fn a_connection_that_ends_makes_room_for_its_client() {
    let server = behind_a_proxy().await;
    let jane = "X-Forwarded-For: 192.0.2.1\r\n";
    let mut held = fill(&server, &[jane]).await;
    drop(held.pop());
    // The server hears of the end when its loop turns.
    while open(server.connect().await, jane).await.0 != 101 {}
    server.stop().await;
}

// P2.10
#[tokio::test]
async fn clients_that_the_proxy_does_not_name_share_what_one_address_may_hold() {
    let server = behind_a_proxy().await;
    let unnamed = [
        "",
        "X-Forwarded-For: unknown\r\n",
        "Forwarded: for=_hidden\r\n",
        "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n",
        "X-Forwarded-For: 192.0.2.1, 127.0.0.1, oops\r\n",
    ];
    let _held = fill(&server, &unnamed).await;
    assert_open(&server, "X-Forwarded-For: 192.0.2.1\r\n").await;
    server.stop().await;
}

// P2.10
#[tokio::test]
async fn what_a_peer_that_is_not_trusted_forges_is_ignored() {
    let server = behind_a_proxy().await;
    let jane = "X-Forwarded-For: 192.0.2.1\r\n";
    // It would fill the place of another address, if it were believed.
    let mut held = Vec::new();
    for _ in 0..=LIMIT {
        let stream = server.connect_from(OTHER).await.expect("the server listens");
        let (status, stream) = open(stream, jane).await;
        assert_eq!(status, 101);
        held.push(stream);
    }
    let _held = fill(&server, &[jane]).await;
    server.stop().await;
}

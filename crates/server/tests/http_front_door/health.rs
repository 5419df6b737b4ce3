//! What probes are told: load balancers, containers and supervisors act by it.

use std::net::SocketAddr;

use herenow_client::raw::RawConnection;
use herenow_server::config::Settings;
use tokio::time::timeout;

use crate::server::{Answer, PATIENCE, Server, ask, production};

async fn get(server: SocketAddr, path: &str) -> Answer {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

#[tokio::test]
async fn a_server_is_live_and_ready_on_both_its_ports() {
    let (server, metrics) = Server::with_metrics(Settings::default(), None).await;
    for address in [server.address, metrics] {
        for (path, body) in
            [("/health", "ok\n"), ("/health/live", "live\n"), ("/health/ready", "ready\n")]
        {
            let answer = get(address, path).await;
            assert_eq!((answer.status, &*answer.body), (200, body), "{address} {path}");
        }
        assert_eq!(get(address, "/health/other").await.status, 404);
    }
    server.stop().await;
}

#[tokio::test]
async fn health_is_only_read() {
    let server = production().await;
    for path in ["/health/live", "/health/ready"] {
        let post = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let refused = server.ask(&post).await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_drains_is_live_and_not_ready() {
    let (mut server, metrics) = Server::with_metrics(Settings::default(), None).await;
    // It never answers the close frame, so that the drain takes as long as it may.
    let mut peer = RawConnection::connect(server.address, "").await;
    server.begin_stop();
    let refused = async {
        loop {
            let answer = get(metrics, "/health/ready").await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.expect("it drains");
    assert_eq!((refused.status, &*refused.body), (503, "The server is stopping.\n"));
    assert_eq!(peer.expect_close().await.0, 1012);
    assert_eq!(get(metrics, "/health/live").await.status, 200);
    assert_eq!(get(metrics, "/health/ready").await.status, 503);
    assert_eq!(get(metrics, "/health").await.status, 200);
    drop(peer);
    server.stop().await;
}

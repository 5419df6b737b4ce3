//! The front door over real sockets, byte by byte: what it answers before anything is a WebSocket.

mod addresses;
mod attack;
mod console;
mod health;
mod metrics;
mod nginx;
mod server;

use herenow_server::config::{Origin, Pages, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use server::{PATIENCE, Server, development, production, read_answer, upgrade, upgrade_to};

// P2.1, P2.5
#[tokio::test]
async fn a_good_handshake_is_answered_101_whatever_the_channel_is() {
    let server = production().await;
    for target in
        ["/api/realtime", "/api/realtime?channel=presence:x", "/api/realtime?channel=%ff&x"]
    {
        let answer = server.ask(&upgrade_to(target, "Sec-WebSocket-Protocol: chat\r\n")).await;
        assert_eq!(answer.status, 101, "{target}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-protocol"), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_good_handshake_is_told_why() {
    let server = production().await;
    let plain = server.get("/api/realtime").await;
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
    let old = server.ask(&upgrade("").replace("Version: 13", "Version: 8")).await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    let key = server.ask(&upgrade("").replace("dGhlIHNhbXBsZSBub25jZQ==", "short")).await;
    assert_eq!(key.status, 400);
    let body = server.ask(&format!("{}hello", upgrade("Content-Length: 5\r\n"))).await;
    assert_eq!(body.status, 400);
    let post = server.ask(&upgrade("").replace("GET", "POST")).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
    for path in ["/api/realtime/", "/api", "/realtime", "/API/REALTIME"] {
        assert_eq!(server.ask(&upgrade_to(path, "")).await.status, 404, "{path}");
    }
    server.stop().await;
}

// P2.2
#[tokio::test]
async fn an_origin_that_the_settings_do_not_name_is_refused() {
    let allowed_origins = ["https://example.com:443", "https://*.bücher.example", "null"];
    let allowed_origins = allowed_origins.map(|text| Origin::parse(text).expect("an origin"));
    let settings = Settings { allowed_origins: allowed_origins.into(), ..Settings::default() };
    let server = Server::start(Pages::Production, settings).await;
    for (origin, status) in [
        ("https://example.com", 101),
        ("https://app.xn--bcher-kva.example", 101),
        ("null", 101),
        ("https://evil.test", 403),
        ("https://xn--bcher-kva.example", 403),
        ("https://app.xn--bcher-kva.example.evil.test", 403),
    ] {
        let answer = server.ask(&upgrade(&format!("Origin: {origin}\r\n"))).await;
        assert_eq!(answer.status, status, "{origin}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_or_no_http_is_refused() {
    let server = production().await;
    let large = server.ask(&upgrade(&format!("X: {}\r\n", "x".repeat(20_000)))).await;
    assert_eq!(large.status, 431);
    let garbage = server.ask("\u{1}\u{2}\u{3}\r\n\r\n").await;
    assert_eq!(garbage.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn production_shows_a_line_and_its_health_and_no_demo() {
    let server = production().await;
    let root = server.get("/").await;
    assert_eq!(
        (root.status, root.header("content-type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    assert!(root.body.contains("/api/realtime"), "{}", root.body);
    assert_eq!(server.get("/health").await.body, "ok\n");
    for path in ["/demo/", "/sdk/index.js", "/dev/token", "/dev/service-key", "/nothing"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    let post = "POST /dev/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(server.ask(post).await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn several_requests_on_one_connection_are_answered() {
    let server = production().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        assert_eq!(read_answer(&mut stream).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn development_gives_tokens_to_this_machine_alone() {
    let server = development().await;
    let ask = |host: &'static str, body: String| {
        let length = body.len();
        let head = format!("POST /dev/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}");
        format!("{head}\r\n\r\n{body}")
    };
    let jane = r#"{"userId":"jane","role":"admin"}"#.to_owned();
    let good = server.ask(&ask("localhost:4600", jane.clone())).await;
    assert_eq!(good.status, 200);
    let given: serde_json::Value = serde_json::from_str(&good.body).expect("JSON");
    let token = given["token"].as_str().expect("a token");
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(server.ask(&ask("evil.test", jane)).await.status, 403);
    for bad in ["", "{}", "[]", r#"{"userId":7}"#, r#"{"userId":""}"#, "{\"userId\":\"a\"", "\u{0}"]
    {
        let refused = server.ask(&ask("localhost", bad.to_owned())).await;
        assert_eq!(refused.status, 400, "{bad}");
        let said: serde_json::Value = serde_json::from_str(&refused.body).expect("JSON");
        assert!(said["error"].is_string(), "{bad}");
    }
    let large = format!(r#"{{"userId":"a","x":"{}"}}"#, "x".repeat(17_000));
    assert_eq!(server.ask(&ask("localhost", large)).await.status, 413);
    assert_eq!(server.get("/dev/token").await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_another_port_of_this_machine_may_use_the_sdk_and_development_tokens() {
    let server = development().await;
    let ask = |method: &str, path: &str, origin: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:4600\r\nOrigin: {origin}\r\n\
             Content-Length: 18\r\n\r\n{{\"userId\": \"jane\"}}"
        )
    };
    for origin in
        ["http://localhost:5173", "http://127.0.0.1", "https://localhost:3000", "http://[::1]:8080"]
    {
        let token = server.ask(&ask("POST", "/dev/token", origin)).await;
        assert_eq!(
            (token.status, token.header("access-control-allow-origin")),
            (200, Some(origin))
        );
        assert_eq!(token.header("vary"), Some("Origin"));
        let before = server.ask(&ask("OPTIONS", "/dev/token", origin)).await;
        assert_eq!(
            (before.status, before.header("access-control-allow-methods")),
            (204, Some("POST"))
        );
        assert_eq!(before.header("access-control-allow-headers"), Some("content-type"));
        let get =
            format!("GET /sdk/index.js HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n");
        let module = server.ask(&get).await;
        assert_eq!(
            (module.status, module.header("access-control-allow-origin")),
            (200, Some(origin))
        );
        let key = server.ask(&ask("POST", "/dev/service-key", origin)).await;
        assert_eq!((key.status, key.header("access-control-allow-origin")), (403, None));
    }
    for origin in [
        "https://evil.test",
        "http://localhost.evil.test",
        "http://evil.test:4600",
        "http://localhost@evil.test",
        "null",
        "localhost",
        "file://localhost",
    ] {
        for method in ["POST", "OPTIONS"] {
            let refused = server.ask(&ask(method, "/dev/token", origin)).await;
            let is_refused = matches!(refused.status, 403 | 405);
            assert!(
                is_refused && refused.header("access-control-allow-origin").is_none(),
                "{origin}"
            );
        }
        let get =
            format!("GET /sdk/index.js HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(server.ask(&get).await.header("access-control-allow-origin"), None, "{origin}");
    }
    let demo =
        "GET /demo/main.js HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\n\r\n";
    assert_eq!(server.ask(demo).await.header("access-control-allow-origin"), None);
    server.stop().await;
}

#[tokio::test]
async fn development_serves_the_sdk_as_modules() {
    let server = development().await;
    let roster = server.get("/sdk/roster.js").await;
    assert_eq!(roster.status, 200);
    assert_eq!(roster.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(roster.header("cache-control"), Some("no-cache"));
    assert!(!roster.body.contains("interface "), "the types are gone");
    assert_eq!(server.get("/sdk/nothing.js").await.status, 404);
    server.stop().await;
}

// P2.3
#[tokio::test]
async fn a_full_server_answers_503_and_when_to_come_back() {
    let settings = Settings { max_connections: 0, ..Settings::default() };
    let server = Server::start(Pages::Production, settings).await;
    let full = server.ask(&upgrade("")).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("5")));
    server.stop().await;
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_refuses_new_ones() {
    let server = production().await;
    let mut idle = server.connect().await;
    let mut kept = server.connect().await;
    kept.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    assert_eq!(read_answer(&mut kept).await.status, 200);
    let address = server.address;
    server.stop().await;
    for stream in [&mut idle, &mut kept] {
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        // A reset is an end too.
        let _ = ended.expect("the connection ends");
    }
    assert!(TcpStream::connect(address).await.is_err());
}

//! `/console`: what a browser may do with it, and where it is closed.

use herenow_server::auth::{RunKey, ServiceKeys};
use herenow_server::config::Pages;

use crate::server::{Server, development, production};

const KEY: &str = "a-service-key-of-the-tests-0123456789";

fn with_a_key() -> Server {
    let service = ServiceKeys::parse(KEY.as_bytes()).expect("a good key");
    Server::with_keys(Pages::Production, |keys| keys.service = service)
}

fn of_a_run() -> (Server, RunKey) {
    let key = RunKey::random().expect("the system has randomness");
    let server = Server::with_keys(Pages::Development, |keys| {
        keys.service = key.alone();
        keys.run_key = Some(key.clone());
    });
    (server, key)
}

fn ask_for_the_key(headers: &str) -> String {
    format!("POST /dev/service-key HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn every_file_of_the_console_lets_a_browser_run_only_its_own_scripts() {
    let server = with_a_key();
    let page = server.get("/console").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let files = page.body.split('"').filter(|text| text.starts_with("/console/"));
    let files: Vec<&str> = files.chain(["/console", "/console/", "/console/api.js"]).collect();
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect(path);
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|directive| directive == part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert!(!answer.body.contains(KEY), "{path}");
    }
    let post = server.ask("POST /console HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    for path in ["/console/nothing.js", "/console/tsconfig.json", "/console/../demo/", "/consoles"]
    {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn without_a_service_key_the_console_is_closed_and_says_which_setting_opens_it() {
    for server in [production().await, development().await] {
        for path in ["/console", "/console/", "/console/main.js"] {
            let closed = server.get(path).await;
            assert_eq!(closed.status, 404, "{path}");
            assert!(closed.body.contains("SERVICE_KEY_FILE"), "{}", closed.body);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn development_gives_the_key_of_the_run_to_its_own_pages_alone() {
    let (server, key) = of_a_run();
    let page = server.get("/console").await;
    assert!(page.body.contains(r#"data-server="development""#), "it knows that it may ask");
    assert!(!page.body.contains(key.as_str()));
    let own = "Host: localhost:4600\r\nOrigin: http://localhost:4600\r\n";
    for headers in ["Host: 127.0.0.1\r\n", own] {
        let given = server.ask(&ask_for_the_key(headers)).await;
        assert_eq!((given.status, given.header("cache-control")), (200, Some("no-store")));
        assert_eq!(given.header("access-control-allow-origin"), None);
        assert!(given.body.contains(key.as_str()), "{}", given.body);
    }
    for headers in [
        "Host: evil.test\r\n",
        "Host: evil.test:4600\r\nOrigin: http://evil.test:4600\r\n",
        "Host: localhost:4600\r\nOrigin: http://evil.test\r\n",
        "Host: localhost:4600\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost:4600\r\nOrigin: null\r\n",
    ] {
        let refused = server.ask(&ask_for_the_key(headers)).await;
        assert_eq!(refused.status, 403, "{headers}");
        assert!(!refused.body.contains(key.as_str()), "{headers}");
    }
    assert_eq!(server.get("/dev/service-key").await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_service_key_of_the_settings_is_given_to_nobody() {
    let service = ServiceKeys::parse(KEY.as_bytes()).expect("a good key");
    let development = Server::with_keys(Pages::Development, |keys| keys.service = service);
    for server in [development, with_a_key()] {
        let refused = server.ask(&ask_for_the_key("Host: localhost\r\n")).await;
        assert_eq!(refused.status, 404);
        assert!(!refused.body.contains(KEY), "{}", refused.body);
        server.stop().await;
    }
}

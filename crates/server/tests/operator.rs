//! The binary in the hands of an operator: variables that nobody has set, names, places and files as
//! people write them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_testing::{Folder, Process, SECRET, token, unix_seconds};
use serde_json::json;

fn herenow(arguments: &[&str]) -> Command {
    herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), arguments)
}

fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    (status.code(), text(stdout) + &text(stderr))
}

#[test]
fn localhost_is_a_place_to_listen_on() {
    let listen = ["serve", "--listen", "localhost:0"];
    let mut serve = herenow(&listen);
    serve.env("JWT_USER_SECRET", "x".repeat(32)).env("HERENOW_METRICS_LISTEN", "localhost:0");
    let process = Process::spawn(&mut serve);
    assert!(process.wait_for_address().ip().is_loopback());
    let (code, said) = outcome(&mut herenow(&["serve", "--listen", "example.com:4600"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("0.0.0.0:4600 or localhost:4600"), "{said}");
}

#[test]
fn a_variable_that_is_empty_counts_as_unset() {
    let mut serve = herenow(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("JWT_USER_SECRET", "x".repeat(32));
    for name in [
        "JWT_USER_SECRET_FILE",
        "JWT_JWKS_FILE",
        "JWT_ISSUER",
        "METRICS_TOKEN",
        "METRICS_TOKEN_FILE",
        "SERVICE_KEY",
        "SERVICE_KEY_FILE",
        "WEBHOOK_SECRET",
        "WEBHOOK_SECRET_FILE",
        "HERENOW_LISTEN",
        "HERENOW_PORT",
        "HERENOW_LOOPS",
        "HERENOW_CONFIG",
        "HERENOW_LOG_LEVEL",
        "HERENOW_LOG_FORMAT",
        "HERENOW_UNIX_SOCKET_MODE",
        "HERENOW_URL",
        "HERENOW_MAX_MEMBERS",
        "HERENOW_METRICS_LISTEN",
        "HERENOW_ALLOWED_ORIGINS",
        "HERENOW_OUTBOX_BYTES",
    ] {
        serve.env(name, "");
    }
    Process::spawn(&mut serve).wait_for_address();
    let (code, said) = outcome(herenow(&["serve"]).env("HERENOW_LISTEN", ""));
    assert_eq!(code, Some(2));
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_named_herenow_are_no_settings() {
    let mut dev = herenow(&["dev", "--config", "/nowhere.json"]);
    for (name, value) in [
        ("HERENOW_PORT", "tcp://10.0.0.7:4600"),
        ("HERENOW_PORT_4600_TCP", "tcp://10.0.0.7:4600"),
        ("HERENOW_PORT_4600_TCP_ADDR", "10.0.0.7"),
        ("HERENOW_SERVICE_HOST", "10.0.0.7"),
        ("HERENOW_SERVICE_PORT", "4600"),
    ] {
        dev.env(name, value);
    }
    // The command line is right, so it comes as far as the configuration.
    let (code, said) = outcome(&mut dev);
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere.json cannot be read: there is no such file"), "{said}");
}

#[test]
fn what_is_wrong_in_a_configuration_is_said_with_its_place() {
    for (name, text, expected) in [
        (
            "edgebase.config.json",
            "{\n  \"realtime\": { \"maxMembers\" 5 }\n}",
            "edgebase.config.json:2:30: this is not JSON: expected `:`",
        ),
        (
            "edgebase.config.json",
            "{ \"realtime\": { \"trustedProxies\": [\"10.0.0.1\", 8] } }",
            "`trustedProxies[1]` is 8; it should be an address or a network",
        ),
        (
            "edgebase.config.ts",
            "const forever = () => {\n  let n = 0;\n  for (;;) n += 1;\n};\nforever();\nexport default {};",
            "in the function or statement at edgebase.config.ts:1:7",
        ),
        (
            "edgebase.config.ts",
            "\nthrow new Error('no');\nexport default {};",
            "it threw at edgebase.config.ts:2:11: Error: no",
        ),
    ] {
        let folder = Folder::new();
        folder.write(name, text);
        let (code, said) = outcome(herenow(&["check"]).current_dir(folder.path()));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn a_request_without_a_host_or_with_two_is_answered_400() {
    let mut serve = herenow(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("JWT_USER_SECRET", "x".repeat(32));
    let process = Process::spawn(&mut serve);
    let address = process.wait_for_address();
    let status = |request: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {request}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (request, expected) in [
        ("/health HTTP/1.1".to_owned(), "400"),
        ("/health HTTP/1.1\r\nHost: a\r\nHost: a".into(), "400"),
        ("/health HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b".into(), "400"),
        (format!("/api/realtime HTTP/1.1\r\n{upgrade}"), "400"),
        ("/nowhere HTTP/1.1".into(), "400"),
        ("/health HTTP/1.0\r\nHost: a\r\nHost: b".into(), "400"),
        ("/health HTTP/1.1\r\nHost: a".into(), "200"),
        ("/health HTTP/1.1\r\nHost:".into(), "200"),
        ("/health HTTP/1.0".into(), "200"),
    ] {
        assert_eq!(status(&request), expected, "{request}");
    }
}

/// Waits for a line of this kind that says how many like it were left out.
fn wait_for_left_out(process: &Process, kind: &str) -> String {
    loop {
        let line = process.wait_for(kind);
        if !line.contains("left_out=0") {
            return line;
        }
    }
}

#[test]
fn refused_tokens_origins_and_rules_are_logged_with_the_reason_and_the_number_left_out() {
    let folder = Folder::new();
    folder.write(
        "edgebase.config.ts",
        "export default defineConfig({ realtime: { allowedOrigins: ['https://a.example'],
            namespaces: { 'presence:*': { access: { subscribe: () => false } } } } });",
    );
    let mut serve = herenow(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("JWT_USER_SECRET", SECRET);
    let process = Process::spawn(serve.current_dir(folder.path()));
    let address = process.wait_for_address();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(be_refused(address, &is_over));
        }
    });
    let line = wait_for_left_out(&process, "a token was refused");
    assert!(line.contains("INFO") && line.contains("The token is not a JWT"), "{line}");
    let line = wait_for_left_out(&process, "an access rule returned false");
    assert!(line.contains("INFO") && line.contains("presence:*"), "{line}");
    assert!(line.contains("subscribe") && line.contains("jane"), "{line}");
    let line = wait_for_left_out(&process, "allowedOrigins does not name its origin");
    assert!(line.contains("INFO") && line.contains("https://b.example"), "{line}");
    is_over.store(true, Ordering::Relaxed);
    clients.join().expect("each refusal is as expected");
}

/// Is refused in each way, again and again.
async fn be_refused(address: SocketAddr, is_over: &AtomicBool) {
    let claims = json!({"sub": "jane", "exp": unix_seconds() + 3600.0});
    let mut user = RawConnection::connect(address, "").await;
    user.send(json!({"type": "auth", "token": token(&claims)})).await;
    assert_eq!(user.next_message().await["type"], "auth_success");
    while !is_over.load(Ordering::Relaxed) {
        let mut stranger = RawConnection::connect(address, "").await;
        stranger.send(json!({"type": "auth", "token": "not.a.token"})).await;
        assert_eq!(stranger.next_message().await["type"], "auth_error");
        user.send(json!({"type": "subscribe", "channel": "presence:lobby"})).await;
        assert_eq!(user.next_message().await["type"], "error");
        assert!(refused_page(address).starts_with("HTTP/1.1 403"));
    }
}

/// What a page of another origin is answered.
fn refused_page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = "GET /api/realtime HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://b.example\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn dev_ends_with_its_terminal_and_names_another_dev_that_has_its_port() {
    let mut child = herenow(&["dev", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let said = BufReader::new(child.stdout.take().expect("it is piped"));
    let log = child.stderr.take().expect("it is piped");
    let mut dev = Process::with_log(child, log);
    let greeting = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("ready on http://127.0.0.1:")?;
        Some(rest.split('/').next()?.to_owned())
    });
    let port = greeting.expect("it says where it is");
    let (code, said) = outcome(&mut herenow(&["dev", "--port", &port]));
    assert_eq!(code, Some(2));
    assert!(said.contains(&format!("port {port}")), "{said}");
    assert!(said.contains("is in use by another `herenow dev`"), "{said}");
    dev.signal("HUP");
    let ended = dev.ended_within(Duration::from_secs(60)).expect("it ends");
    assert_eq!(ended.code(), Some(0));
}

//! The binary in the hands of an operator: variables that nobody has set, names, places and files as
//! people write them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};

use herenow_testing::{Folder, Process};

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

//! Connections that never become WebSockets: they keep what HTTP may hold at once, and are opened
//! again as soon as the server drops them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::kinds::{UNFINISHED, occupy, unfinished_heads};
use crate::server::{Server, Setup, loopback};
use crate::socket::{Socket, Width, connect, text};

/// How long anything may take that is not part of the attack.
const ALLOWED: Duration = Duration::from_secs(2);
/// How often it is tried.
const TRIES: usize = 5;

fn health(server: SocketAddr) -> io::Result<bool> {
    let mut stream = connect(server, Ipv4Addr::LOCALHOST, Width::Usual)?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

fn web_socket(server: SocketAddr) -> io::Result<bool> {
    let ping = text(r#"{"type":"ping"}"#);
    let mut socket = Socket::open(server, Width::Usual, &ping)?;
    Ok(socket.next_text()?.contains("pong"))
}

fn expect_answers(server: &Server, what: &str) {
    let mut slowest = [Duration::ZERO; 2];
    for _ in 0..TRIES {
        for (ask, slowest) in [health, web_socket].into_iter().zip(&mut slowest) {
            let asked = Instant::now();
            let answer = ask(server.addr);
            let took = asked.elapsed();
            *slowest = took.max(*slowest);
            let is_well = matches!(answer, Ok(true)) && took <= ALLOWED;
            assert!(is_well, "{what}: {answer:?} after {took:?}; slowest so far {slowest:?}");
        }
    }
    println!("{what}: /health took {:?} at most, a WebSocket {:?}", slowest[0], slowest[1]);
}

#[test]
fn unfinished_heads_of_one_address_keep_nobody_out() {
    let server = Setup::default().start();
    let _attack = unfinished_heads(server.addr);
    expect_answers(&server, "300 unfinished heads of one address");
}

#[test]
fn unfinished_heads_of_many_addresses_keep_nobody_out() {
    let server = Setup::default().start();
    let _attack = occupy(server.addr, 600, UNFINISHED, |n| loopback(n + 1));
    expect_answers(&server, "600 unfinished heads of 600 addresses");
}

#[test]
fn silent_connections_of_a_trusted_proxy_keep_nobody_out() {
    let server = Setup::default().set("HERENOW_TRUSTED_PROXIES", "127.0.0.3").start();
    let _attack = occupy(server.addr, 256, b"", |_| Ipv4Addr::new(127, 0, 0, 3));
    expect_answers(&server, "256 silent connections of a proxy");
}

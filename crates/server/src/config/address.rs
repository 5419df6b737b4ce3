//! Addresses to listen on, as an operator writes them.

use std::net::{Ipv4Addr, SocketAddr};

/// Reads an address and a port. `localhost` is 127.0.0.1, whatever else a machine may call so: a
/// server that listens on one address has one port. Other names are not looked up.
pub fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    }
}

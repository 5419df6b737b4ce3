//! `herenow health`: asks a running server whether it is ready, for containers and scripts that have
//! no other HTTP client. Knows one request and what its answer may look like.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use herenow_server::config::listen_address;
use url::Url;

/// Where a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// Why a server does not count as healthy.
#[derive(Debug)]
pub enum HealthError {
    /// It could not be connected to, or it did not answer in time.
    Silent { target: Target, error: io::Error },
    /// Something else listens there.
    NoAnswer { target: Target },
    /// It says that it is not ready.
    NotReady { said: String },
}

/// How long all of it may take. Below what containers and supervisors commonly allow a probe.
const WITHIN: Duration = Duration::from_secs(5);
/// More than any answer to this request has.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;
/// Where `serve` listens in every example, and `dev` by default.
const DEFAULT: &str = "127.0.0.1:4600";

impl Target {
    /// Reads `http://host:port`, or `unix:/path` for a server that listens there.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "http");
        let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port().unwrap_or(80))));
        let (host, port) = host.ok_or(
            "write http:// with the address of the server itself, such as http://127.0.0.1:4600, \
             or unix: with the path of its socket",
        )?;
        Ok(Self::Tcp(format!("{host}:{port}")))
    }

    /// Where a server of these settings is reached from its own machine. `listen`: the value of
    /// `HERENOW_LISTEN`.
    pub fn of_this_machine(listen: Option<&str>) -> Self {
        let first = listen.and_then(|all| all.split([',', ' ']).find(|one| !one.is_empty()));
        let first = first.unwrap_or(DEFAULT);
        if let Some(path) = first.strip_prefix("unix:") {
            return Self::Unix(path.into());
        }
        let address = listen_address(first).map(|address| match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
            IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
            _ => address,
        });
        Self::Tcp(address.map_or(first.to_owned(), |address| address.to_string()))
    }
}

/// Returns what the server says if it is ready.
pub fn ask(target: &Target) -> Result<String, HealthError> {
    let deadline = Instant::now() + WITHIN;
    let answer = match target {
        Target::Tcp(address) => connect(address).and_then(|stream| {
            let limit = |stream: &TcpStream, left| stream.set_read_timeout(Some(left));
            converse(stream, deadline, limit)
        }),
        Target::Unix(path) => UnixStream::connect(path).and_then(|stream| {
            let limit = |stream: &UnixStream, left| stream.set_read_timeout(Some(left));
            converse(stream, deadline, limit)
        }),
    };
    let answer = answer.map_err(|error| HealthError::Silent { target: target.clone(), error })?;
    let no_answer = || HealthError::NoAnswer { target: target.clone() };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    let said = body.trim_end().to_owned();
    match status.ok_or_else(no_answer)? {
        "200" => Ok(said),
        "503" => Err(HealthError::NotReady { said }),
        _ => Err(no_answer()),
    }
}

/// A name may have several addresses: localhost often has two, and a server listens on one of them.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `limit` bounds the next read.
fn converse<S: Read + Write>(
    mut stream: S,
    deadline: Instant,
    limit: impl Fn(&S, Duration) -> io::Result<()>,
) -> io::Result<String> {
    stream.write_all(REQUEST.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while (answer.len() as u64) < MAX_ANSWER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        limit(&stream, left)?;
        match stream.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const REQUEST: &str = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for HealthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { target, error } => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    write!(f, "{target} does not answer within {} s", WITHIN.as_secs())
                }
                _ => write!(f, "cannot reach {target}: {error}"),
            },
            Self::NoAnswer { target } => {
                write!(f, "{target} does not answer like a Herenow server")
            }
            Self::NotReady { said } => write!(f, "not ready: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Target {
        Target::Tcp(address.to_owned())
    }

    #[test]
    fn a_server_is_named_by_a_plain_url_or_a_socket() {
        assert_eq!(Target::parse("http://127.0.0.1:4600"), Ok(tcp("127.0.0.1:4600")));
        assert_eq!(Target::parse("http://[::1]:4600/"), Ok(tcp("[::1]:4600")));
        assert_eq!(Target::parse("http://presence"), Ok(tcp("presence:80")));
        assert_eq!(
            Target::parse("unix:/run/herenow.sock"),
            Ok(Target::Unix("/run/herenow.sock".into()))
        );
        for wrong in ["", "127.0.0.1:4600", "https://example.com", "ws://127.0.0.1:4600"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_server_of_this_machine_is_where_it_listens() {
        for (listen, target) in [
            (None, tcp("127.0.0.1:4600")),
            (Some(""), tcp("127.0.0.1:4600")),
            (Some("0.0.0.0:4700"), tcp("127.0.0.1:4700")),
            (Some("[::]:4600"), tcp("[::1]:4600")),
            (Some("10.0.0.7:80,unix:/run/herenow.sock"), tcp("10.0.0.7:80")),
            (Some("unix:/run/herenow.sock"), Target::Unix("/run/herenow.sock".into())),
        ] {
            assert_eq!(Target::of_this_machine(listen), target, "{listen:?}");
        }
    }
}

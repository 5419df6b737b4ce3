//! Where to listen, as an operator writes it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use herenow_server::config::listen_address;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `0.0.0.0:4600`
    Tcp(SocketAddr),
    /// `unix:/run/herenow.sock`
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("write the path of the socket, such as unix:/run/herenow.sock"),
            Some(path) if path.contains('\0') => Err("a path holds no NUL"),
            Some(path) if path.len() > MAX_PATH_BYTES => {
                Err("the path of a Unix socket has at most 100 bytes; choose a shorter one")
            }
            Some(path) => Ok(Self::Unix(path.into())),
            None => listen_address(text).map(Self::Tcp).ok_or(
                "write an address and a port such as 0.0.0.0:4600 or localhost:4600, or a path such \
                 as unix:/run/herenow.sock",
            ),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

const UNIX: &str = "unix:";

/// Linux allows 107 bytes, other systems 103.
const MAX_PATH_BYTES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_with_a_port_or_a_path() {
        for text in ["0.0.0.0:4600", "[::]:4600", "unix:/run/herenow.sock", "unix:here.sock"] {
            let place: Place = text.parse().expect(text);
            assert_eq!(place.to_string(), text);
        }
        let place: Place = "localhost:4600".parse().expect("a name that every machine has");
        assert_eq!(place.to_string(), "127.0.0.1:4600");
        let long = format!("unix:/{}", "x".repeat(MAX_PATH_BYTES));
        for text in [
            "",
            "4600",
            "localhost",
            "localhost:",
            "example.com:80",
            "unix:",
            "/run/herenow.sock",
            &long,
            "unix:a\0b",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}

//! Which server a command asks: where it listens itself, or the proxy before it, which may speak TLS.

use std::fmt;
use std::io;
use std::sync::Arc;

use herenow_server::tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::health::Target;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Without encryption: the server itself, on this machine or in a network that is trusted.
    Plain(Target),
    /// Over TLS.
    Tls {
        /// A name, or an address without brackets: what the certificate is for.
        host: String,
        /// `host:port`, as a header and a URL have it. Without the port if that is 443.
        authority: String,
        port: u16,
    },
}

/// A connection of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

const HTTPS_PORT: u16 = 443;

impl Origin {
    /// Reads `https://host`, or what [`Target::parse`] reads.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
        let Some(url) = url else {
            let target = Target::parse(text);
            return target
                .map(Self::Plain)
                .map_err(|how| format!("{how}, or https:// and its proxy"));
        };
        let (Some(host), "/", None, None) = (url.host(), url.path(), url.query(), url.fragment())
        else {
            return Err("write https:// and the host, without a path: the commands ask at \
                        /api/presence"
                .into());
        };
        let port = url.port().unwrap_or(HTTPS_PORT);
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host = match host {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Ok(Self::Tls { host, authority, port })
    }

    /// What the header `Host` says.
    pub fn host(&self) -> &str {
        match self {
            Self::Plain(Target::Tcp(address)) => address,
            Self::Plain(Target::Unix(_)) => "localhost",
            Self::Tls { authority, .. } => authority,
        }
    }

    /// What [`Self::connect`] needs for TLS: the certificates are read once.
    pub fn tls(&self) -> io::Result<Option<TlsConnector>> {
        match self {
            Self::Plain(_) => Ok(None),
            Self::Tls { .. } => Ok(Some(TlsConnector::from(Arc::new(tls::client_config()?)))),
        }
    }

    pub async fn connect(&self, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Plain(Target::Tcp(address)) => Ok(Box::new(TcpStream::connect(address).await?)),
            Self::Plain(Target::Unix(path)) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tls { host, port, .. } => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(target) => target.fmt(f),
            Self::Tls { authority, .. } => write!(f, "https://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_it_is_read() {
        for url in ["https://a.example", "https://a.example:8443", "https://[::1]:8443"] {
            let origin = Origin::parse(url).expect("an origin");
            assert_eq!(origin.to_string(), url);
            assert_eq!(origin.host(), &url["https://".len()..]);
        }
        let port = |url| match Origin::parse(url) {
            Ok(Origin::Tls { port, .. }) => port,
            other => panic!("{other:?}"),
        };
        assert_eq!((port("https://a.example/"), port("https://a.example:8443")), (443, 8443));
        let plain = Origin::parse("http://127.0.0.1:4600").expect("an origin");
        assert_eq!(plain, Origin::Plain(Target::Tcp("127.0.0.1:4600".into())));
        for wrong in ["https://", "https://a.example/herenow", "https://a.example?x", "ftp://a"] {
            assert!(Origin::parse(wrong).is_err(), "{wrong}");
        }
    }
}

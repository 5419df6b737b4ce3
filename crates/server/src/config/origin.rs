//! Origins of pages, as the setting `allowedOrigins` names them and as browsers send them. What is
//! written is brought into the form that browsers send, so that matching compares bytes; what no
//! browser ever sends is refused. Knows no requests.

use std::fmt;

use url::{Host, Url};

/// An origin, or all origins below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Form);

/// Why a text is no origin that a browser could send. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginError {
    /// `*`: the setting is for restricting.
    Any,
    /// There is no scheme.
    NoScheme {
        /// The text with one.
        right: String,
    },
    /// The scheme of a WebSocket, where the scheme of the page belongs.
    WebSocketScheme {
        /// The text with the scheme of a page.
        right: String,
    },
    /// `file:`: such pages have the origin `null`.
    File,
    /// A scheme that no supported kind of page has.
    Scheme,
    /// A path, a query or a user beside scheme, host and port.
    TooMuch {
        /// The text without them.
        right: String,
    },
    /// A host or a port that cannot exist.
    Host,
    /// A `*` that is not the whole first label of a domain under `http` or `https`.
    Wildcard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Exactly this text.
    One(String),
    /// One or more labels between the two.
    Below {
        /// The scheme with `://`.
        scheme: String,
        /// The domain with a dot before it, and its port if that is not the scheme's default.
        domain: String,
    },
}

/// Schemes of pages in app shells and browser extensions. Their origins have no default port and
/// their hosts are names that the shell makes up.
pub const APP_SCHEMES: [&str; 7] = [
    "app",
    "capacitor",
    "chrome-extension",
    "ionic",
    "moz-extension",
    "safari-web-extension",
    "tauri",
];

/// What browsers send for pages without an origin of their own.
const NULL: &str = "null";

impl Origin {
    /// Reads `https://example.com`, `https://*.example.com:8443`, `capacitor://localhost` or
    /// `null`.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.eq_ignore_ascii_case(NULL) {
            return Ok(Self(Form::One(NULL.into())));
        }
        if text == "*" {
            return Err(OriginError::Any);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let host = text.trim_start_matches('/');
            return Err(OriginError::NoScheme { right: format!("https://{host}") });
        };
        let scheme = scheme.to_ascii_lowercase();
        let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let right = |scheme: &str| format!("{scheme}://{host}");
        match scheme.as_str() {
            "ws" => return Err(OriginError::WebSocketScheme { right: right("http") }),
            "wss" => return Err(OriginError::WebSocketScheme { right: right("https") }),
            "file" => return Err(OriginError::File),
            _ => {}
        }
        let is_app = APP_SCHEMES.contains(&scheme.as_str());
        if !is_app && !matches!(scheme.as_str(), "http" | "https") {
            return Err(OriginError::Scheme);
        }
        // A slash at the end is how address bars show an origin.
        if host.len() < authority.len() || !matches!(path, "" | "/") {
            return Err(OriginError::TooMuch { right: right(&scheme) });
        }
        if is_app { app(&scheme, host) } else { web(&scheme, host) }.map(Self)
    }

    /// Whether a browser that sends `origin` shows a page of this one.
    pub fn matches(&self, origin: &[u8]) -> bool {
        match &self.0 {
            Form::One(text) => origin.eq_ignore_ascii_case(text.as_bytes()),
            Form::Below { scheme, domain } => {
                let (before, after) = (scheme.len(), domain.len());
                if origin.len() <= before + after {
                    return false;
                }
                let (start, rest) = origin.split_at(before);
                let (labels, end) = rest.split_at(rest.len() - after);
                let is_label = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
                start.eq_ignore_ascii_case(scheme.as_bytes())
                    && end.eq_ignore_ascii_case(domain.as_bytes())
                    && labels.iter().all(is_label)
            }
        }
    }
}

fn web(scheme: &str, host: &str) -> Result<Form, OriginError> {
    let below = host.strip_prefix("*.");
    let host = below.unwrap_or(host);
    if host.contains('*') {
        return Err(OriginError::Wildcard);
    }
    // The parser drops tabs and newlines, as browsers do; here they are typing errors.
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(OriginError::Host);
    }
    let url = Url::parse(&format!("{scheme}://{host}")).map_err(|_| OriginError::Host)?;
    if url.port() == Some(0) {
        return Err(OriginError::Host);
    }
    let origin = url.origin().ascii_serialization();
    match (below, url.host()) {
        (None, Some(_)) => Ok(Form::One(origin)),
        (Some(_), Some(Host::Domain(_))) => {
            let scheme = format!("{scheme}://");
            let domain = format!(".{}", &origin[scheme.len()..]);
            Ok(Form::Below { scheme, domain })
        }
        (Some(_), Some(_)) => Err(OriginError::Wildcard),
        (_, None) => Err(OriginError::Host),
    }
}

fn app(scheme: &str, host: &str) -> Result<Form, OriginError> {
    if host.contains('*') {
        return Err(OriginError::Wildcard);
    }
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_right) {
        return Err(OriginError::Host);
    }
    Ok(Form::One(format!("{scheme}://{host}")))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::One(text) => f.write_str(text),
            Form::Below { scheme, domain } => write!(f, "{scheme}*{domain}"),
        }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("to allow every origin, leave the setting out"),
            Self::NoScheme { right } => write!(f, "it has no scheme; write `{right}`"),
            Self::WebSocketScheme { right } => write!(
                f,
                "an origin has the scheme of the page, not of the WebSocket; write `{right}`"
            ),
            Self::File => f.write_str("browsers send `null` for pages of files; write `null`"),
            Self::Scheme => {
                let apps = APP_SCHEMES.join(", ");
                write!(f, "its scheme should be http, https or an app's ({apps})")
            }
            Self::TooMuch { right } => {
                write!(f, "an origin has only a scheme, a host and a port; write `{right}`")
            }
            Self::Host => {
                f.write_str("no page can have such a host or port; write both as in a URL")
            }
            Self::Wildcard => f.write_str(
                "`*` stands only for the subdomains of a domain under http or https, as in \
                 `https://*.example.com`; list other origins one by one",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_brought_into_the_form_that_browsers_send() {
        for (written, sent) in [
            ("https://example.com", "https://example.com"),
            ("HTTPS://Example.COM", "https://example.com"),
            ("https://example.com/", "https://example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://xn--bcher-kva.example:8443", "https://xn--bcher-kva.example:8443"),
            ("http://127.1:3000", "http://127.0.0.1:3000"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("ionic://localhost", "ionic://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("null", "null"),
        ] {
            let origin = Origin::parse(written).expect(written);
            assert_eq!(origin.to_string(), sent, "{written}");
            assert!(origin.matches(sent.as_bytes()), "{written}");
        }
    }

    #[test]
    fn a_leading_star_stands_for_one_or_more_labels() {
        let origin = Origin::parse("https://*.Bücher.example:443").expect("an origin");
        assert_eq!(origin.to_string(), "https://*.xn--bcher-kva.example");
        for sent in ["https://a.xn--bcher-kva.example", "https://A.b-1.xn--bcher-kva.example"] {
            assert!(origin.matches(sent.as_bytes()), "{sent}");
        }
        for sent in [
            "https://xn--bcher-kva.example",
            "https://.xn--bcher-kva.example",
            "http://a.xn--bcher-kva.example",
            "https://a.xn--bcher-kva.example:8443",
            "https://axn--bcher-kva.example",
            "https://a.xn--bcher-kva.example.evil.test",
            "https://evil.test/.xn--bcher-kva.example",
            "https://evil.test:1.xn--bcher-kva.example",
            "https://é.xn--bcher-kva.example",
            "null",
            "",
        ] {
            assert!(!origin.matches(sent.as_bytes()), "{sent}");
        }
        let with_port = Origin::parse("http://*.localhost:3000").expect("an origin");
        assert!(with_port.matches(b"http://a.localhost:3000"));
        assert!(!with_port.matches(b"http://a.localhost"));
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_what_to_write() {
        for (written, says) in [
            ("*", "leave the setting out"),
            ("example.com", "write `https://example.com`"),
            ("//example.com", "write `https://example.com`"),
            ("wss://example.com/api", "write `https://example.com`"),
            ("ws://localhost:3000", "write `http://localhost:3000`"),
            ("file:///index.html", "write `null`"),
            ("ftp://example.com", "should be http, https or an app's (app, capacitor"),
            ("https://a.b/path", "write `https://a.b`"),
            ("https://a.b?x", "write `https://a.b`"),
            ("https://user@a.b", "write `https://a.b`"),
            ("https://", "such a host or port"),
            ("https:///a.b", "a host and a port"),
            ("https://a b", "such a host or port"),
            ("https://a.b:0", "such a host or port"),
            ("https://a.b:65536", "such a host or port"),
            ("https://1.2.3.4.5", "such a host or port"),
            ("https://*", "`https://*.example.com`"),
            ("https://*.", "such a host or port"),
            ("https://a.*.b", "`https://*.example.com`"),
            ("https://app-*.example.com", "`https://*.example.com`"),
            ("https://*.*.example.com", "`https://*.example.com`"),
            ("https://*.10.0.0.1", "`https://*.example.com`"),
            ("chrome-extension://*", "`https://*.example.com`"),
            ("tauri://", "such a host or port"),
        ] {
            match Origin::parse(written) {
                Ok(origin) => panic!("{written} should be refused, gave {origin}"),
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains(says), "{written}: {said}");
                }
            }
        }
    }
}

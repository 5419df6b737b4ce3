//! The console: a page on which an operator sees channels, members and what happens, and removes
//! users. Its files are static, and all that they show comes from `/api/presence`, for which the page
//! asks for a service key. Knows which files belong to it and what a browser may do with them.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_FRAME_OPTIONS,
};

use crate::answer::{self, Answer};
use crate::config::Pages;
use crate::embedded;

/// Where it is.
const PATH: &str = "/console";

/// Whether a path belongs to it.
pub fn has(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The page or one of its files. `None`: there is no such file.
pub fn page(path: &str, pages: Pages) -> Option<Answer> {
    let name = match path.strip_prefix(PATH)? {
        "" | "/" => "/index.html",
        other => other,
    };
    let (_, ending) = name.rsplit_once('.')?;
    // What checks the types of the scripts lies beside them.
    if !SERVED.contains(&ending) {
        return None;
    }
    let path = format!("console{name}");
    let bytes = embedded::find(&path)?;
    let file = match (ending, pages) {
        ("html", Pages::Development) => development(bytes),
        _ => Cow::Borrowed(bytes),
    };
    Some(answer::with_headers(embedded::file(&path, file), headers()))
}

/// The page learns that it may ask for the key of the run: elsewhere that would only be an error in its
/// log.
fn development(html: &'static [u8]) -> Cow<'static, [u8]> {
    let html = str::from_utf8(html).expect("the project's pages are UTF-8");
    Cow::Owned(html.replace(IN_PRODUCTION, IN_DEVELOPMENT).into_bytes())
}

/// The answer where no service key is configured, so that the page could show nothing.
pub fn closed() -> Answer {
    answer::text(StatusCode::NOT_FOUND, CLOSED)
}

/// What users have made reaches the page as text. Should a mistake make markup of it, the browser runs
/// none of its scripts, loads nothing for it and sends nothing elsewhere.
fn headers() -> [(HeaderName, HeaderValue); 4] {
    [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]
}

const IN_PRODUCTION: &str = r#"data-server="production""#;
const IN_DEVELOPMENT: &str = r#"data-server="development""#;

const SERVED: [&str; 4] = ["html", "css", "js", "svg"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const CLOSED: &str = "The console is closed, because this server has no service key. Set SERVICE_KEY \
                      or SERVICE_KEY_FILE and start it again.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_nothing_beside_it() {
        for path in ["/console", "/console/", "/console/index.html", "/console/main.js"] {
            assert!(has(path) && page(path, Pages::Production).is_some(), "{path}");
        }
        for path in [
            "/console/tsconfig.json",
            "/console/package.json",
            "/console/../demo/index.html",
            "/console/nothing.js",
            "/console//index.html",
        ] {
            assert!(has(path) && page(path, Pages::Production).is_none(), "{path}");
        }
        assert!(!has("/consoles") && !has("/"));
    }

    #[test]
    fn nothing_in_its_html_needs_more_than_the_policy_allows() {
        let html = embedded::find("console/index.html").expect("it is embedded");
        let html = std::str::from_utf8(html).expect("UTF-8");
        assert!(html.contains(IN_PRODUCTION));
        for forbidden in ["<style", " style=", "javascript:", "http:", "https:", "<base"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for script in html.split("<script").skip(1) {
            let (head, rest) = script.split_once('>').expect("it ends");
            assert!(head.contains("src=\"/console/"), "{head}");
            assert!(rest.starts_with("</script>"), "no script in the page itself");
        }
    }
}

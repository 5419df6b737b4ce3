//! Where public keys come from: a file or a URL. What both have in common for those who start a server.

use std::io;
use std::sync::Arc;

use super::Verifier;
use super::following::Following;
use super::jwks::Jwks;
use super::jwks_file::{self, JwksFile};
use super::jwks_renewal;
use super::jwks_url::{JwksUrl, JwksUrlError};

/// See the module.
#[derive(Clone, Debug)]
pub enum JwksSource {
    /// A file, which is read again when it changes.
    File(JwksFile),
    /// A URL, which is fetched again when the answer is no longer fresh.
    Url(JwksUrl),
}

impl JwksSource {
    /// The keys that it had at the start. `None`: they cannot be had yet.
    pub fn jwks(&self) -> Option<&Jwks> {
        match self {
            Self::File(file) => Some(file.jwks()),
            Self::Url(url) => url.jwks(),
        }
    }

    /// Why it has no keys yet.
    pub fn failure(&self) -> Option<JwksUrlError> {
        match self {
            Self::File(_) => None,
            Self::Url(url) => url.failure(),
        }
    }

    /// What the operator should hear about it.
    pub fn warnings(&self) -> Vec<String> {
        let of_keys = self.jwks().into_iter().flat_map(Jwks::warnings).cloned();
        let of_url = match self {
            Self::File(_) => None,
            Self::Url(url) => url.warning(),
        };
        of_keys.chain(of_url).collect()
    }

    /// Keeps the keys of `verifier`, which was made with this source, as the source has them.
    pub fn follow(self, verifier: Arc<Verifier>) -> io::Result<Following> {
        match (self, verifier.renewal().cloned()) {
            (Self::Url(url), Some(renewal)) => jwks_renewal::follow(&url, renewal, verifier),
            (Self::File(file), _) => jwks_file::follow(file, verifier),
            (Self::Url(_), None) => unreachable!("a verifier of a URL has a renewal"),
        }
    }
}

impl From<JwksFile> for JwksSource {
    fn from(file: JwksFile) -> Self {
        Self::File(file)
    }
}

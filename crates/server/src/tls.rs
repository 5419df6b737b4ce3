//! Connections that this program opens over TLS: to a server that a command asks, and to the endpoints
//! of webhooks. The server itself listens without TLS, behind a proxy.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Trusts what this machine trusts, or the certificates in the file that `SSL_CERT_FILE` names.
pub fn client_config() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "this machine has no certificates of authorities, so no https server can be trusted; \
             install them (on Debian the package ca-certificates) or set SSL_CERT_FILE",
        ));
    }
    trusting(roots)
}

/// Trusts these authorities.
pub fn trusting(roots: RootCertStore) -> io::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

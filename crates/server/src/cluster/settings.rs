//! What the operator says of the cluster, checked: the NATS servers and how to identify to them, and the names
//! of the cluster and of this node.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_nats::ServerAddr;
use herenow_cluster::NodeName;
use rustls_native_certs::load_certs_from_paths;
use url::Url;

use super::error::ClusterError;
use crate::config::Settings;

/// What is given, as it was written.
#[derive(Clone, Debug, Default)]
pub struct ClusterFlags {
    /// `--cluster`. May hold a password.
    pub servers: Option<String>,
    /// `--cluster-name`.
    pub name: Option<String>,
    /// `--node`.
    pub node: Option<String>,
    /// `--cluster-credentials`.
    pub credentials: Option<PathBuf>,
    /// `--cluster-ca`.
    pub ca: Option<PathBuf>,
}

/// See the module. Shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The URLs of the NATS servers, without users and passwords.
    pub(crate) servers: Vec<Url>,
    pub(super) identity: Identity,
    /// Whose certificate the NATS servers have. Without it, one that this machine trusts.
    pub(super) ca: Option<PathBuf>,
    /// Of the cluster.
    pub(crate) name: NodeName,
    /// Of this node.
    pub(crate) node: NodeName,
}

/// As whom to connect.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Identity {
    Nobody,
    Token(String),
    User {
        name: String,
        password: String,
    },
    /// The contents of a file of credentials.
    Credentials(String),
}

/// The most servers that may be named.
pub(super) const MAX_SERVERS: usize = 16;
const DEFAULT_NAME: &str = "herenow";
const MAX_FILE_BYTES: u64 = 64 * 1024;

impl ClusterSettings {
    /// `None` without `--cluster`.
    pub fn parse(flags: ClusterFlags) -> Result<Option<Arc<Self>>, ClusterError> {
        let ClusterFlags { servers, name, node, credentials, ca } = flags;
        let Some(servers) = servers else {
            let others = [
                ("--cluster-name", name.is_some()),
                ("--node", node.is_some()),
                ("--cluster-credentials", credentials.is_some()),
                ("--cluster-ca", ca.is_some()),
            ];
            let given = others.into_iter().find(|(_, is_given)| *is_given);
            return given.map_or(Ok(None), |(flag, _)| Err(ClusterError::WithoutCluster(flag)));
        };
        let (servers, in_urls) = parse_servers(&servers)?;
        let identity = match (credentials, in_urls) {
            (None, identity) => identity,
            (Some(path), Identity::Nobody) => read_credentials(path)?,
            (Some(_), _) => return Err(ClusterError::TwoIdentities),
        };
        if let Some(path) = &ca {
            let found = load_certs_from_paths(Some(path), None);
            if found.certs.is_empty() {
                let expected = "a certificate in PEM format";
                return Err(ClusterError::Contents("--cluster-ca", path.clone(), expected));
            }
        }
        let name = name.as_deref().unwrap_or(DEFAULT_NAME);
        let name = NodeName::parse(name).ok_or(ClusterError::Name("--cluster-name"))?;
        let node = match node {
            Some(node) => NodeName::parse(&node).ok_or(ClusterError::Name("--node"))?,
            None => name_of_this_machine().ok_or(ClusterError::HostName)?,
        };
        Ok(Some(Arc::new(Self { servers, identity, ca, name, node })))
    }

    /// Refuses what has no right meaning with several nodes.
    pub fn check(&self, settings: &Settings) -> Result<(), ClusterError> {
        if settings.truth_probe_ms > 0 {
            let why = "the probe measures one node alone; set it to 0";
            return Err(ClusterError::Setting("truthProbeMs", why));
        }
        Ok(())
    }

    /// The NATS servers, for the operator's eyes.
    pub fn shown_servers(&self) -> String {
        self.servers.iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// The name of the cluster.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        self.node.as_str()
    }

    /// As the client wants them.
    pub(super) fn addresses(&self) -> Vec<ServerAddr> {
        let addresses = self.servers.iter().cloned().map(ServerAddr::from_url);
        addresses.map(|address| address.expect("its scheme was checked")).collect()
    }
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClusterSettings");
        shown.field("servers", &self.shown_servers());
        shown.field("name", &self.name).field("node", &self.node).finish_non_exhaustive()
    }
}

/// Host and port of a URL.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT))
}

const DEFAULT_PORT: u16 = 4222;

/// The URLs without the identity that all of them name.
fn parse_servers(text: &str) -> Result<(Vec<Url>, Identity), ClusterError> {
    let mut servers = Vec::new();
    let mut identities = Vec::new();
    for (at, text) in (1..).zip(text.split(',')) {
        let mut url = Url::parse(text.trim()).map_err(|_| ClusterError::Url(at))?;
        let is_nats = matches!(url.scheme(), "nats" | "tls");
        let has_more =
            !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
        if !is_nats || has_more || url.host_str().is_none_or(str::is_empty) {
            return Err(ClusterError::Url(at));
        }
        identities.push(identity_in(&url));
        let is_without = url.set_username("").is_ok() && url.set_password(None).is_ok();
        if !is_without {
            return Err(ClusterError::Url(at));
        }
        servers.push(url);
    }
    if servers.len() > MAX_SERVERS {
        return Err(ClusterError::TooManyServers);
    }
    let identity = identities.pop().unwrap_or(Identity::Nobody);
    if identities.iter().any(|other| *other != identity) {
        return Err(ClusterError::TwoIdentities);
    }
    Ok((servers, identity))
}

/// A user alone is a token, as for NATS's own programs.
fn identity_in(url: &Url) -> Identity {
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (url.username(), url.password()) {
        ("", None) => Identity::Nobody,
        (token, None) => Identity::Token(decoded(token)),
        (name, Some(password)) => {
            Identity::User { name: decoded(name), password: decoded(password) }
        }
    }
}

fn read_credentials(path: PathBuf) -> Result<Identity, ClusterError> {
    const FLAG: &str = "--cluster-credentials";
    let read = fs::metadata(&path).and_then(|found| match found.len() {
        0..=MAX_FILE_BYTES => fs::read_to_string(&path),
        _ => Err(std::io::Error::other("it is too large")),
    });
    let text = match read {
        Ok(text) => text,
        Err(error) => return Err(ClusterError::File(FLAG, path, error)),
    };
    match async_nats::ConnectOptions::with_credentials(&text) {
        Ok(_) => Ok(Identity::Credentials(text)),
        Err(_) => {
            Err(ClusterError::Contents(FLAG, path, "a user's JWT and seed, as `nsc` writes them"))
        }
    }
}

/// Dots cannot stand in a subject's part.
fn name_of_this_machine() -> Option<NodeName> {
    let system = rustix::system::uname();
    NodeName::parse(&system.nodename().to_str().ok()?.replace('.', "-"))
}

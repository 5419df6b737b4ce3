//! Why a node cannot be one of a cluster. Each is one sentence that says what to change; none shows a
//! password, since no URL is repeated.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// See the module.
#[derive(Debug)]
pub enum ClusterError {
    /// A flag that has no effect without `--cluster`.
    WithoutCluster(&'static str),
    /// The server at this place of `--cluster`, counted from 1, is not a URL of NATS.
    Url(usize),
    /// More servers than a client should be given.
    TooManyServers,
    /// Two URLs have different users or passwords, or one has some and there is a file of credentials.
    TwoIdentities,
    /// The value of this flag cannot stand in a subject.
    Name(&'static str),
    /// The name of this machine cannot stand in a subject.
    HostName,
    /// The file of this flag cannot be read.
    File(&'static str, PathBuf, io::Error),
    /// The file of this flag does not hold what it should.
    Contents(&'static str, PathBuf, &'static str),
    /// A setting that has no right meaning with `--cluster`, and why.
    Setting(&'static str, &'static str),
    /// No address is known for this host.
    UnknownHost(String),
    /// The NATS server refuses the user and password, or the credentials.
    Credentials(String),
    /// No TLS connection comes about.
    Tls(String),
    /// The NATS server is older than 2.9.
    TooOld(String, String),
    /// JetStream does not answer there.
    NoJetStream(String),
    /// JetStream refuses the bucket, for this reason.
    Bucket(String),
    /// The user of the NATS server may not do this.
    Permission(String),
    /// The cluster's nodes speak another version of the protocol between them.
    Protocol(u32),
    /// Nothing names a cluster.
    NotNamed,
    /// None of these NATS servers accepts a connection.
    Away(String),
    /// There is no cluster of this name.
    NoCluster(String),
    /// A node of this name beats.
    NodeLives(String),
    /// The system gave no thread, or no certificates.
    System(io::Error),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithoutCluster(flag) => write!(
                f,
                "{flag} has no effect without --cluster: set --cluster to the URLs of the NATS \
                 servers, or leave {flag} out"
            ),
            Self::Url(at) => write!(
                f,
                "server {at} of --cluster is not the URL of a NATS server: write \
                 nats://host:4222, or tls://host:4222 for TLS, separated by commas"
            ),
            Self::TooManyServers => write!(
                f,
                "--cluster names more than {} NATS servers: name three",
                super::settings::MAX_SERVERS
            ),
            Self::TwoIdentities => f.write_str(
                "--cluster names two users or passwords: write the same one into each URL, or none \
                 with --cluster-credentials",
            ),
            Self::Name(flag) => {
                write!(f, "{flag} should be 1 to 63 letters, digits, hyphens and underscores")
            }
            Self::HostName => f.write_str(
                "the name of this machine cannot be the name of a node: set --node to 1 to 63 \
                 letters, digits, hyphens and underscores",
            ),
            Self::File(flag, path, error) => {
                write!(f, "the file {} of {flag} cannot be read: {error}", path.display())
            }
            Self::Contents(flag, path, expected) => {
                write!(f, "the file {} of {flag} should hold {expected}", path.display())
            }
            Self::Setting(setting, why) => {
                write!(f, "{setting} cannot be used with --cluster: {why}")
            }
            Self::UnknownHost(host) => write!(
                f,
                "no address is known for the NATS server {host}: correct --cluster, or the DNS entry"
            ),
            Self::Credentials(host) => write!(
                f,
                "the NATS server {host} refuses the user: correct the user and password in \
                 --cluster, or the file of --cluster-credentials"
            ),
            Self::Tls(host) => write!(
                f,
                "the certificate of the NATS server {host} is not trusted: set --cluster-ca to that \
                 of its authority"
            ),
            Self::TooOld(host, version) => {
                write!(f, "the NATS server {host} is version {version}: 2.9 or later is needed")
            }
            Self::NoJetStream(host) => write!(
                f,
                "JetStream does not answer at the NATS server {host}: enable it there \
                 (`jetstream {{}}` in its configuration, or the flag -js), and for the account of the user"
            ),
            Self::Bucket(why) => write!(f, "JetStream refuses the bucket of the cluster: {why}"),
            Self::Permission(what) => write!(
                f,
                "the user of the NATS server lacks a permission: {what}. docs/configuration.md lists those \
                 that are needed"
            ),
            Self::Protocol(theirs) => write!(
                f,
                "the nodes of this cluster speak version {theirs} of the protocol between nodes, and \
                 this program version {}: upgrade the older ones",
                super::PROTOCOL
            ),
            Self::NotNamed => f.write_str(
                "name the NATS servers of the cluster with --cluster or HERENOW_CLUSTER",
            ),
            Self::Away(servers) => write!(f, "no NATS server accepts a connection: {servers}"),
            Self::NoCluster(name) => write!(
                f,
                "there is no cluster named {name} on these NATS servers; --cluster-name names another"
            ),
            Self::NodeLives(name) => write!(
                f,
                "a node named {name} is in the cluster and alive: give each node a name of its own \
                 with --node"
            ),
            Self::System(error) => write!(f, "the cluster cannot be joined: {error}"),
        }
    }
}

impl std::error::Error for ClusterError {}

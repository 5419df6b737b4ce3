//! The words that name a cluster, and the commands that ask about one.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use herenow_server::cluster::ClusterFlags;

/// Which cluster, and as whom.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// The NATS servers through which several servers are one presence, such as nats://a:4222,nats://b:4222; all of one cluster, with JetStream [default: none, the server is alone]
    #[arg(long, env = "HERENOW_CLUSTER", value_name = "URLS", hide_env_values = true)]
    pub cluster: Option<String>,
    /// The name of the cluster: servers with the same name are one presence [default: herenow]
    #[arg(long, env = "HERENOW_CLUSTER_NAME", value_name = "NAME", hide_env_values = true)]
    pub cluster_name: Option<String>,
    /// The name of this node, which no other node of the cluster has [default: the name of the machine]
    #[arg(long, env = "HERENOW_NODE", value_name = "NAME", hide_env_values = true)]
    pub node: Option<String>,
    /// A file with the JWT and seed of the NATS user [default: none]
    #[arg(long, env = "HERENOW_CLUSTER_CREDENTIALS", value_name = "FILE", hide_env_values = true)]
    pub cluster_credentials: Option<PathBuf>,
    /// The certificates of the authority that the NATS servers have theirs from, in PEM format; TLS is required with it [default: those that this machine trusts]
    #[arg(long, env = "HERENOW_CLUSTER_CA", value_name = "FILE", hide_env_values = true)]
    pub cluster_ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Cluster {
    #[command(subcommand)]
    pub command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the nodes of a cluster, as NATS knows them; the exit code is 1 if a node is not heard
    #[command(after_help = STATUS_EXAMPLES)]
    Status(ClusterStatus),
}

#[derive(Debug, Args)]
pub struct ClusterStatus {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Write one JSON object per line
    #[arg(long)]
    pub json: bool,
}

impl ClusterArgs {
    /// As they were written.
    pub fn flags(&self) -> ClusterFlags {
        ClusterFlags {
            servers: self.cluster.clone(),
            name: self.cluster_name.clone(),
            node: self.node.clone(),
            credentials: self.cluster_credentials.clone(),
            ca: self.cluster_ca.clone(),
        }
    }
}

const STATUS_EXAMPLES: &str = "\
Examples:
  herenow cluster status --cluster nats://a:4222,nats://b:4222
  HERENOW_CLUSTER=nats://a:4222 herenow cluster status --json";

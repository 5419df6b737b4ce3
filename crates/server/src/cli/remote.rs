//! The words of the commands that ask a running server.

use std::path::PathBuf;

use clap::Args;

use crate::remote::Origin;

/// Which server is asked, with which key, and how its answer is written.
#[derive(Debug, Args)]
pub struct Remote {
    /// The server itself, or its proxy at https:// [default: the address in HERENOW_LISTEN, or http://127.0.0.1:4600]
    #[arg(long, env = "HERENOW_URL", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = Origin::parse)]
    pub url: Option<Origin>,
    /// A file whose first line is a service key; or set SERVICE_KEY
    #[arg(long, env = "SERVICE_KEY_FILE", value_name = "FILE", hide_env_values = true)]
    pub service_key_file: Option<PathBuf>,
    /// Write one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Channels {
    /// Only channels whose names begin with this text, with or without presence:
    #[arg(default_value = "")]
    pub prefix: String,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Args)]
pub struct Who {
    /// The channel, with or without presence:
    pub channel: String,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Args)]
pub struct Where {
    /// The user's id
    pub user: String,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// The channel, with or without presence:
    pub channel: String,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Args)]
pub struct Kick {
    /// The channel, with or without presence:
    pub channel: String,
    /// The user's id
    pub user: String,
    /// How long the user is refused in the channel: 90s, 15m, 1h, at most 24h
    #[arg(long = "for", default_value = "1m", value_name = "TIME", value_parser = super::lifetime_s)]
    pub time: u64,
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The channel, with or without presence:
    pub channel: String,
    /// The user's id
    pub user: String,
    #[command(flatten)]
    pub remote: Remote,
}

pub const CHANNELS_EXAMPLES: &str = "\
Examples:
  SERVICE_KEY_FILE=/run/secrets/service herenow channels
  herenow channels game- --json --url http://127.0.0.1:4700";

pub const WHO_EXAMPLES: &str = "\
Examples:
  herenow who lobby
  herenow who presence:game-1 --json";

pub const WHERE_EXAMPLES: &str = "\
Examples:
  herenow where jane
  herenow where jane --json";

pub const WATCH_EXAMPLES: &str = "\
Examples:
  herenow watch lobby
  herenow watch lobby --json --url https://presence.example | jq -r .type";

pub const KICK_EXAMPLES: &str = "\
Examples:
  herenow kick lobby jane
  herenow kick lobby jane --for 1h";

pub const EXPLAIN_EXAMPLES: &str = "\
Examples:
  herenow explain lobby jane
  herenow explain lobby jane --json | jq -r .summary";

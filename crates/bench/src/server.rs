//! The servers that are measured and how each is started.
//!
//! Knows names, commands and cores. Refuses to know what is measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::floor::Writing;
use crate::messages;
use crate::process::{self, DRIVER_CORE, Process, SERVER_CORE};

/// A server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// This project's, with so many loops.
    Herenow { loops: usize },
    /// The same with one loop, driven over a Unix socket.
    HerenowUnix,
    /// The same with one loop and a webhook for every channel, whose receiver is dead.
    HerenowWebhooks,
    /// Another build of this project's, with one loop: the commit before a change, say.
    HerenowBefore,
    /// Bun's native publish.
    Bun,
    /// Node with the package ws.
    NodeWs,
    /// No server: what the kernel asks for the writes alone.
    Floor(Writing),
}

impl Server {
    pub const HERENOW: Self = Self::Herenow { loops: 1 };

    /// How many loops share its work, as far as that is ours to say.
    pub fn loops(self) -> usize {
        match self {
            Self::Herenow { loops } => loops,
            Self::HerenowUnix | Self::HerenowWebhooks | Self::HerenowBefore => 1,
            Self::Bun | Self::NodeWs | Self::Floor(_) => 1,
        }
    }

    /// Whether it has rosters, snapshots and leaves at all.
    pub fn knows_presence(self) -> bool {
        !matches!(self, Self::Floor(_))
    }

    /// Whether it is installed from packages.
    pub fn is_rival(self) -> bool {
        matches!(self, Self::Bun | Self::NodeWs)
    }

    /// Starts it at a free loopback address.
    pub fn start(self, places: &Places, settings: Settings) -> Result<Process, String> {
        let address = process::free_address().map_err(|error| format!("no free port: {error}"))?;
        let port = address.port().to_string();
        let socket = std::env::temp_dir().join(format!("herenow-bench-{port}.sock"));
        let command = match self {
            Self::Herenow { loops } => {
                serve(&places.herenow, (&address.to_string(), loops), settings)?
            }
            Self::HerenowBefore => {
                let before =
                    places.before.as_ref().ok_or("herenow@before needs --before BINARY")?;
                serve(before, (&address.to_string(), 1), settings)?
            }
            Self::HerenowWebhooks => {
                let settings = Settings { has_dead_webhook: true, ..settings };
                serve(&places.herenow, (&address.to_string(), 1), settings)?
            }
            Self::HerenowUnix => {
                // The port comes last: when it can be connected to, so can the socket.
                let listen = format!("unix:{},{address}", socket.display());
                serve(&places.herenow, (&listen, 1), settings)?
            }
            Self::Bun => {
                let mut command = Command::new(places.rivals.join("node_modules/.bin/bun"));
                command.arg(places.rivals.join("bun.js")).arg(port);
                command
            }
            Self::NodeWs => {
                let mut command = Command::new("node");
                command.arg(places.rivals.join("node-ws.js")).arg(port);
                command
            }
            Self::Floor(writing) => {
                let own = std::env::current_exe().map_err(|error| error.to_string())?;
                let mut command = Command::new(own);
                command.args(["floor", "--port", &port, "--writing", &writing.to_string()]);
                command
            }
        };
        let cores = match self {
            Self::Herenow { loops: 2.. } => vec![SERVER_CORE, DRIVER_CORE],
            _ => vec![SERVER_CORE],
        };
        let process = Process::start(command, address, &cores);
        let process = process.map_err(|error| format!("{self}: {error}"))?;
        Ok(if self == Self::HerenowUnix { process.over_unix(socket) } else { process })
    }
}

/// Where the programs are.
pub struct Places {
    pub herenow: PathBuf,
    /// The other build of this project's server.
    pub before: Option<PathBuf>,
    pub rivals: PathBuf,
}

/// What a case asks of this project's server beyond its defaults.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// Raised only to find the limit of the server where the limit of a connection comes first.
    pub max_messages_per_second: Option<u32>,
    /// Replaces the server's own flush policy, to find it by measurement.
    pub flush_delay_us: Option<u32>,
    /// Raised where a connection subscribes to more channels than by default.
    pub max_channels: Option<u32>,
    /// Lets it take tokens signed with [`messages::signed_token`].
    pub has_public_keys: bool,
    /// Has it tell a webhook of every join and leave. Nothing listens at its address.
    pub has_dead_webhook: bool,
}

/// Port 9 is that of a service which discards all, and which no machine of today runs.
const DEAD_WEBHOOK: &str = "http://127.0.0.1:9/";
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Settings {
    /// What stands in a file, with a name for that, if the defaults are not meant.
    fn config(self) -> Option<(String, Value)> {
        let (mut name, mut realtime) = (String::new(), Map::new());
        if let Some(rate) = self.max_messages_per_second {
            name += &format!("rate-{rate}");
            realtime.insert("maxMessagesPerSecond".into(), rate.into());
            realtime.insert("messageBurst".into(), (2 * rate).into());
        }
        if let Some(channels) = self.max_channels {
            name += &format!("channels-{channels}");
            realtime.insert("maxChannelsPerConnection".into(), channels.into());
        }
        if self.has_dead_webhook {
            name += "webhook";
            let webhook = json!({ "url": DEAD_WEBHOOK, "channels": ["presence:*"], "allowPrivateNetworks": true });
            realtime.insert("webhooks".into(), json!([webhook]));
        }
        (!name.is_empty()).then(|| (name, json!({ "realtime": realtime })))
    }
}

impl Places {
    /// Installs the pinned packages of the rivals where that has not been done.
    pub fn install_rivals(&self) -> Result<(), String> {
        // npm writes this file last, so a broken installation is done again.
        if self.rivals.join("node_modules/.package-lock.json").exists() {
            return Ok(());
        }
        let status = Command::new("npm")
            .arg("ci")
            .current_dir(&self.rivals)
            .status()
            .map_err(|error| format!("the rivals need npm: {error}"))?;
        if !status.success() {
            return Err(format!("npm ci in {} ended with {status}", self.rivals.display()));
        }
        Ok(())
    }

    /// The pinned packages by name.
    pub fn rival_versions(&self) -> Value {
        let text = std::fs::read_to_string(self.rivals.join("package.json")).unwrap_or_default();
        let package: Value = serde_json::from_str(&text).unwrap_or_default();
        package["dependencies"].clone()
    }
}

/// The command that serves with a build of this project's server, at an address with so many loops.
fn serve(
    program: &Path,
    (listen, loops): (&str, usize),
    settings: Settings,
) -> Result<Command, String> {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", listen, "--loops", &loops.to_string()]);
    command.env("JWT_USER_SECRET", messages::TOKEN_SECRET);
    if let Some((name, config)) = settings.config() {
        let path = std::env::temp_dir().join(format!("herenow-bench-{name}.json"));
        std::fs::write(&path, config.to_string())
            .map_err(|error| format!("{}: {error}", path.display()))?;
        command.arg("--config").arg(path);
    }
    if settings.has_dead_webhook {
        command.env("WEBHOOK_SECRET", WEBHOOK_SECRET);
    }
    if settings.has_public_keys {
        command.env("JWT_JWKS_FILE", messages::PUBLIC_KEYS);
    }
    if let Some(delay) = settings.flush_delay_us {
        command.args(["--flush-delay-us", &delay.to_string()]);
    }
    Ok(command)
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Herenow { loops: 1 } => write!(f, "herenow"),
            Self::Herenow { loops } => write!(f, "herenow@{loops}"),
            Self::HerenowUnix => write!(f, "herenow@unix"),
            Self::HerenowWebhooks => write!(f, "herenow@webhooks"),
            Self::HerenowBefore => write!(f, "herenow@before"),
            Self::Bun => write!(f, "bun"),
            Self::NodeWs => write!(f, "node-ws"),
            Self::Floor(Writing::Each) => write!(f, "floor"),
            Self::Floor(writing) => write!(f, "floor@{writing}"),
        }
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let (kind, detail) = name.split_once('@').unwrap_or((name, ""));
        match (kind, detail) {
            ("herenow", "") => Ok(Self::HERENOW),
            ("herenow", "unix") => Ok(Self::HerenowUnix),
            ("herenow", "webhooks") => Ok(Self::HerenowWebhooks),
            ("herenow", "before") => Ok(Self::HerenowBefore),
            ("herenow", loops) => match loops.parse() {
                Ok(loops @ 1..) => Ok(Self::Herenow { loops }),
                _ => Err(format!("{loops} is no number of loops")),
            },
            ("bun", "") => Ok(Self::Bun),
            ("node-ws", "") => Ok(Self::NodeWs),
            ("floor", "") => Ok(Self::Floor(Writing::Each)),
            ("floor", writing) => writing.parse().map(Self::Floor),
            _ => Err(format!(
                "{name} is none of herenow, herenow@LOOPS, herenow@unix, herenow@webhooks, herenow@before, \
                 bun, node-ws, floor, floor@turn, floor@MS"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in [
            "herenow",
            "herenow@2",
            "herenow@unix",
            "herenow@webhooks",
            "herenow@before",
            "bun",
            "node-ws",
            "floor",
            "floor@turn",
            "floor@5",
        ] {
            assert_eq!(name.parse::<Server>().map(|server| server.to_string()), Ok(name.into()));
        }
        assert!("herenow@0".parse::<Server>().is_err());
        assert!("phoenix".parse::<Server>().is_err());
    }
}

//! The words of the command line. Knows how they are written, and nothing of what they cause.

mod cluster;
mod flags;
mod remote;

pub use cluster::{Cluster, ClusterArgs, ClusterCommand, ClusterStatus};
pub use flags::Flags;
pub use remote::{Channels, Explain, Kick, Remote, Watch, Where, Who};

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use herenow_server::auth::quote_large_numbers;
use herenow_server::config::Rehearsal;
use herenow_wire::ChannelName;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;

use crate::health::Target;
use crate::listen::Place;
use crate::pid_file::MAX_PATH_BYTES;

/// A realtime presence server for browsers and programs, over WebSockets.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The format of the log on standard error: text for people, or json with one object per line
    #[arg(long, global = true, env = "HERENOW_LOG_FORMAT", default_value = "text")]
    #[arg(value_name = "FORMAT", hide_env_values = true)]
    pub log_format: LogFormat,
    /// The lowest level to log: error, warn, info, debug or trace
    #[arg(long, global = true, env = "HERENOW_LOG_LEVEL", default_value = "info")]
    #[arg(value_name = "LEVEL", hide_env_values = true)]
    pub log_level: LevelFilter,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run for development: on this machine only, with a demo, the SDK, and tokens without a backend
    #[command(after_help = DEV_EXAMPLES)]
    Dev(Dev),
    /// Run in production
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Show the settings and patterns of a configuration, and whether a user may use a channel
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Make a token from the secret in JWT_USER_SECRET or JWT_USER_SECRET_FILE
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Check whether a running server is ready; the exit code is 0 if it is, and 1 if it is not
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(Health),
    /// Replace a running server with a new process of its program, without refusing a connection; returns when the new process serves, or with exit code 1 if it cannot and the old one stays
    #[command(after_help = UPGRADE_EXAMPLES)]
    Upgrade(Upgrade),
    /// List the channels that are in use on a running server
    #[command(after_help = remote::CHANNELS_EXAMPLES)]
    Channels(Channels),
    /// List the members of a channel; the exit code is 1 if it has none
    #[command(after_help = remote::WHO_EXAMPLES)]
    Who(Who),
    /// List the channels of which a user is a member; the exit code is 1 if there are none
    #[command(after_help = remote::WHERE_EXAMPLES)]
    Where(Where),
    /// Follow a channel until interrupted: in a terminal the list of its members, otherwise one line per event
    #[command(after_help = remote::WATCH_EXAMPLES)]
    Watch(Watch),
    /// Explain why a user is a member of a channel, or is not
    #[command(after_help = remote::EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Remove a user from a channel and refuse the user there for a time; the exit code is 1 if the user was not there
    #[command(after_help = remote::KICK_EXAMPLES)]
    Kick(Kick),
    /// Show a cluster of servers
    Cluster(Cluster),
    /// Print the TypeScript types of a configuration, for a file beside it
    #[command(after_help = TYPES_EXAMPLES)]
    Types,
    /// Print the completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions { shell: Shell },
    /// Print a manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The command that the page describes [default: a summary of all commands]
        command: Option<String>,
    },
    /// Reads a configuration for the server that started this process
    #[command(name = LOAD_CONFIG, hide = true)]
    LoadConfig { path: PathBuf },
}

/// What the binary is called.
pub const NAME: &str = "herenow";

/// The command that the server gives to a process of its own.
pub const LOAD_CONFIG: &str = "load-config";

#[derive(Debug, Args)]
pub struct Check {
    /// The user as `auth` in rules: {"id": "jane", "role": "admin"}; without it, an unauthenticated connection
    #[arg(long = "as", value_name = "JSON", value_parser = auth, requires = "channel")]
    pub auth: Option<Map<String, Value>>,
    /// The channel, such as presence:lobby
    #[arg(value_parser = channel)]
    pub channel: Option<ChannelName>,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Debug, Args)]
pub struct Dev {
    /// The port on 127.0.0.1; 0 chooses a free port
    #[arg(long, env = "HERENOW_PORT", default_value_t = 4600, hide_env_values = true)]
    pub port: u16,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen: an address and a port such as 0.0.0.0:4600 or [::]:4600, or for a proxy on this machine a Unix socket such as unix:/run/herenow.sock; may be given more than once, in the environment separated by commas
    #[arg(long, env = "HERENOW_LISTEN", value_name = "PLACE", hide_env_values = true)]
    #[arg(value_delimiter = ',', required = true)]
    pub listen: Vec<Place>,
    /// Permissions of the Unix sockets to listen on, in octal; write permission allows to connect [default: 660]
    #[arg(long, env = "HERENOW_UNIX_SOCKET_MODE", value_name = "MODE", hide_env_values = true)]
    #[arg(value_parser = unix_mode)]
    pub unix_socket_mode: Option<u32>,
    /// A file that holds the process id while the server runs, for `herenow upgrade` and for scripts; the server does not start if another server uses the file [default: none]
    #[arg(long, env = "HERENOW_PID_FILE", value_name = "FILE", hide_env_values = true)]
    #[arg(value_parser = pid_file)]
    pub pid_file: Option<PathBuf>,
    #[command(flatten)]
    pub server: Server,
}

/// What both ways to run take.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// The configuration file [default: edgebase.config.ts, .js, .mjs or .json of the working directory]
    #[arg(long, env = "HERENOW_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Ignore rules, patterns and keys of the configuration that have no effect, with a warning [default: they are errors]
    #[arg(long, env = "HERENOW_ALLOW_UNKNOWN", hide_env_values = true)]
    #[arg(value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub allow_unknown: bool,
    /// Event loops, one thread each [default: one per core]
    #[arg(long, env = "HERENOW_LOOPS", value_name = "N", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    pub loops: Option<u16>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Delays every flush by so many microseconds, to measure what that costs and saves
    #[arg(long, hide = true, value_name = "N")]
    pub flush_delay_us: Option<u64>,
    /// Causes a fault on purpose, to see what becomes of it; see `config::Rehearsal`
    #[arg(long, hide = true, value_name = "FAULT", value_parser = rehearsal)]
    pub rehearse: Vec<Rehearsal>,
    #[command(flatten)]
    pub flags: Flags,
}

#[derive(Debug, Args)]
pub struct Token {
    /// The user that the token authenticates (the claim `sub`)
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// The claim `role`
    #[arg(long)]
    pub role: Option<String>,
    /// The claim `email`
    #[arg(long)]
    pub email: Option<String>,
    /// How long the token is valid: 90s, 15m, 1h, 30d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = lifetime_s)]
    pub ttl: u64,
    /// Further claims, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = claims)]
    pub claims: Option<Map<String, Value>>,
}

#[derive(Debug, Args)]
pub struct Health {
    /// The server itself, not its proxy [default: the address in HERENOW_LISTEN, or http://127.0.0.1:4600]
    #[arg(long, env = "HERENOW_URL", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = Target::parse)]
    pub url: Option<Target>,
}

#[derive(Debug, Args)]
pub struct Upgrade {
    /// The --pid-file that the server was started with
    #[arg(long, env = "HERENOW_PID_FILE", value_name = "FILE", hide_env_values = true)]
    #[arg(value_parser = pid_file, default_value = DEFAULT_PID_FILE)]
    pub pid_file: PathBuf,
}

/// Where the systemd unit has it.
const DEFAULT_PID_FILE: &str = "/run/herenow/herenow.pid";

fn pid_file(text: &str) -> Result<PathBuf, String> {
    match text.len() {
        0 => Err("write the path of a file, such as /run/herenow/herenow.pid".into()),
        length if length > MAX_PATH_BYTES => {
            Err(format!("the path of a pid file has at most {MAX_PATH_BYTES} bytes"))
        }
        _ => Ok(text.into()),
    }
}

fn auth(text: &str) -> Result<Map<String, Value>, String> {
    let parsed: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    // As from a token.
    let auth = parsed.and_then(|_| serde_json::from_str(&quote_large_numbers(text)).ok());
    let has_id = |auth: &Map<String, Value>| auth.get("id").is_some_and(Value::is_string);
    auth.filter(has_id)
        .ok_or_else(|| r#"write a JSON object with an id, such as {"id": "jane"}"#.to_owned())
}

fn rehearsal(text: &str) -> Result<Rehearsal, String> {
    Rehearsal::parse(text).ok_or_else(|| "there is no such fault to rehearse".to_owned())
}

fn unix_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "write permissions in octal, from 0 to 777, such as 660".to_owned())
}

fn channel(text: &str) -> Result<ChannelName, String> {
    ChannelName::parse(text).map_err(|error| error.to_string())
}

/// A time such as `90s`, in seconds.
fn lifetime_s(text: &str) -> Result<u64, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit());
    let (digits, unit) = text.split_at(split.unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => 0,
    };
    digits
        .parse()
        .ok()
        .and_then(|count: u64| count.checked_mul(seconds))
        .filter(|lifetime| *lifetime > 0)
        .ok_or_else(|| "write a number and a unit, such as 90s, 15m, 1h or 30d".to_owned())
}

fn claims(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|_| r#"write a JSON object, such as {"team": 7}"#.to_owned())
}

const EXAMPLES: &str = "\
Examples:
  herenow dev
      The demo on http://127.0.0.1:4600/; open it in two windows.
  JWT_USER_SECRET_FILE=/run/secrets/jwt herenow serve --listen 0.0.0.0:4600
      A server for tokens that your backend signs.
  herenow token --user jane --ttl 1h
      A token for a first try.";

const SERVE_EXAMPLES: &str = "\
Examples:
  JWT_USER_SECRET_FILE=/run/secrets/jwt herenow serve --listen 0.0.0.0:4600
  herenow serve --listen 0.0.0.0:4600 --jwks keys.json --issuer https://login.example.com/
  herenow serve --listen 0.0.0.0:4600 --jwks https://login.example.com/.well-known/jwks.json
  herenow serve --listen unix:/run/herenow/herenow.sock --listen 127.0.0.1:4600";

const DEV_EXAMPLES: &str = "\
Examples:
  herenow dev
  herenow dev --port 4700
  curl -X POST http://127.0.0.1:4600/dev/token -d '{\"userId\": \"jane\"}'";

const CHECK_EXAMPLES: &str = "\
Examples:
  herenow check
  herenow check --config edgebase.config.ts presence:lobby
  herenow check --as '{\"id\": \"jane\", \"role\": \"admin\"}' presence:game-1";

const TYPES_EXAMPLES: &str = "\
Examples:
  herenow types > edgebase-env.d.ts
  npx tsc --strict --noEmit edgebase.config.ts edgebase-env.d.ts";

const HEALTH_EXAMPLES: &str = "\
Examples:
  herenow health
  herenow health --url http://127.0.0.1:4700
  herenow health --url unix:/run/herenow.sock";

const UPGRADE_EXAMPLES: &str = "\
Examples:
  sudo herenow upgrade
      The server of the systemd unit.
  herenow upgrade --pid-file /var/run/herenow.pid";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  herenow completions bash > ~/.local/share/bash-completion/completions/herenow
  herenow completions zsh > ~/.zfunc/_herenow
  herenow completions fish > ~/.config/fish/completions/herenow.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  herenow man | man -l -
  herenow man serve > /usr/local/share/man/man1/herenow-serve.1";

const TOKEN_EXAMPLES: &str = "\
Examples:
  herenow token --user jane
  herenow token --user jane --role admin --ttl 15m --claims '{\"team\": 7}'";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Of what stands in no other table: the flags of `dev`, `serve` and of both.
    #[test]
    fn the_guide_shows_the_other_flags() {
        let mut table =
            String::from("| flag | environment | default | meaning |\n| --- | --- | --- | --- |\n");
        let mut cli = Cli::command();
        cli.build();
        let of = |name: &str| cli.find_subcommand(name).expect("it is one").get_arguments();
        let only_dev = of("dev").filter(|argument| argument.get_id() == "port");
        for argument in of("serve").chain(only_dev) {
            let (Some(flag), Some(env)) = (argument.get_long(), argument.get_env()) else {
                continue;
            };
            let value = argument.get_value_names().map(|names| format!(" {}", names[0]));
            let value = value.filter(|_| argument.get_action().takes_values()).unwrap_or_default();
            let defaults = argument.get_default_values();
            let default = defaults.first().map_or("none".into(), |first| first.to_string_lossy());
            let help = argument.get_help().expect("it has one").to_string();
            // Where the default is no value, the help says it in words.
            let (help, default) = match help.split_once(" [default: ") {
                Some((help, default)) => (help, default.trim_end_matches(']')),
                None => (&*help, &*default),
            };
            let env = env.to_string_lossy();
            table.push_str(&format!("| `--{flag}{value}` | `{env}` | {default} | {help} |\n"));
        }
        let guide = include_str!("../../../docs/configuration.md");
        assert!(guide.contains(&table), "docs/configuration.md should contain:\n{table}");
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_is_checked() {
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["herenow", "serve", "--listen", "[::]:0"], words].concat())
        };
        let cli = parse(&["--max-members", "7", "--trusted-proxies", "10.0.0.0/8,::1"]);
        let Command::Serve(serve) = cli.expect("all right").command else {
            panic!("it was asked to serve");
        };
        let given = |name| serve.server.flags.or_environment(name);
        assert_eq!(given("HERENOW_MAX_MEMBERS"), Some("7".into()));
        assert_eq!(given("HERENOW_TRUSTED_PROXIES"), Some("10.0.0.0/8,::1".into()));
        assert_eq!(given("PATH"), std::env::var_os("PATH"));
        let refused = parse(&["--max-members", "0"]).expect_err("too few").to_string();
        let right = "--max-members <N>': it should be a whole number of members from 1 to 1000000";
        assert!(refused.contains(right), "{refused}");
    }

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("30d", 2_592_000)] {
            assert_eq!(lifetime_s(text), Ok(seconds), "{text}");
        }
        for text in ["", "1", "h", "0h", "-1h", "1.5h", "1w", "99999999999999999999d"] {
            assert!(lifetime_s(text).is_err(), "{text}");
        }
    }
}

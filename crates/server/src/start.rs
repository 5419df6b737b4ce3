//! From words to a running server: settings, keys, socket, logs, signals. Every failure is one
//! sentence that says what to change.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use herenow_server::RunError;
use herenow_server::access::Rules;
use herenow_server::auth::{
    JwksSource, Keys, MIN_SAFE_SECRET_BYTES, Minter, RunKey, Secret, TokenError,
};
use herenow_server::clock::unix_ms;
use herenow_server::cluster::{ClusterError, ClusterSettings};
use herenow_server::config::{self, Config, KeysError, Loaded, Pages, Unknown};
use herenow_server::logs::Logs;
use herenow_server::service_manager::ServiceManager;

use herenow_wire::ChannelName;
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::check;
use crate::cli::{
    Check, Cli, ClusterCommand, Command, Dev, Global, Health, LogFormat, Serve, Server, Token,
    Upgrade,
};
use crate::cluster_status;
use crate::environment;
use crate::generate::{self, ManualError};
use crate::handover::{self, HandoverError, UpgradeError};
use crate::health::{self, HealthError, Target};
use crate::listen::{ListenError, Listening, Place, TooFewFiles, Wanted, fit_to_open_files};
use crate::loading::{self, LoadError};
use crate::pid_file::PidFileError;
use crate::reload::{Running, Trigger};
use crate::remote::{self, RemoteError};
use crate::serving::Serving;
use crate::stop::CUT_SHORT_EXIT_CODE;

/// Why the command did not do what it was asked for.
#[derive(Debug)]
pub enum StartError {
    /// The settings are wrong.
    Config(LoadError),
    /// The settings are wrong, which is what `herenow check` was asked.
    Checked(LoadError),
    /// The keys are wrong.
    Keys(KeysError),
    /// The cluster is named wrongly, or cannot be joined.
    Cluster(ClusterError),
    /// So many nodes of a cluster were not heard, which is what `herenow cluster status` was asked.
    SilentNodes(usize),
    /// There is no key, and this command needs one.
    NoKey,
    /// There is no secret to sign with.
    NoSecret,
    /// What the operator names cannot be listened on.
    Listen(ListenError),
    /// There can be no file that names the process.
    PidFile(PidFileError),
    /// No new process has taken over from a running one, which is what `herenow upgrade` was asked.
    Upgrade(UpgradeError),
    /// It did not take over from the process that started it.
    Handover(HandoverError),
    /// A rule was asked and does not come back.
    LostRule,
    /// The token would be refused.
    Token(TokenError),
    /// A server is not healthy, which is what `herenow health` was asked.
    Health(HealthError),
    /// A running server has not done what it was asked.
    Remote(RemoteError),
    /// There is no such manual page, or it could not be written.
    Manual(ManualError),
    /// The system failed.
    System(io::Error),
    /// The server failed.
    Run(RunError),
}

/// Does what the command line says. `started`: when the process did.
pub fn start(cli: Cli, started: Instant, logs: &Logs) -> Result<(), StartError> {
    match cli.command {
        Command::Dev(dev) => develop(dev, started, logs),
        Command::Serve(serve) => produce(serve, logs),
        Command::Check(check) => explain(&check),
        Command::Token(token) => print_token(token),
        Command::Health(health) => print_health(health),
        Command::Upgrade(upgrade) => print_upgrade(&upgrade),
        Command::Channels(command) => remote::channels(&command).map_err(StartError::Remote),
        Command::Who(command) => remote::who(&command).map_err(StartError::Remote),
        Command::Where(command) => remote::find(&command).map_err(StartError::Remote),
        Command::Watch(command) => remote::watch(&command).map_err(StartError::Remote),
        Command::Explain(command) => remote::explain(&command).map_err(StartError::Remote),
        Command::Cluster(command) => match &command.command {
            ClusterCommand::Status(command) => cluster_status::status(command),
        },
        Command::Kick(command) => remote::kick(&command).map_err(StartError::Remote),
        Command::Types => {
            write!(io::stdout(), "{}", config::declarations()).map_err(StartError::System)
        }
        Command::Completions { shell } => {
            generate::completions(shell, &mut io::stdout()).map_err(StartError::System)
        }
        Command::Man { command } => {
            generate::manual(command.as_deref(), &mut io::stdout()).map_err(StartError::Manual)
        }
        Command::LoadConfig { .. } => unreachable!("it is answered before logs are written"),
    }
}

fn develop(dev: Dev, started: Instant, logs: &Logs) -> Result<(), StartError> {
    let mut keys = load_keys(&dev.server)?;
    if keys.secret.is_none() {
        keys.secret = Some(random_secret()?);
    }
    if keys.service.is_empty() {
        let key = RunKey::random().map_err(StartError::System)?;
        keys.service = key.alone();
        keys.run_key = Some(key);
    }
    let run_key = keys.run_key.clone();
    let path = config_path(&dev.server);
    let loaded = load(&dev.server, path.as_deref())?;
    let service_manager = ServiceManager::from_environment();
    let running = Running::new(dev.server, path, &loaded, service_manager.clone());
    let pages = Pages::Development;
    let mut config = Config { settings: loaded.settings, keys, pages, service_manager };
    // A bench or a test against it may open many connections; what is too few shows there.
    let _ = fit_to_open_files(&mut config.settings);
    // Development tokens are given to anybody who asks: never on an address that others reach.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dev.port));
    let places = vec![Place::Tcp(address)];
    let wanted = Wanted { places, flag: "--port", unix_mode: None };
    let announce = |listening: &Listening| {
        if let Some(metrics) = listening.metrics {
            tracing::info!(%metrics, "listening for metrics");
        }
        if let [Place::Tcp(address)] = listening.addresses[..] {
            // A closed standard output is no reason not to serve.
            let _ = writeln!(io::stdout(), "{}", greeting(address, started, run_key.as_ref()));
        }
    };
    let trigger = Trigger::Change;
    let serving = Serving { config, wanted, running, trigger, pid_file: None };
    serving.serve(logs, announce)
}

fn produce(serve: Serve, logs: &Logs) -> Result<(), StartError> {
    let keys = load_keys(&serve.server)?;
    if keys.is_empty() {
        return Err(StartError::NoKey);
    }
    let path = config_path(&serve.server);
    let loaded = load(&serve.server, path.as_deref())?;
    let service_manager = ServiceManager::from_environment();
    let running = Running::new(serve.server, path, &loaded, service_manager.clone());
    let pages = Pages::Production;
    let mut config = Config { settings: loaded.settings, keys, pages, service_manager };
    if let Err(TooFewFiles { allowed, wanted }) = fit_to_open_files(&mut config.settings) {
        tracing::warn!(
            allowed,
            wanted,
            max_connections = config.settings.max_connections,
            "this process may open fewer files than maxConnections needs, and holds fewer \
             connections: raise the limit (ulimit -n, LimitNOFILE) or lower the setting"
        );
    }
    let Serve { listen: places, unix_socket_mode: unix_mode, pid_file, .. } = serve;
    let wanted = Wanted { places, flag: "--listen", unix_mode };
    let loops = config.settings.loops;
    let announce = |listening: &Listening| {
        let metrics = listening.metrics.map(tracing::field::display);
        for address in &listening.addresses {
            tracing::info!(%address, metrics, loops, "listening");
        }
    };
    let serving = Serving { config, wanted, running, trigger: Trigger::Signal, pid_file };
    serving.serve(logs, announce)
}

fn print_token(token: Token) -> Result<(), StartError> {
    let keys = config::load_signing_keys(environment::variable);
    let keys = keys.map_err(StartError::Keys)?;
    warn_of_short_secret(&keys);
    let minter = Minter::new(&keys).ok_or(StartError::NoSecret)?;
    let now_unix_ms = unix_ms();
    let mut claims = token.claims.unwrap_or_default();
    let expiry = (now_unix_ms / 1000).saturating_add(token.ttl);
    claims.insert("sub".into(), token.user.into());
    claims.insert("exp".into(), expiry.into());
    claims.extend(token.role.map(|role| ("role".into(), role.into())));
    claims.extend(token.email.map(|email| ("email".into(), email.into())));
    let minted = minter.mint(claims, now_unix_ms).map_err(StartError::Token)?;
    writeln!(io::stdout(), "{minted}").map_err(StartError::System)
}

fn print_health(health: Health) -> Result<(), StartError> {
    let listen = environment::variable("HERENOW_LISTEN").and_then(|text| text.into_string().ok());
    let target = health.url.unwrap_or_else(|| Target::of_this_machine(listen.as_deref()));
    let said = health::ask(&target).map_err(StartError::Health)?;
    writeln!(io::stdout(), "{said}").map_err(StartError::System)
}

fn print_upgrade(upgrade: &Upgrade) -> Result<(), StartError> {
    let said = handover::upgrade(&upgrade.pid_file).map_err(StartError::Upgrade)?;
    writeln!(io::stdout(), "{said}").map_err(StartError::System)
}

/// Says what the configuration means. The decision comes first that was asked for.
fn explain(check: &Check) -> Result<(), StartError> {
    let path = config_path(&check.server);
    let loaded = load_config(&check.server, path.as_deref()).map_err(StartError::Checked)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let service_keys = config::load_service_keys(|name| check.server.flags.or_environment(name));
    let service_keys = service_keys.map_err(StartError::Keys)?;
    let settings = &loaded.settings;
    let mut said = String::new();
    if let Some(channel) = &check.channel {
        let claims = check.auth.as_ref().map(check::claims_of);
        said.push_str(&decide(settings.rules.clone(), channel.clone(), claims)?);
        said.push('\n');
    }
    said.push_str(&check::overview(path.as_deref(), settings, &service_keys));
    write!(io::stdout(), "{said}").map_err(StartError::System)
}

/// Asks on a thread of its own: some of an engine's functions cannot be interrupted.
fn decide(
    rules: Rules,
    channel: ChannelName,
    claims: Option<Map<String, Value>>,
) -> Result<String, StartError> {
    let (decided, decision) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("rules".into());
    let ask = move || decided.send(check::decision(&rules, &channel, claims.as_ref())).is_ok();
    thread.spawn(ask).map_err(StartError::System)?;
    decision.recv_timeout(DECISION_TIME).map_err(|_| StartError::LostRule)
}

/// How long a rule may take that cannot be interrupted. One that can is after 50 ms.
const DECISION_TIME: Duration = Duration::from_secs(5);

fn load(server: &Server, path: Option<&Path>) -> Result<Loaded, StartError> {
    let loaded = load_config(server, path).map_err(StartError::Config)?;
    if let Some(path) = path {
        let patterns = loaded.settings.rules.rows().len();
        tracing::info!(path = %path.display(), patterns, "configuration");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}

/// Reads the configuration, as often as it is asked for.
pub fn load_config(server: &Server, path: Option<&Path>) -> Result<Loaded, LoadError> {
    server.flags.check_names().map_err(LoadError::Settings)?;
    let environment = server.flags.over_environment();
    let unknown = if server.allow_unknown { Unknown::Ignored } else { Unknown::Refused };
    let mut loaded = loading::load(path, &environment, unknown)?;
    loaded.settings.flush_delay_us = server.flush_delay_us;
    loaded.settings.rehearsals = server.rehearse.iter().cloned().collect();
    if let Some(loops) = server.loops {
        loaded.settings.loops = loops.into();
    }
    let cluster = ClusterSettings::parse(server.cluster.flags()).map_err(LoadError::Cluster)?;
    if let Some(cluster) = &cluster {
        cluster.check(&loaded.settings).map_err(LoadError::Cluster)?;
    }
    loaded.settings.cluster = cluster;
    if !loaded.settings.webhooks.is_empty() {
        let secrets = config::load_webhook_secrets(|name| server.flags.or_environment(name));
        // What is wrong with one is said where all keys are read.
        if secrets.is_ok_and(|secrets| secrets.is_empty()) {
            return Err(LoadError::NoWebhookSecret);
        }
    }
    Ok(loaded)
}

/// The file that was named, or else the one that lies in the working directory.
pub fn config_path(server: &Server) -> Option<PathBuf> {
    server.config.clone().or_else(|| config::find(Path::new("")))
}

fn load_keys(server: &Server) -> Result<Keys, StartError> {
    let keys = config::load_keys(|name| server.flags.or_environment(name));
    let keys = keys.map_err(StartError::Keys)?;
    warn_of_short_secret(&keys);
    // The process that is to be replaced has keys, so it is the better one to serve.
    if let Some(error) = keys.jwks.as_ref().and_then(JwksSource::failure)
        && handover::has_predecessor()
    {
        return Err(StartError::Keys(KeysError::JwksUrl(error)));
    }
    for warning in keys.jwks.iter().flat_map(JwksSource::warnings) {
        tracing::warn!("{warning}");
    }
    Ok(keys)
}

fn warn_of_short_secret(keys: &Keys) {
    if keys.secret.as_ref().is_some_and(|secret| !secret.is_safe()) {
        tracing::warn!(
            "the secret is shorter than {MIN_SAFE_SECRET_BYTES} bytes: it can be guessed from one \
             token"
        );
    }
}

fn random_secret() -> Result<Secret, StartError> {
    let mut bytes = [0; MIN_SAFE_SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StartError::System(error.into()))?;
    Ok(Secret::new(&bytes).expect("it has a length"))
}

/// Has everything that is logged from now on written to `logs`.
pub fn write_logs(global: &Global, logs: &Logs) {
    let logs = logs.clone();
    let logs = tracing_subscriber::fmt()
        .with_max_level(global.log_level)
        .with_target(false)
        .with_writer(move || logs.clone());
    // The client of NATS repeats each failed attempt. What matters of it is logged by the cluster, once.
    let own =
        Targets::new().with_default(global.log_level).with_target("async_nats", LevelFilter::OFF);
    match global.log_format {
        LogFormat::Text => logs.with_ansi(io::stderr().is_terminal()).finish().with(own).init(),
        LogFormat::Json => logs.json().flatten_event(true).finish().with(own).init(),
    }
}

/// `run_key` opens the HTTP API, unless the developer has set a key, which is never shown.
fn greeting(address: SocketAddr, started: Instant, run_key: Option<&RunKey>) -> String {
    let took = started.elapsed().as_secs_f64() * 1000.0;
    let key = run_key.map_or("$SERVICE_KEY", RunKey::as_str);
    format!(
        "Herenow is ready on http://{address}/ after {took:.0} ms, for this machine alone.\n\
         \n  \
         Demo       http://{address}/  (open it in two windows)\n  \
         Console    http://{address}/console  (channels, members, what happens)\n  \
         SDK        http://{address}/sdk/index.js\n  \
         WebSocket  ws://{address}/api/realtime\n  \
         Token      curl -X POST http://{address}/dev/token -d '{{\"userId\": \"jane\"}}'\n  \
         HTTP API   curl http://{address}/api/presence/channels -H \"Authorization: Bearer {key}\"\n\
         \n\
         For others to reach it: JWT_USER_SECRET_FILE=… herenow serve --listen 0.0.0.0:{port}\n\
         Stop with Ctrl-C.",
        port = address.port()
    )
}

impl StartError {
    /// 2 if the operator can fix it; 1 if the system failed, or if a check found something; 3 if only
    /// the stop failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(RunError::Stuck { .. }) => CUT_SHORT_EXIT_CODE,
            Self::Remote(error) => error.exit_code(),
            Self::System(_)
            | Self::Run(_)
            | Self::Checked(_)
            | Self::SilentNodes(_)
            | Self::Health(_)
            | Self::Manual(ManualError::Write(_))
            | Self::Handover(_)
            | Self::Upgrade(_)
            | Self::Config(LoadError::System(_)) => 1,
            _ => 2,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) | Self::Checked(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Cluster(error) => error.fmt(f),
            Self::SilentNodes(1) => f.write_str("a node has not been heard for 1.5 s"),
            Self::SilentNodes(count) => {
                write!(f, "{count} nodes have not been heard for 1.5 s")
            }
            Self::NoKey => f.write_str(
                "there is no key to verify tokens with. Set JWT_USER_SECRET to a secret of 32 bytes \
                 or more (`openssl rand -base64 32` makes one), JWT_USER_SECRET_FILE to a file that \
                 holds it, or JWT_JWKS_FILE to a file of public keys. `herenow dev` needs none.",
            ),
            Self::NoSecret => f.write_str(
                "there is no secret to sign with. Set JWT_USER_SECRET or JWT_USER_SECRET_FILE as \
                 for the server; tokens for the keys of a JWKS file are signed with the private \
                 keys, which the server does not have.",
            ),
            Self::Listen(error) => error.fmt(f),
            Self::PidFile(error) => error.fmt(f),
            Self::Upgrade(error) => error.fmt(f),
            Self::Handover(error) => error.fmt(f),
            Self::LostRule => f.write_str(
                "the rule does not return and cannot be interrupted. Look for an array method over an \
                 object with a huge length",
            ),
            Self::Token(error) => write!(f, "a server would refuse this token: {error}"),
            Self::Health(error) => error.fmt(f),
            Self::Remote(error) => error.fmt(f),
            Self::Manual(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system failed: {error}"),
            Self::Run(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

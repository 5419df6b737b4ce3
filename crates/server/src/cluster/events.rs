//! What the client says of its connection, and how it picks the server to connect to: one of those named by
//! chance, then the others in turns, for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ReconnectToServer, Server};
use tokio::sync::mpsc;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::error::ClusterError;
use super::settings::{ClusterSettings, Identity};

/// How long one server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2000);
/// A server that does not answer three of these is left.
const PING_EVERY: Duration = Duration::from_millis(1000);
/// After a server did not accept a connection.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Messages of one subscription that may wait. What comes then is lost, which the links notice.
const WAITING_MESSAGES: usize = 4096;
/// Messages that wait for the connection.
const WAITING_COMMANDS: usize = 8192;

/// The options of every connection, with what identifies this process.
pub(super) fn options(settings: &ClusterSettings) -> Result<ConnectOptions, ClusterError> {
    let options = match &settings.identity {
        Identity::Nobody => ConnectOptions::new(),
        Identity::Token(token) => ConnectOptions::with_token(token.clone()),
        Identity::User { name, password } => {
            ConnectOptions::with_user_and_password(name.clone(), password.clone())
        }
        Identity::Credentials(text) => {
            ConnectOptions::with_credentials(text).map_err(ClusterError::System)?
        }
    };
    let options = match &settings.ca {
        Some(path) => {
            // The client takes the process's own provider; another one may be compiled in with tests.
            let _ = aws_lc_rs::default_provider().install_default();
            options.add_root_certificates(path.clone()).require_tls(true)
        }
        None if settings.servers.iter().any(|server| server.scheme() == "tls") => {
            options.tls_client_config(crate::tls::client_config().map_err(ClusterError::System)?)
        }
        None => options,
    };
    let subjects = super::subjects::Subjects::of(&settings.name);
    Ok(options
        .name(format!("herenow {}", settings.node))
        .custom_inbox_prefix(subjects.answers())
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .subscription_capacity(WAITING_MESSAGES)
        .client_capacity(WAITING_COMMANDS)
        .ignore_discovered_servers()
        .retain_servers_order())
}

/// The options of the connection that lasts, and what is heard of it.
pub(super) fn lasting(
    settings: &ClusterSettings,
) -> Result<(ConnectOptions, mpsc::UnboundedReceiver<Event>), ClusterError> {
    let (told, events) = mpsc::unbounded_channel();
    // Nodes that name the same servers spread over them.
    let first = getrandom::u32().map_err(|error| ClusterError::System(error.into()))?;
    let turn = Arc::new(AtomicUsize::new(first as usize));
    let options = options(settings)?
        .retry_on_initial_connect()
        .reconnect_to_server_callback(move |servers, _| {
            let turn = Arc::clone(&turn);
            async move { next(&servers, turn.fetch_add(1, Ordering::Relaxed)) }
        })
        .event_callback(move |event| {
            let told = told.clone();
            async move {
                let _ = told.send(event);
            }
        });
    Ok((options, events))
}

/// A pause comes only before a server that has just failed.
fn next(servers: &[Server], turn: usize) -> Option<ReconnectToServer> {
    let server = servers.get(turn % servers.len().max(1))?;
    let delay = if server.failed_attempts == 0 { Duration::ZERO } else { RETRY_AFTER };
    Some(ReconnectToServer { addr: server.addr.clone(), delay: Some(delay) })
}

//! What can be wrong with the NATS servers and their user is found out before the start: the cluster's
//! thread would wait for ever. Servers that are away are no reason not to start.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, Event, ServerAddr};
use futures_util::StreamExt as _;
use herenow_cluster::{Beat, Key, Read, Revision, Subject, View};
use herenow_wire::link::Incarnation;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::PROTOCOL;
use super::error::ClusterError;
use super::events;
use super::requests::{self, Failure};
use super::settings::{ClusterSettings, shown};
use super::subjects::Subjects;

/// A living node beats each second.
const LISTEN_FOR: Duration = Duration::from_millis(1300);
/// No key is ever in this revision.
const NO_REVISION: Revision = Revision(u64::MAX >> 1);
/// Versions that are known to lose what they have acknowledged.
const LOSSY: std::ops::RangeInclusive<[u64; 3]> = [2, 10, 19]..=[2, 10, 22];
/// JetStream is there, and has no leader or too few servers now.
const PASSING: [u32; 4] = [10_005, 10_008, 10_009, 10_118];
/// It is not there for this account, or at all.
const NOT_ENABLED: [u32; 2] = [10_039, 10_076];

/// Whether a node can be in this cluster, as far as it can be known now.
pub async fn check(settings: &ClusterSettings) -> Result<(), ClusterError> {
    let mut unknown = None;
    let mut is_away = false;
    for (url, address) in settings.servers.iter().zip(settings.addresses()) {
        let host = shown(url);
        let (client, violations) = match connect(settings, address).await? {
            Ok(connected) => connected,
            Err(ConnectErrorKind::Dns) => {
                unknown.get_or_insert(host);
                continue;
            }
            Err(ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication) => {
                return Err(ClusterError::Credentials(host));
            }
            Err(ConnectErrorKind::Tls) => return Err(ClusterError::Tls(host)),
            Err(_) => {
                is_away = true;
                continue;
            }
        };
        if let Some(host) = unknown {
            tracing::warn!(host, "no address is known for this NATS server");
        }
        check_version(&client, &host)?;
        return tokio::select! {
            checked = check_bucket(&client, settings, &host) => checked,
            what = violation(violations) => Err(ClusterError::Permission(what)),
        };
    }
    match unknown.filter(|_| !is_away) {
        Some(host) => Err(ClusterError::UnknownHost(host)),
        None => Ok(()),
    }
}

pub(super) type Connected = (Client, mpsc::UnboundedReceiver<Event>);

pub(super) async fn connect(
    settings: &ClusterSettings,
    address: ServerAddr,
) -> Result<Result<Connected, ConnectErrorKind>, ClusterError> {
    let (told, violations) = mpsc::unbounded_channel();
    let options = events::options(settings)?.event_callback(move |event| {
        let told = told.clone();
        async move {
            let _ = told.send(event);
        }
    });
    Ok(match options.connect(address).await {
        Ok(client) => Ok((client, violations)),
        // TLS fails in the middle of reading, too.
        Err(error) if format!("{error:?}").contains("ertificate") => Err(ConnectErrorKind::Tls),
        Err(error) => Err(error.kind()),
    })
}

fn check_version(client: &Client, host: &str) -> Result<(), ClusterError> {
    let version = client.server_info().version;
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().unwrap_or_default());
    let version_numbers = [(); 3].map(|()| numbers.next().unwrap_or_default());
    if version_numbers < [2, 9, 0] {
        return Err(ClusterError::TooOld(host.into(), version));
    }
    if LOSSY.contains(&version_numbers) {
        tracing::warn!(host, version, "this version of NATS is known to lose writes: upgrade it");
    }
    Ok(())
}

async fn check_bucket(
    client: &Client,
    settings: &ClusterSettings,
    host: &str,
) -> Result<(), ClusterError> {
    let subjects = Subjects::of(&settings.name);
    let subscribe = async |subject: Subject| {
        let subscribed = client.subscribe(subjects.subject(&subject)).await;
        subscribed.map_err(|error| ClusterError::System(std::io::Error::other(error)))
    };
    let _view = subscribe(Subject::View).await?;
    let _inbox = subscribe(Subject::Inbox(Incarnation(0))).await?;
    let mut beats = subscribe(Subject::Beats).await?;
    // Both are heard by nobody, or understood by nobody.
    for subject in [Subject::Inbox(Incarnation(0)), Subject::View] {
        let _ = client.publish(subjects.subject(&subject), Vec::new().into()).await;
    }
    let wanted = settings.servers.len().min(requests::MAX_REPLICAS);
    match requests::ensure_bucket(client, &subjects, wanted).await {
        Ok(bucket) if bucket.num_replicas < wanted => tracing::warn!(
            replicas = bucket.num_replicas,
            "the bucket of the cluster is kept on fewer NATS servers than could keep it: without those \
             no node joins and none is replaced"
        ),
        Ok(_) => {}
        Err(Failure::NoResponders) => return Err(ClusterError::NoJetStream(host.into())),
        Err(Failure::Refused(error)) if NOT_ENABLED.contains(&error.err_code) => {
            return Err(ClusterError::NoJetStream(host.into()));
        }
        Err(Failure::Refused(error)) if !PASSING.contains(&error.err_code) => {
            return Err(ClusterError::Bucket(error.description));
        }
        Err(_) => return Ok(()),
    }
    if let Ok(Read::Found(_, bytes)) =
        requests::read(client, &subjects, subjects.key(&Key::View)).await
        && let Ok(view) = View::decode(&bytes)
        && view.protocol != PROTOCOL
    {
        return Err(ClusterError::Protocol(view.protocol));
    }
    let key = subjects.key(&Key::Beat(settings.node.clone()));
    let found = requests::read(client, &subjects, key.clone()).await;
    if let Ok(Read::Found(_, bytes)) = found
        && let Ok(Beat::Alive { .. }) = Beat::decode(&bytes)
    {
        let another = async {
            while let Some(message) = beats.next().await {
                // What the others write to a key when its node is dead comes on the same subject.
                let is_alive = matches!(Beat::decode(&message.payload), Ok(Beat::Alive { .. }));
                if is_alive && message.subject.as_str() == key {
                    return;
                }
            }
            std::future::pending().await
        };
        if timeout(LISTEN_FOR, another).await.is_ok() {
            return Err(ClusterError::NodeLives(settings.node.to_string()));
        }
    }
    // Whether it may be written. It is not.
    let _ = requests::swap(client, key, (NO_REVISION, Vec::new())).await;
    Ok(())
}

/// What the user may not do, if that is said.
async fn violation(mut events: mpsc::UnboundedReceiver<Event>) -> String {
    while let Some(event) = events.recv().await {
        if let Event::ServerError(async_nats::ServerError::Other(what)) = event
            && what.to_lowercase().contains("permissions violation")
        {
            return what;
        }
    }
    std::future::pending().await
}

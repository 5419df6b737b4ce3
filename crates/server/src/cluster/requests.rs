//! The four requests that are made of JetStream, and their answers: create the bucket, read a key
//! through the leader, and swap it. Plain JSON, so that every server from 2.9 on understands it.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use herenow_cluster::{Read, Revision, Swapped};
use serde::Deserialize;
use serde_json::json;

use super::subjects::Subjects;

/// When a request counts as not answered. The machine gives up at the same time.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(2000);
/// The largest value: a view of 512 nodes has some 50 KB.
const MAX_VALUE_BYTES: usize = 256 * 1024;
/// More copies of the bucket would make each write slower, and survive no more.
pub(super) const MAX_REPLICAS: usize = 3;

/// The header by which a write names the revision that it replaces.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

const NO_MESSAGE: u32 = 10_037;
const NO_STREAM: u32 = 10_059;
const WRONG_SEQUENCE: [u32; 2] = [10_071, 10_164];

/// What JetStream says that it could not do.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

/// Why a request gave nothing.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is no bucket.
    NoBucket,
    /// JetStream refuses.
    Refused(ApiError),
    /// Nothing hears the request.
    NoResponders,
    /// Nothing answered, or not in time, or what cannot be understood.
    NoAnswer,
}

#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
    seq: Option<u64>,
    config: Option<Bucket>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
    #[serde(default)]
    data: String,
}

/// How the bucket is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Bucket {
    /// On how many NATS servers.
    pub(super) num_replicas: usize,
}

/// Creates the bucket, or finds it as it was created.
pub(super) async fn ensure_bucket(
    client: &Client,
    subjects: &Subjects,
    replicas: usize,
) -> Result<Bucket, Failure> {
    match ask(client, subjects.api("INFO"), Request::new()).await {
        Err(Failure::NoBucket) => {}
        found => return found?.config.ok_or(Failure::NoAnswer),
    }
    let config = json!({
        "name": subjects.stream(),
        "subjects": [subjects.keys()],
        "retention": "limits",
        "storage": "memory",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_msg_size": MAX_VALUE_BYTES,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "duplicate_window": 0,
        "allow_direct": false,
        "deny_delete": true,
        "allow_rollup_hdrs": true,
    });
    let request = Request::new().payload(config.to_string().into());
    ask(client, subjects.api("CREATE"), request).await?.config.ok_or(Failure::NoAnswer)
}

/// Reads a key.
pub(super) async fn read(
    client: &Client,
    subjects: &Subjects,
    key: String,
) -> Result<Read, Failure> {
    let wanted = json!({ "last_by_subj": key }).to_string();
    let request = Request::new().payload(wanted.into());
    let answer = match ask(client, subjects.api("MSG.GET"), request).await {
        Err(Failure::Refused(error)) if error.err_code == NO_MESSAGE => return Ok(Read::Absent),
        answer => answer?,
    };
    let stored = answer.message.ok_or(Failure::NoAnswer)?;
    let value = STANDARD.decode(stored.data).map_err(|_| Failure::NoAnswer)?;
    Ok(Read::Found(Revision(stored.seq), value))
}

/// Writes a key if it is in this revision.
pub(super) async fn swap(
    client: &Client,
    key: String,
    (expected, value): (Revision, Vec<u8>),
) -> Result<Swapped, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED, expected.0.to_string());
    let request = Request::new().payload(value.into()).headers(headers);
    match ask(client, key, request).await {
        Err(Failure::Refused(error)) if WRONG_SEQUENCE.contains(&error.err_code) => {
            Ok(Swapped::Conflict)
        }
        answer => answer?.seq.map(|seq| Swapped::Done(Revision(seq))).ok_or(Failure::NoAnswer),
    }
}

async fn ask(client: &Client, subject: String, request: Request) -> Result<Answer, Failure> {
    let request = request.timeout(Some(REQUEST_TIMEOUT));
    let answer = client.send_request(subject, request).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => Failure::NoResponders,
        _ => Failure::NoAnswer,
    })?;
    understand(&answer)
}

fn understand(answer: &Message) -> Result<Answer, Failure> {
    let answer: Answer = serde_json::from_slice(&answer.payload).map_err(|_| Failure::NoAnswer)?;
    match answer.error {
        None => Ok(answer),
        Some(error) if error.err_code == NO_STREAM => Err(Failure::NoBucket),
        Some(error) => Err(Failure::Refused(error)),
    }
}

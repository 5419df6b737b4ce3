//! A late subscriber: reads one fresh snapshot in full and compares it with what was sent.
//!
//! Knows JSON and reads slowly and strictly, which the driver must not. Refuses to trust
//! the driver's quick reading: a row with a wrong user or a state that appears twice is
//! found here.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::crowd::Crowd;
use crate::frames::{self, Head};
use crate::messages::{self, Writer};

const PATIENCE: Duration = Duration::from_secs(10);
/// So many channels are looked at; each needs a connection of its own.
const CHANNELS_AUDITED: usize = 8;
/// No user of a crowd has this number.
const AUDITOR: usize = 999_999;

/// What is untrue in the server's snapshots, in words.
pub fn audit(server: SocketAddrV4, crowd: &Crowd) -> Result<(), String> {
    let channels = crowd.channels();
    for channel in (0..channels.len()).step_by(channels.len().div_ceil(CHANNELS_AUDITED)) {
        let snapshot = fresh_snapshot(server, &channels[channel])
            .map_err(|error| format!("no snapshot of {}: {error}", channels[channel]))?;
        compare(&snapshot, crowd, channel)?;
    }
    Ok(())
}

fn compare(snapshot: &Value, crowd: &Crowd, channel: usize) -> Result<(), String> {
    let shape = crowd.ledger.shape;
    let rows = snapshot["presences"].as_array().ok_or("a snapshot without presences")?;
    if snapshot["channel"] != crowd.channels()[channel] || rows.len() != shape.members {
        return Err(format!(
            "a snapshot of {} with {} rows, not of {} with {}",
            snapshot["channel"],
            rows.len(),
            crowd.channels()[channel],
            shape.members
        ));
    }
    let mut users = BTreeSet::new();
    let mut connections = BTreeSet::new();
    for row in rows {
        let member = row["state"]["m"].as_str().and_then(|member| member.parse().ok());
        let member: usize = member.ok_or_else(|| format!("a strange row: {row}"))?;
        let mut expected = Vec::new();
        messages::push_state(&mut expected, member, crowd.ledger.sent(member));
        let expected: Value = serde_json::from_slice(&expected).map_err(|e| e.to_string())?;
        if row["state"] != expected || row["userId"] != format!("u{member:06}") {
            return Err(format!("a row that was not sent last: {row}"));
        }
        users.insert(member);
        connections.insert(row["connectionId"].as_str().unwrap_or_default());
    }
    if users.len() != rows.len() || connections.len() != rows.len() {
        return Err(format!("a snapshot of {} names a connection twice", snapshot["channel"]));
    }
    Ok(())
}

fn fresh_snapshot(server: SocketAddrV4, channel: &str) -> Result<Value, String> {
    let mut stream = TcpStream::connect_timeout(&server.into(), PATIENCE).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    let mut writer = Writer::default();
    let mut out = frames::upgrade_request().into_bytes();
    writer.auth(&mut out, &messages::token(AUDITOR));
    writer.subscribe(&mut out, channel);
    stream.write_all(&out).map_err(words)?;
    let mut bytes = Vec::new();
    let mut at = loop {
        match frames::end_of_http_head(&bytes) {
            Some(end) => break end,
            None => read_more(&mut stream, &mut bytes)?,
        }
    };
    loop {
        let (head_bytes, payload_bytes) = match frames::head(&bytes[at..]) {
            Head::Frame { head_bytes, payload_bytes, mask: None, .. } => {
                (head_bytes, payload_bytes)
            }
            Head::Incomplete => {
                read_more(&mut stream, &mut bytes)?;
                continue;
            }
            Head::Broken | Head::Frame { .. } => return Err("a broken frame".into()),
        };
        let payload = at + head_bytes..at + head_bytes + payload_bytes;
        if payload.end > bytes.len() {
            read_more(&mut stream, &mut bytes)?;
            continue;
        }
        at = payload.end;
        let message: Value = serde_json::from_slice(&bytes[payload]).map_err(|e| e.to_string())?;
        match message["type"].as_str() {
            Some("presence_sync") => return Ok(message),
            Some("error" | "auth_error") => return Err(message.to_string()),
            _ => {}
        }
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    let before = bytes.len();
    bytes.resize(before + 64 * 1024, 0);
    let read = stream.read(&mut bytes[before..]).map_err(words)?;
    bytes.truncate(before + read);
    if read == 0 { Err("the server closed".into()) } else { Ok(()) }
}

fn words(error: std::io::Error) -> String {
    error.to_string()
}

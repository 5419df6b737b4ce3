//! The fields that the items of several kinds have in common: whom they are about, where a list stands, and
//! what may be absent or there several times.

use super::LinkError;
use super::bytes::{Reader, put_slice, put_varint};
use super::item::{Attachment, Interest, OwnerId, Position, Presence, Row, Ticket};
use crate::code::LeaveReason;
use crate::ids::{ChannelName, ConnectionId};
use crate::user::{Info, User};

pub(super) fn put_presence(presence: &Presence, out: &mut Vec<u8>) {
    out.extend(presence.connection.as_bytes());
    put_varint(u64::from(presence.generation), out);
    put_slice(presence.user.as_str().as_bytes(), out);
    // No information is empty: it is an object.
    put_slice(presence.user.info().map_or("", Info::as_str).as_bytes(), out);
    out.push(match presence.attachment {
        Attachment::Socket => 0,
        Attachment::Detached => 1,
    });
    put_varint(presence.since_ms, out);
}

pub(super) fn presence(r: &mut Reader<'_>) -> Result<Presence, LinkError> {
    Ok(Presence {
        connection: r.connection()?,
        generation: r.varint_u32()?,
        user: User::new(r.user()?, r.info_if_any()?),
        attachment: match r.byte()? {
            0 => Attachment::Socket,
            1 => Attachment::Detached,
            _ => return Err(LinkError::Choice),
        },
        since_ms: r.varint()?,
    })
}

pub(super) fn put_row(row: &Row, out: &mut Vec<u8>) {
    put_presence(&row.presence, out);
    out.extend(row.owner.0.to_le_bytes());
    put_slice(row.state.as_str().as_bytes(), out);
    put_varint(row.seq, out);
}

pub(super) fn row(r: &mut Reader<'_>) -> Result<Row, LinkError> {
    let (presence, owner) = (presence(r)?, OwnerId(r.fixed_u64()?));
    Ok(Row { presence, owner, state: r.state()?, seq: r.varint()? })
}

pub(super) fn put_whose(
    (channel, connection, generation): (&ChannelName, ConnectionId, u32),
    out: &mut Vec<u8>,
) {
    put_channel(channel, out);
    out.extend(connection.as_bytes());
    put_varint(u64::from(generation), out);
}

pub(super) fn whose(r: &mut Reader<'_>) -> Result<(ChannelName, ConnectionId, u32), LinkError> {
    Ok((r.channel()?, r.connection()?, r.varint_u32()?))
}

pub(super) fn put_channel(channel: &ChannelName, out: &mut Vec<u8>) {
    put_slice(channel.as_str().as_bytes(), out);
}

pub(super) fn put_position(position: Position, out: &mut Vec<u8>) {
    put_varint(position.epoch, out);
    put_varint(position.seq, out);
}

pub(super) fn position(r: &mut Reader<'_>) -> Result<Position, LinkError> {
    Ok(Position { epoch: r.varint()?, seq: r.varint()? })
}

pub(super) fn put_ticket(ticket: Ticket, out: &mut Vec<u8>) {
    put_varint(ticket.0, out);
}

pub(super) fn ticket(r: &mut Reader<'_>) -> Result<Ticket, LinkError> {
    r.varint().map(Ticket)
}

pub(super) fn put_option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl Fn(T, &mut Vec<u8>)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(value, out);
        }
    }
}

pub(super) fn option<T>(
    r: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, LinkError>,
) -> Result<Option<T>, LinkError> {
    match r.byte()? {
        0 => Ok(None),
        1 => read(r).map(Some),
        _ => Err(LinkError::Choice),
    }
}

/// A count and so many things, each of at least `min_bytes`. The room for them grows with what has
/// been read: a thing in memory is larger than its fewest bytes.
pub(super) fn list<T>(
    r: &mut Reader<'_>,
    min_bytes: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, LinkError>,
) -> Result<Vec<T>, LinkError> {
    let count = r.count(min_bytes)?;
    let mut things = Vec::new();
    for _ in 0..count {
        things.push(read(r)?);
    }
    Ok(things)
}

/// Numbers of their own: the order of the enum is no promise to other nodes.
pub(super) fn reason_number(reason: LeaveReason) -> u8 {
    match reason {
        LeaveReason::Disconnect => 0,
        LeaveReason::Timeout => 1,
        LeaveReason::Leave => 2,
        LeaveReason::Kicked => 3,
    }
}

pub(super) fn reason(number: u8) -> Result<LeaveReason, LinkError> {
    LeaveReason::ALL
        .into_iter()
        .find(|reason| reason_number(*reason) == number)
        .ok_or(LinkError::Choice)
}

pub(super) fn interest_number(interest: Interest) -> u8 {
    match interest {
        Interest::Nothing => 0,
        Interest::Changes => 1,
        Interest::Asleep => 2,
    }
}

pub(super) fn interest(number: u8) -> Result<Interest, LinkError> {
    match number {
        0 => Ok(Interest::Nothing),
        1 => Ok(Interest::Changes),
        2 => Ok(Interest::Asleep),
        _ => Err(LinkError::Choice),
    }
}

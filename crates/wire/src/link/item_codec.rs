//! The bytes of an item: its kind, its length, and a body that begins with the fields below. A kind
//! that is not known is skipped by its length; so is what a body has after its fields.

use super::LinkError;
use super::bytes::{Reader, put_slice, put_varint};
use super::fields::{
    interest, interest_number, list, option, position, presence, put_channel, put_option,
    put_position, put_presence, put_row, put_ticket, put_whose, reason, reason_number, row, ticket,
    whose,
};
use super::item::{
    Change, Channel, Copied, Item, Kick, KickTarget, Op, Put, Refused, RefusedWhy, Report,
    Reported, Row, Shown, Snap,
};

impl Item {
    /// The number of its kind, and its body.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> u64 {
        match self {
            Self::Report(report) => put_report(report, out),
            Self::Put(put) => put_put(put, out),
            Self::Remove { channel, connection, generation, reason } => {
                put_whose((channel, *connection, *generation), out);
                out.push(reason_number(*reason));
            }
            Self::Detach { channel, connection, generation } => {
                put_whose((channel, *connection, *generation), out);
            }
            Self::Interest { channel, interest } => {
                put_channel(channel, out);
                out.push(interest_number(*interest));
            }
            Self::Snap(snap) => put_snap(snap, out),
            Self::Change(change) => put_change(change, out),
            Self::Refused(refused) => put_refused(refused, out),
            Self::Taken { connection, generation } => {
                out.extend(connection.as_bytes());
                put_varint(u64::from(*generation), out);
            }
            Self::Hibernated { channel, position } => {
                put_channel(channel, out);
                put_option(*position, out, put_position);
            }
            Self::Heard { channel } | Self::Woke { channel } => {
                put_channel(channel, out);
            }
            Self::Kick(kick) => put_kick(kick, out),
        }
        self.kind()
    }

    /// From the body of an item of this kind; `None` for a kind that is not known.
    pub(super) fn decode(kind: u64, body: &[u8]) -> Result<Option<Self>, LinkError> {
        let mut reader = Reader::new(body);
        let r = &mut reader;
        Ok(Some(match kind {
            REPORT => Self::Report(report(r)?),
            PUT => Self::Put(put(r)?),
            REMOVE => {
                let (channel, connection, generation) = whose(r)?;
                Self::Remove { channel, connection, generation, reason: reason(r.byte()?)? }
            }
            DETACH => {
                let (channel, connection, generation) = whose(r)?;
                Self::Detach { channel, connection, generation }
            }
            INTEREST => Self::Interest { channel: r.channel()?, interest: interest(r.byte()?)? },
            SNAP => Self::Snap(snap(r)?),
            CHANGE => Self::Change(change(r)?),
            REFUSED => Self::Refused(refused(r)?),
            TAKEN => Self::Taken { connection: r.connection()?, generation: r.varint_u32()? },
            HEARD => Self::Heard { channel: r.channel()? },
            HIBERNATED => {
                Self::Hibernated { channel: r.channel()?, position: option(r, position)? }
            }
            WOKE => Self::Woke { channel: r.channel()? },
            KICK => Self::Kick(kick(r)?),
            _ => return Ok(None),
        }))
    }

    fn kind(&self) -> u64 {
        match self {
            Self::Report(_) => REPORT,
            Self::Put(_) => PUT,
            Self::Remove { .. } => REMOVE,
            Self::Detach { .. } => DETACH,
            Self::Interest { .. } => INTEREST,
            Self::Snap(_) => SNAP,
            Self::Change(_) => CHANGE,
            Self::Refused(_) => REFUSED,
            Self::Taken { .. } => TAKEN,
            Self::Heard { .. } => HEARD,
            Self::Hibernated { .. } => HIBERNATED,
            Self::Woke { .. } => WOKE,
            Self::Kick(_) => KICK,
        }
    }
}

fn put_report(report: &Report, out: &mut Vec<u8>) {
    put_varint(u64::from(report.shard), out);
    put_varint(report.epoch, out);
    put_option(report.decided, out, put_position);
    put_varint(report.channels.len() as u64, out);
    for channel in &report.channels {
        put_channel(&channel.name, out);
        out.push(interest_number(channel.interest));
        put_varint(channel.members.len() as u64, out);
        for member in &channel.members {
            put_presence(&member.presence, out);
            match &member.shown {
                // No state is empty: it is an object.
                Shown::Sleeping => put_slice(&[], out),
                Shown::State(state) => put_slice(state.as_str().as_bytes(), out),
            }
            put_option(member.seen, out, put_position);
        }
        put_varint(channel.waiting.len() as u64, out);
        channel.waiting.iter().for_each(|connection| out.extend(connection.as_bytes()));
        put_option(channel.copied.as_ref(), out, |copied, out| {
            put_position(copied.position, out);
            put_rows(&copied.rows, out);
        });
    }
}

fn report(r: &mut Reader<'_>) -> Result<Report, LinkError> {
    let (shard, epoch) = (r.shard()?, r.varint()?);
    let decided = option(r, position)?;
    let count = r.count(MIN_CHANNEL_BYTES)?;
    let mut channels = Vec::new();
    for _ in 0..count {
        let (name, interest) = (r.channel()?, interest(r.byte()?)?);
        let members = list(r, MIN_MEMBER_BYTES, reported)?;
        let waiting = list(r, CONNECTION_BYTES, |r| r.connection())?;
        let copied = option(r, copied)?;
        channels.push(Channel { name, interest, members, waiting, copied });
    }
    Ok(Report { shard, epoch, decided, channels })
}

fn copied(r: &mut Reader<'_>) -> Result<Copied, LinkError> {
    Ok(Copied { position: position(r)?, rows: list(r, MIN_MEMBER_BYTES, row)? })
}

fn reported(r: &mut Reader<'_>) -> Result<Reported, LinkError> {
    let presence = presence(r)?;
    let shown = r.state_if_any()?.map_or(Shown::Sleeping, Shown::State);
    Ok(Reported { presence, shown, seen: option(r, position)? })
}

fn put_put(put: &Put, out: &mut Vec<u8>) {
    put_channel(&put.channel, out);
    put_presence(&put.presence, out);
    put_slice(put.state.as_str().as_bytes(), out);
    put_varint(u64::from(put.max_members), out);
    put_option(put.ticket, out, put_ticket);
}

fn put(r: &mut Reader<'_>) -> Result<Put, LinkError> {
    Ok(Put {
        channel: r.channel()?,
        presence: presence(r)?,
        state: r.state()?,
        max_members: r.varint_u32()?,
        ticket: option(r, ticket)?,
    })
}

fn put_snap(snap: &Snap, out: &mut Vec<u8>) {
    put_channel(&snap.channel, out);
    put_position(snap.position, out);
    put_rows(&snap.rows, out);
}

fn put_rows(rows: &[Row], out: &mut Vec<u8>) {
    put_varint(rows.len() as u64, out);
    rows.iter().for_each(|row| put_row(row, out));
}

fn snap(r: &mut Reader<'_>) -> Result<Snap, LinkError> {
    let (channel, position) = (r.channel()?, position(r)?);
    Ok(Snap { channel, position, rows: list(r, MIN_MEMBER_BYTES, row)? })
}

fn put_change(change: &Change, out: &mut Vec<u8>) {
    put_channel(&change.channel, out);
    put_varint(change.prev, out);
    put_position(change.position, out);
    put_varint(change.ops.len() as u64, out);
    for op in &change.ops {
        match op {
            Op::Put(row) => {
                out.push(OP_PUT);
                put_row(row, out);
            }
            Op::Remove { connection, reason, seq } => {
                out.push(OP_REMOVE);
                out.extend(connection.as_bytes());
                out.push(reason_number(*reason));
                put_varint(*seq, out);
            }
        }
    }
}

fn change(r: &mut Reader<'_>) -> Result<Change, LinkError> {
    let (channel, prev, position) = (r.channel()?, r.varint()?, position(r)?);
    let ops = list(r, MIN_MEMBER_BYTES, |r| match r.byte()? {
        OP_PUT => Ok(Op::Put(row(r)?)),
        OP_REMOVE => {
            let (connection, reason) = (r.connection()?, reason(r.byte()?)?);
            Ok(Op::Remove { connection, reason, seq: r.varint()? })
        }
        _ => Err(LinkError::Choice),
    })?;
    Ok(Change { channel, prev, position, ops })
}

fn put_refused(refused: &Refused, out: &mut Vec<u8>) {
    put_whose((&refused.channel, refused.connection, refused.generation), out);
    put_option(refused.ticket, out, put_ticket);
    out.push(match refused.why {
        RefusedWhy::Full => 0,
        RefusedWhy::OlderGeneration => 1,
        RefusedWhy::Fault => 2,
        RefusedWhy::NotHome => 3,
    });
}

fn refused(r: &mut Reader<'_>) -> Result<Refused, LinkError> {
    let (channel, connection, generation) = whose(r)?;
    let ticket = option(r, ticket)?;
    let why = match r.byte()? {
        0 => RefusedWhy::Full,
        1 => RefusedWhy::OlderGeneration,
        2 => RefusedWhy::Fault,
        3 => RefusedWhy::NotHome,
        _ => return Err(LinkError::Choice),
    };
    Ok(Refused { channel, connection, generation, ticket, why })
}

fn put_kick(kick: &Kick, out: &mut Vec<u8>) {
    match &kick.target {
        KickTarget::User(user) => {
            out.push(KICK_USER);
            put_slice(user.as_str().as_bytes(), out);
        }
        KickTarget::Connection(connection) => {
            out.push(KICK_CONNECTION);
            out.extend(connection.as_bytes());
        }
    }
    put_option(kick.channel.as_ref(), out, put_channel);
    put_varint(kick.for_ms, out);
}

fn kick(r: &mut Reader<'_>) -> Result<Kick, LinkError> {
    let target = match r.byte()? {
        KICK_USER => KickTarget::User(r.user()?),
        KICK_CONNECTION => KickTarget::Connection(r.connection()?),
        _ => return Err(LinkError::Choice),
    };
    let channel = option(r, |r| r.channel())?;
    Ok(Kick { target, channel, for_ms: r.varint()? })
}

// 1 is a part of an item.
const REPORT: u64 = 2;
const PUT: u64 = 3;
const REMOVE: u64 = 4;
const DETACH: u64 = 5;
const INTEREST: u64 = 6;
const SNAP: u64 = 7;
const CHANGE: u64 = 8;
const REFUSED: u64 = 9;
const TAKEN: u64 = 10;
const HEARD: u64 = 11;
const HIBERNATED: u64 = 12;
const WOKE: u64 = 13;
const KICK: u64 = 14;

const OP_PUT: u8 = 0;
const OP_REMOVE: u8 = 1;

const KICK_USER: u8 = 0;
const KICK_CONNECTION: u8 = 1;

/// A length and one byte of the name, the interest, two counts, and whether it was copied.
const MIN_CHANNEL_BYTES: usize = 6;
const CONNECTION_BYTES: usize = 16;
/// An op that removes is the least that says anything of a member: its kind, its connection, ….
const MIN_MEMBER_BYTES: usize = 19;

//! The frames of a flush: its changes as deltas, and the whole list as a snapshot. Knows no
//! subscriber.

use herenow_core::{Flush, Op, Snapshot};
use herenow_wire::ChannelName;
use herenow_wire::encode::{self, DeltaPosition, Departure, Member, Position};

/// Appends the changes of a flush. If they belong to another epoch than those of the flush before, the
/// first one names it: its `seq` may be lower than the one before, and a client would ignore it.
pub(crate) fn encode_deltas(out: &mut Vec<u8>, channel: &ChannelName, flush: &Flush) {
    let mut epoch = flush.is_epoch_new.then_some(flush.epoch);
    for op in &flush.ops {
        encode_op(out, channel, epoch.take(), op);
    }
}

/// Appends the whole list.
pub(crate) fn encode_snapshot(out: &mut Vec<u8>, channel: &ChannelName, snapshot: &Snapshot) {
    let rows = snapshot.members.iter().map(|member| Member {
        user: &member.user,
        connection: member.connection,
        state: &member.state,
    });
    encode::sync(out, channel, position(snapshot), rows);
}

/// How far the list had come.
pub(crate) fn position(snapshot: &Snapshot) -> Position {
    Position { epoch: snapshot.epoch, seq: snapshot.seq }
}

fn encode_op(out: &mut Vec<u8>, channel: &ChannelName, epoch: Option<u64>, op: &Op) {
    match op {
        Op::Put { old, new } => {
            let member = Member { user: &new.user, connection: new.connection, state: &new.state };
            let at = DeltaPosition { epoch, seq: new.seq };
            match old {
                None => encode::join(out, channel, at, member),
                Some(_) => encode::update(out, channel, at, member),
            }
        }
        Op::Remove { old, reason, seq } => {
            let departure =
                Departure { user: &old.user, connection: old.connection, reason: *reason };
            encode::leave(out, channel, DeltaPosition { epoch, seq: *seq }, departure);
        }
    }
}

#[cfg(test)]
mod tests {
    use herenow_core::Owner;
    use herenow_wire::{ConnectionId, LeaveReason, State, UserId};

    use super::*;

    fn member(seq: u64) -> herenow_core::Member {
        herenow_core::Member {
            connection: ConnectionId::from_bytes([7; 16]),
            owner: Owner(0),
            generation: 0,
            user: UserId::parse("jane").expect("a good id").into(),
            state: State::parse("{}").expect("a good state"),
            seq,
        }
    }

    fn deltas(flush: &Flush) -> Vec<String> {
        let channel = ChannelName::parse("presence:lobby").expect("a good name");
        let mut bytes = Vec::new();
        encode_deltas(&mut bytes, &channel, flush);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("{\"type\":").skip(1).map(str::to_owned).collect()
    }

    // P5.9
    #[test]
    fn the_first_delta_after_a_change_of_epoch_names_it_and_no_other_does() {
        let join = Op::Put { old: None, new: member(3) };
        let leave = Op::Remove { old: member(3), reason: LeaveReason::Disconnect, seq: 4 };
        let flush = Flush {
            ops: vec![leave.clone(), join.clone()],
            epoch: 9,
            is_epoch_new: true,
            ..Flush::default()
        };
        let named = deltas(&flush);
        assert!(named[0].contains(r#","epoch":9,"seq":4,"#), "{named:?}");
        assert!(!named[1].contains("epoch"), "{named:?}");
        let unnamed = deltas(&Flush { is_epoch_new: false, ..flush });
        assert!(unnamed.iter().all(|delta| !delta.contains("epoch")), "{unnamed:?}");
        assert_eq!(unnamed[1], named[1]);
    }
}

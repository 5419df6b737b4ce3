//! A backend that lists channels while everything happens, and what must be true of its answers: they
//! are of the same history that sockets see.

use std::collections::BTreeSet;

use herenow_core::Peer;
use herenow_hub::{Event, ListedMember, QueryId, ReadRequest, Response};

use crate::history::Rows;
use crate::stage::Stage;

/// In how many turns of a hub one list is asked for.
const TURNS_PER_LIST: u64 = 20;
/// More than any channel holds.
const ALL: usize = 1_000;
/// Of a page that may not be the whole list.
const LONGEST_PAGE: u64 = 4;

/// A list of a channel of this hub, or the beginning of one, if it is to be asked for now.
pub fn draw_question(stage: &mut Stage, (me, loops): (Peer, u16)) -> Option<Event<'static>> {
    let chance = &mut stage.backend_chance;
    if !chance.one_in(TURNS_PER_LIST) {
        return None;
    }
    let at = chance.index(stage.plan.channels.len());
    let limit = if chance.one_in(2) { ALL } else { chance.between(1, LONGEST_PAGE) as usize };
    let channel = stage.plan.channels[at].clone();
    (channel.shard() % loops == me.0).then(|| {
        let request = ReadRequest::ListMembers { channel, after: None, limit };
        Event::Request { id: at as QueryId, request: request.into() }
    })
}

/// The number of a question is that of its channel.
pub fn check_answer(stage: &mut Stage, id: QueryId, response: Response) {
    let Response::Members(page) = response else { panic!("{response:?} answers no list") };
    let Some(position) = page.position else { return };
    let channel = &stage.plan.channels[id as usize];
    let at = (position.epoch, position.seq);
    let rows: Rows = page.members.iter().map(row).collect();
    stage.tally.listed += 1;
    stage.tally.listed_as_seen += u64::from(stage.history.meet_first(channel, at, &rows));
    if !page.has_more {
        let users: BTreeSet<&String> = rows.iter().map(|(user, ..)| user).collect();
        assert_eq!((page.users, page.connections), (users.len(), rows.len()), "{channel}: {at:?}");
        stage.history.meet(channel, at, &rows);
    }
}

fn row(member: &ListedMember) -> (String, String, String) {
    let ListedMember { user, connection, state, .. } = member;
    let info = user.info().map_or("", |info| info.as_str());
    (user.as_str().to_owned(), connection.to_string(), format!("{}{info}", state.as_str()))
}

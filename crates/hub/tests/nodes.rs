//! A hub whose node is one of several: what it tells the others, when it says that it has, and what
//! its own connections hear meanwhile.

#[path = "../examples/one_hub/mod.rs"]
mod one_hub;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herenow_core::{
    ChannelSettings, Claim, From, NodeEvent, NodeMail, Owner, Patterns, Peer, Policy, SCAN_EVERY,
    Target, Term,
};
use herenow_hub::{
    Announces, ChangeKind, Event, MemberKey, Pattern, PutMember, ReadRequest, Request, Response,
    WriteRequest,
};
use herenow_wire::link::{
    Attachment, Channel, Incarnation, Interest, Item, Kick, KickTarget, Position, Presence, Put,
    Report, Reported, Row, Shown, Snap, Ticket,
};
use herenow_wire::{ChannelName, ConnectionId, DefaultChannel, State, UserId};
use one_hub::{OneHub, masked, settings};

const ME: Incarnation = Incarnation(1);
const OTHER: From = From { incarnation: Incarnation(2), peer: Peer::node(2), owner: Owner(2) };

fn lobby() -> ChannelName {
    ChannelName::parse("presence:lobby").expect("a valid name")
}

fn say(one_hub: &mut OneHub, slot: u32, text: &str) {
    one_hub.receive(slot, &masked(text));
    one_hub.turn();
}

fn tell(one_hub: &mut OneHub, event: NodeEvent) {
    one_hub.tell(Event::Nodes(vec![event]));
    one_hub.turn();
}

/// What was written since the last call.
fn told(one_hub: &mut OneHub) -> String {
    let written = one_hub.take_recorded();
    one_hub.record();
    String::from_utf8_lossy(&written).into_owned()
}

/// A hub that has just become part of its cluster, with a connection that has signed in.
fn member() -> (OneHub, u32) {
    let mut one_hub = OneHub::one_of_several(Policy::new(settings(), Patterns::default()));
    tell(&mut one_hub, NodeEvent::Out { owner: Owner(1) });
    one_hub.record();
    let slot = one_hub.connect();
    one_hub.turn();
    told(&mut one_hub);
    (one_hub, slot)
}

const GRACE: Duration = Duration::from_secs(5);

/// A hub that has just become part of its cluster, where connections may come back.
fn with_grace() -> OneHub {
    let settings = ChannelSettings { disconnect_grace_ms: GRACE.as_millis() as u64, ..settings() };
    let mut one_hub = OneHub::one_of_several(Policy::new(settings, Patterns::default()));
    tell(&mut one_hub, NodeEvent::Out { owner: Owner(1) });
    one_hub.record();
    one_hub
}

/// What a resume token of another node claims: the connection of [`put`].
fn claim_from_elsewhere() -> Claim {
    Claim { connection: presence(7).connection, generation: 0, place: None }
}

/// In steps, since a pause of the process would make the graces longer.
fn outlive_graces(one_hub: &mut OneHub) {
    for _ in 0..20 {
        one_hub.wait(GRACE / 10);
        one_hub.turn();
    }
}

fn has_closed_with(written: &[u8], code: u16) -> bool {
    let [high, low] = code.to_be_bytes();
    written.windows(4).any(|frame| matches!(frame, [0x88, _, h, l] if (*h, *l) == (high, low)))
}

fn term(epoch: u64, home: Incarnation) -> Term {
    Term { epoch, home }
}

/// This node is the home of the lobby, and may be open.
fn home(one_hub: &mut OneHub) -> NodeEvent {
    let (shard, term) = (lobby().shard(), term(1, ME));
    tell(one_hub, NodeEvent::Home { shard, term });
    NodeEvent::Opened { shard, term }
}

/// This node decides about the lobby.
fn open_home(one_hub: &mut OneHub) {
    let opened = home(one_hub);
    tell(one_hub, opened);
}

/// Another node is the home of the lobby.
fn copy(one_hub: &mut OneHub) {
    let (shard, term) = (lobby().shard(), term(1, OTHER.incarnation));
    tell(one_hub, NodeEvent::Moved { shard, term, home: OTHER });
}

fn presence(number: u8) -> Presence {
    Presence {
        connection: ConnectionId::from_bytes([number; 16]),
        generation: 0,
        user: UserId::parse("other").expect("a valid id").into(),
        attachment: Attachment::Socket,
        since_ms: 0,
    }
}

fn state(text: &str) -> State {
    State::parse(text).expect("a valid state")
}

/// A put of another node.
fn put(batch: u64) -> NodeEvent {
    let put = Put {
        channel: lobby(),
        presence: presence(7),
        state: state(r#"{"is":"there"}"#),
        max_members: 100,
        ticket: Some(Ticket(1)),
    };
    NodeEvent::Received { from: OTHER, batch, items: vec![Item::Put(put)] }
}

/// The list of the lobby, as its home tells it.
fn snap(seq: u64) -> NodeEvent {
    let (presence, owner) = (presence(7), OTHER.owner);
    let rows = vec![Row { presence, owner: owner.id(), state: state(r#"{"is":"there"}"#), seq }];
    let position = Position { epoch: term(1, OTHER.incarnation).first_life(), seq };
    let snap = Snap { channel: lobby(), position, rows };
    NodeEvent::Received { from: OTHER, batch: 1, items: vec![Item::Snap(snap)] }
}

const TRACK: &str =
    r#"{"type":"presence_update","channel":"presence:lobby","state":{"a":1},"ref":"r1"}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"presence:lobby","ref":"s1"}"#;

/// The tickets of the puts that went to other nodes.
fn tickets(mail: &[NodeMail]) -> Vec<Ticket> {
    let items = mail.iter().flat_map(|mail| match mail {
        NodeMail::Items { items, .. }
        | NodeMail::ToAll { items }
        | NodeMail::Owed { items, .. }
        | NodeMail::Contents { items, .. } => &items[..],
        NodeMail::Told { .. } | NodeMail::Lost { .. } => &[],
    });
    let tickets = items.filter_map(|item| match item {
        Item::Put(put) => put.ticket,
        _ => None,
    });
    tickets.collect()
}

// P6.3
#[test]
fn who_tracks_at_a_copy_is_answered_when_the_home_has_told() {
    let (mut one_hub, slot) = member();
    copy(&mut one_hub);
    say(&mut one_hub, slot, TRACK);
    let mail = one_hub.take_node_mail();
    let [ticket] = tickets(&mail)[..] else { panic!("one put goes to the home: {mail:?}") };
    assert_eq!(told(&mut one_hub), "", "nobody has decided");
    tell(&mut one_hub, NodeEvent::Done(vec![(lobby().shard(), ticket)]));
    assert!(told(&mut one_hub).contains(r#""ref":"r1""#), "it is so");
}

// P6.3
#[test]
fn what_finds_no_home_waits_for_the_one_that_asks_for_a_report() {
    let (mut one_hub, slot) = member();
    say(&mut one_hub, slot, TRACK);
    assert_eq!(one_hub.take_node_mail(), [], "no home is known");
    let (home, shards) = (OTHER, vec![(lobby().shard(), term(1, OTHER.incarnation))]);
    tell(&mut one_hub, NodeEvent::ReportWanted { home, shards });
    let mail = one_hub.take_node_mail();
    let [NodeMail::Items { to, items }] = &mail[..] else { panic!("one flush: {mail:?}") };
    assert_eq!(*to, OTHER.peer);
    assert!(matches!(&items[..], [Item::Report(_), Item::Put(_)]), "{items:?}");
}

// P5.1
#[test]
fn who_subscribes_at_a_copy_has_the_list_of_the_home() {
    let (mut one_hub, slot) = member();
    copy(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    let mail = one_hub.take_node_mail();
    let wants = |item: &Item| matches!(item, Item::Interest { interest: Interest::Changes, .. });
    assert!(
        matches!(&mail[..], [NodeMail::Items { items, .. }] if wants(&items[0])),
        "the home is asked: {mail:?}"
    );
    assert!(!told(&mut one_hub).contains("presence_sync"), "nothing is known");
    tell(&mut one_hub, snap(4));
    let text = told(&mut one_hub);
    assert!(text.contains("presence_sync") && text.contains(r#"{"is":"there"}"#), "{text}");
    assert!(text.contains(r#""seq":4"#), "with the numbers of the home: {text}");
}

// P5.4
#[test]
fn what_another_node_puts_is_told_here_and_then_acknowledged() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    told(&mut one_hub);
    tell(&mut one_hub, put(9));
    assert!(told(&mut one_hub).contains("presence_join"));
    let mail = one_hub.take_node_mail();
    assert_eq!(mail, [NodeMail::Told { from: OTHER.peer, batch: 9 }]);
}

// P5.4
#[test]
fn a_node_that_wants_a_channel_hears_of_its_own_put_before_the_acknowledgement() {
    let (mut one_hub, _) = member();
    open_home(&mut one_hub);
    let (channel, interest) = (lobby(), Interest::Changes);
    let items = vec![Item::Interest { channel, interest }];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    one_hub.take_node_mail();
    tell(&mut one_hub, put(2));
    let mail = one_hub.take_node_mail();
    let [NodeMail::Items { items, .. }, NodeMail::Told { batch: 2, .. }] = &mail[..] else {
        panic!("the change, then that it was told: {mail:?}");
    };
    assert!(matches!(&items[..], [Item::Change(_)]), "{items:?}");
}

// P6.3
#[test]
fn a_home_that_opens_acknowledges_a_put_when_it_has_decided() {
    let (mut one_hub, _) = member();
    let opened = home(&mut one_hub);
    tell(&mut one_hub, put(3));
    assert_eq!(one_hub.take_node_mail(), [], "it waits for the reports of others");
    tell(&mut one_hub, opened);
    assert_eq!(one_hub.take_node_mail(), [NodeMail::Told { from: OTHER.peer, batch: 3 }]);
}

// P8.9
#[test]
fn a_connection_that_has_come_back_at_another_node_is_closed_and_does_not_leave() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, TRACK);
    told(&mut one_hub);
    let connection = one_hub::fixed::connection_id(slot, 0);
    let items = vec![Item::Put(Put {
        channel: lobby(),
        presence: Presence { connection, generation: 1, ..presence(0) },
        state: state(r#"{"a":1}"#),
        max_members: 100,
        ticket: None,
    })];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    assert!(one_hub.take_recorded().windows(2).any(|code| code == 1001_u16.to_be_bytes()));
    assert_eq!(one_hub.counters().members, 1, "the other node's");
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    assert_eq!(one_hub.counters().members, 0);
}

// P5.4
#[test]
fn a_node_that_is_gone_takes_its_members_along() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    tell(&mut one_hub, put(1));
    told(&mut one_hub);
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    assert!(told(&mut one_hub).contains("presence_leave"));
}

// P7.8
#[test]
fn the_members_of_a_node_that_is_gone_keep_the_grace_of_their_channel() {
    let mut one_hub = with_grace();
    open_home(&mut one_hub);
    tell(&mut one_hub, put(1));
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    for _ in 0..2 {
        assert_eq!(one_hub.counters().members, 1, "it may come back at another node");
        one_hub.wait(GRACE / 2);
        one_hub.turn();
    }
    one_hub.wait(SCAN_EVERY);
    one_hub.turn();
    assert_eq!(one_hub.counters().members, 0);
}

// P7.8
#[test]
fn a_home_does_not_open_without_a_node_that_goes_before_it_has_reported() {
    let mut one_hub = with_grace();
    let speaking = Arc::new(BTreeSet::from([Owner(1), OTHER.owner]));
    tell(&mut one_hub, NodeEvent::View { number: 1, speaking });
    let opened = home(&mut one_hub);
    one_hub.take_node_mail();
    one_hub.tell(Event::Nodes(vec![NodeEvent::Gone(OTHER), opened]));
    one_hub.turn();
    assert_eq!(lost(&one_hub.take_node_mail()), [lobby().shard()], "another term begins");
    let slot = one_hub.connect();
    say(&mut one_hub, slot, TRACK);
    assert!(!told(&mut one_hub).contains(r#""ref":"r1""#), "it decides nothing");
    let (shard, term) = (lobby().shard(), term(2, ME));
    tell(&mut one_hub, NodeEvent::Home { shard, term });
    tell(&mut one_hub, NodeEvent::Opened { shard, term });
    assert!(told(&mut one_hub).contains(r#""ref":"r1""#));
}

// P7.8
#[test]
fn the_members_of_a_home_that_is_gone_keep_the_grace_of_their_channel() {
    let mut one_hub = with_grace();
    let subscriber = one_hub.connect();
    say(&mut one_hub, subscriber, SUBSCRIBE);
    copy(&mut one_hub);
    tell(&mut one_hub, snap(1));
    assert!(told(&mut one_hub).contains("presence_sync"));
    let speaking = Arc::new(BTreeSet::from([Owner(1)]));
    tell(&mut one_hub, NodeEvent::View { number: 2, speaking });
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    let (shard, term) = (lobby().shard(), term(2, ME));
    tell(&mut one_hub, NodeEvent::Home { shard, term });
    tell(&mut one_hub, NodeEvent::Opened { shard, term });
    assert_eq!(one_hub.counters().members, 1, "it may come back here");
    assert!(!told(&mut one_hub).contains("presence_leave"));
    outlive_graces(&mut one_hub);
    assert!(told(&mut one_hub).contains("presence_leave"));
    assert_eq!(one_hub.counters().members, 0);
}

// P5.4
#[test]
fn a_node_that_is_out_keeps_its_list_and_decides_nothing() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    say(&mut one_hub, slot, TRACK);
    told(&mut one_hub);
    tell(&mut one_hub, NodeEvent::Out { owner: Owner(3) });
    say(&mut one_hub, slot, r#"{"type":"untrack","channel":"presence:lobby"}"#);
    assert!(!told(&mut one_hub).contains("presence_leave"), "nobody has decided it");
    assert_eq!(one_hub.take_node_mail(), [], "and there is nobody to tell");
}

// P7.16
#[test]
fn who_comes_back_after_its_node_is_gone_is_not_seen_to_leave() {
    let mut one_hub = with_grace();
    open_home(&mut one_hub);
    let subscriber = one_hub.connect();
    say(&mut one_hub, subscriber, SUBSCRIBE);
    tell(&mut one_hub, put(1));
    told(&mut one_hub);
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    let back = one_hub.connect_claiming(claim_from_elsewhere());
    one_hub.turn();
    let text = told(&mut one_hub);
    let id = presence(7).connection.to_string();
    assert!(text.contains(&id), "it has its connection's id again: {text}");
    say(&mut one_hub, back, &TRACK.replace(r#"{"a":1}"#, r#"{"is":"there"}"#));
    outlive_graces(&mut one_hub);
    let text = told(&mut one_hub);
    assert!(text.contains(r#""ref":"r1""#), "{text}");
    assert!(!text.contains("presence_leave") && !text.contains("presence_join"), "{text}");
    assert_eq!(one_hub.counters().members, 1);
}

// P7.10
#[test]
fn a_token_of_another_node_that_is_used_twice_gives_one_member() {
    let mut one_hub = with_grace();
    open_home(&mut one_hub);
    let first = one_hub.connect_claiming(claim_from_elsewhere());
    say(&mut one_hub, first, TRACK);
    let second = one_hub.connect_claiming(claim_from_elsewhere());
    told(&mut one_hub);
    say(&mut one_hub, second, TRACK);
    let written = one_hub.take_recorded();
    assert!(has_closed_with(&written, 1001), "the first socket is closed");
    assert_eq!(one_hub.counters().members, 1);
    outlive_graces(&mut one_hub);
    assert_eq!(one_hub.counters().members, 1, "what the first has left behind takes nothing along");
}

// P7.10, P4.23
#[test]
fn what_an_earlier_socket_has_left_behind_keeps_no_field_from_ending() {
    let mut one_hub = with_grace();
    open_home(&mut one_hub);
    let subscriber = one_hub.connect();
    say(&mut one_hub, subscriber, SUBSCRIBE);
    let first = one_hub.connect_claiming(claim_from_elsewhere());
    say(&mut one_hub, first, TRACK);
    let second = one_hub.connect_claiming(claim_from_elsewhere());
    let typing = r#"{"type":"presence_update","channel":"presence:lobby","state":{"t":1},"#;
    say(&mut one_hub, second, &format!(r#"{typing}"expire":{{"t":12000}}}}"#));
    outlive_graces(&mut one_hub);
    told(&mut one_hub);
    outlive_graces(&mut one_hub);
    assert!(told(&mut one_hub).contains(r#""state":{}"#));
}

// P4.23, P7.16
#[test]
fn fields_that_an_earlier_socket_showed_end_nothing_of_what_a_later_one_shows_elsewhere() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    let subscriber = one_hub.connect();
    say(&mut one_hub, subscriber, SUBSCRIBE);
    let typing = r#"{"type":"presence_update","channel":"presence:lobby","state":{"t":1},"#;
    say(&mut one_hub, slot, &format!(r#"{typing}"expire":{{"t":2000}}}}"#));
    let connection = one_hub::fixed::connection_id(slot, 0);
    let later = Put {
        channel: lobby(),
        presence: Presence { connection, generation: 256, ..presence(7) },
        state: state(r#"{"t":2}"#),
        max_members: 100,
        ticket: None,
    };
    let items = vec![Item::Put(later)];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    assert!(told(&mut one_hub).contains(r#""state":{"t":2}"#));
    outlive_graces(&mut one_hub);
    assert!(!told(&mut one_hub).contains(r#""state":{}"#), "its own node ends its fields");
}

// P7.10
#[test]
fn a_socket_whose_connection_came_back_elsewhere_later_is_closed() {
    let mut one_hub = with_grace();
    open_home(&mut one_hub);
    let late = one_hub.connect_claiming(claim_from_elsewhere());
    let later = Put {
        channel: lobby(),
        presence: Presence { generation: 10_000, ..presence(7) },
        state: state("{}"),
        max_members: 100,
        ticket: None,
    };
    let items = vec![Item::Put(later)];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    told(&mut one_hub);
    say(&mut one_hub, late, TRACK);
    assert!(has_closed_with(&one_hub.take_recorded(), 1001));
    assert_eq!(one_hub.counters().members, 1, "the other node's");
}

// P7.9
#[test]
fn a_node_that_is_alone_takes_no_session_of_another() {
    let settings = ChannelSettings { disconnect_grace_ms: 5_000, ..settings() };
    let mut one_hub = OneHub::with_policy(Policy::new(settings, Patterns::default()));
    one_hub.record();
    one_hub.connect_claiming(claim_from_elsewhere());
    one_hub.turn();
    let id = presence(7).connection.to_string();
    let text = told(&mut one_hub);
    assert!(text.contains("auth_success") && !text.contains(&id), "{text}");
}

/// Who has joined or left the lobby, as was announced since the last call.
fn announced(one_hub: &mut OneHub) -> Vec<(ChangeKind, ConnectionId)> {
    let all = one_hub.take_announcements();
    let changes = all.into_iter().flat_map(|announcement| announcement.changes);
    changes.map(|change| (change.kind, change.connection)).collect()
}

// P5.4
#[test]
fn a_new_home_announces_a_gap_and_then_the_joins_that_no_home_has_told_of() {
    let all = Pattern::parse("presence:*").expect("a valid pattern");
    let policy = Policy::new(settings(), Patterns::default());
    let policy = policy.announcing(vec![(all, Announces::Membership)]);
    let mut one_hub = OneHub::one_of_several(policy);
    tell(&mut one_hub, NodeEvent::Out { owner: Owner(1) });
    let opened = home(&mut one_hub);
    let reported = |number, seen| Reported {
        presence: presence(number),
        shown: Shown::State(state("{}")),
        seen,
    };
    let members = vec![reported(6, Some(Position { epoch: 1, seq: 4 })), reported(8, None)];
    let channel = Channel {
        name: lobby(),
        interest: Interest::Nothing,
        members,
        waiting: Vec::new(),
        copied: None,
    };
    let report =
        Report { shard: lobby().shard(), epoch: 1, decided: None, channels: vec![channel] };
    let items = vec![Item::Report(report)];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    tell(&mut one_hub, put(2));
    assert_eq!((one_hub.take_gaps(), announced(&mut one_hub)), (0, vec![]), "it decides nothing");
    tell(&mut one_hub, opened);
    one_hub.wait(Duration::from_secs(1));
    one_hub.turn();
    assert_eq!(one_hub.take_gaps(), 1);
    let joins = [7, 8].map(|number| (ChangeKind::Added, presence(number).connection));
    let mut told = announced(&mut one_hub);
    told.sort_unstable_by_key(|(_, connection)| *connection);
    assert_eq!(told, joins, "the other one has been told of");
    tell(&mut one_hub, NodeEvent::Gone(OTHER));
    one_hub.wait(Duration::from_secs(1));
    one_hub.turn();
    let mut left: Vec<_> = announced(&mut one_hub).into_iter().map(|(_, id)| id).collect();
    left.sort_unstable();
    assert_eq!(left, [6, 7, 8].map(|number| presence(number).connection));
    copy(&mut one_hub);
    assert_eq!(one_hub.take_gaps(), 0, "the other home says so");
}

// P5.4
#[test]
fn a_copy_does_not_answer_for_the_home() {
    let (mut one_hub, _) = member();
    let ask = |one_hub: &mut OneHub| {
        let request = ReadRequest::ListMembers { channel: lobby(), after: None, limit: 10 };
        one_hub.tell(Event::Request { id: 1, request: request.into() });
        one_hub.turn();
        one_hub.take_responses()
    };
    copy(&mut one_hub);
    assert_eq!(ask(&mut one_hub), [(1, Response::NotHome)]);
    let opened = home(&mut one_hub);
    assert_eq!(ask(&mut one_hub), [(1, Response::NotHome)], "it does not know everything yet");
    tell(&mut one_hub, opened);
    assert!(matches!(ask(&mut one_hub)[..], [(1, Response::Members(_))]));
}

fn ask(one_hub: &mut OneHub, request: impl Into<Request>) -> Response {
    one_hub.tell(Event::Request { id: 1, request: request.into() });
    one_hub.turn();
    let [(1, response)] = &one_hub.take_responses()[..] else { panic!("one answer") };
    response.clone()
}

fn key() -> MemberKey {
    MemberKey::parse("bot").expect("a valid key")
}

/// A put of a key whose member has the id that `put` of the other node shows.
fn put_member(one_hub: &mut OneHub) -> Response {
    let member = PutMember {
        channel: lobby(),
        key: key(),
        user: UserId::parse("bot").expect("a valid id"),
        state: state(r#"{"is":"here"}"#),
        ttl: Duration::from_secs(600),
        connection: presence(7).connection,
    };
    ask(one_hub, WriteRequest::PutMember(member))
}

fn taken(generation: u32) -> Item {
    Item::Taken { connection: presence(7).connection, generation }
}

fn sent_items(one_hub: &mut OneHub) -> Vec<Item> {
    let mail = one_hub.take_node_mail().into_iter().flat_map(|mail| match mail {
        NodeMail::Items { items, .. } => items,
        _ => Vec::new(),
    });
    mail.collect()
}

// P5.4
#[test]
fn a_key_that_another_node_holds_is_taken_over_where_it_is_put_or_removed() {
    let (mut one_hub, _) = member();
    open_home(&mut one_hub);
    tell(&mut one_hub, put(1));
    one_hub.take_node_mail();
    let connection = presence(7).connection;
    assert_eq!(put_member(&mut one_hub), Response::Put { connection, is_new: false });
    assert!(sent_items(&mut one_hub).contains(&taken(0)), "the other node holds it no more");
    assert_eq!(one_hub.counters().members, 1);
    let remove = || WriteRequest::RemoveMember { channel: lobby(), key: key(), connection };
    assert_eq!(ask(&mut one_hub, remove()), Response::Removed);
    assert_eq!(ask(&mut one_hub, remove()), Response::NotFound);
    tell(&mut one_hub, put(2));
    one_hub.take_node_mail();
    assert_eq!(ask(&mut one_hub, remove()), Response::Removed, "no put came before");
    assert!(sent_items(&mut one_hub).contains(&taken(0)));
    one_hub.wait(Duration::from_secs(1));
    one_hub.turn();
    assert_eq!(one_hub.counters().members, 0);
}

// P5.4
#[test]
fn a_node_whose_key_another_one_has_taken_over_does_not_end_it() {
    let (mut one_hub, _) = member();
    open_home(&mut one_hub);
    put_member(&mut one_hub);
    assert_eq!(one_hub.holdings().keyed_members, 1);
    copy(&mut one_hub);
    assert_eq!(one_hub.holdings().keyed_members, 1, "it is still the one that holds it");
    let items = vec![taken(0)];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
    assert_eq!(one_hub.holdings().keyed_members, 0);
}

/// How long clients have to say what they show after a fault, and the next look at it.
const CLIENTS_ANSWER_WITHIN: Duration = Duration::from_millis(2_500);

fn lost(mail: &[NodeMail]) -> Vec<u16> {
    let lost = mail.iter().filter_map(|mail| match mail {
        NodeMail::Lost { shard, .. } => Some(*shard),
        _ => None,
    });
    lost.collect()
}

// P9.1
#[test]
fn a_home_that_loses_a_shard_has_all_nodes_asked_once_its_clients_have_answered() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    tell(&mut one_hub, put(1));
    told(&mut one_hub);
    one_hub.fail_next_put(lobby());
    say(&mut one_hub, slot, TRACK);
    let text = told(&mut one_hub);
    assert!(text.contains("PRESENCE_RESYNC") && !text.contains("presence_leave"), "{text}");
    one_hub.take_node_mail();
    say(&mut one_hub, slot, TRACK);
    assert_eq!(lost(&one_hub.take_node_mail()), [0; 0], "the others have time to answer, too");
    let mut waited = Duration::ZERO;
    while waited < CLIENTS_ANSWER_WITHIN {
        one_hub.wait(SCAN_EVERY);
        one_hub.turn();
        waited += SCAN_EVERY;
    }
    assert_eq!(lost(&one_hub.take_node_mail()), [lobby().shard()]);
    assert!(!told(&mut one_hub).contains("presence_leave"), "nobody knows who has left");
    let (shard, term) = (lobby().shard(), term(2, ME));
    tell(&mut one_hub, NodeEvent::Home { shard, term });
    let report = Report { shard, epoch: term.epoch, decided: None, channels: vec![reported()] };
    let items = vec![Item::Report(report)];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 2, items });
    tell(&mut one_hub, NodeEvent::Opened { shard, term });
    let text = told(&mut one_hub);
    assert!(text.contains(r#""ref":"r1""#) && !text.contains("presence_leave"), "{text}");
    assert_eq!(one_hub.counters().members, 2);
}

/// What the other node has in the lobby.
fn reported() -> Channel {
    let (presence, shown) = (presence(7), Shown::State(state(r#"{"is":"there"}"#)));
    let members = vec![Reported { presence, shown, seen: None }];
    Channel {
        name: lobby(),
        interest: Interest::Nothing,
        members,
        waiting: Vec::new(),
        copied: None,
    }
}

// P9.1
#[test]
fn a_copy_that_is_lost_is_asked_for_again() {
    let (mut one_hub, slot) = member();
    copy(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    tell(&mut one_hub, snap(4));
    told(&mut one_hub);
    one_hub.take_node_mail();
    one_hub.fail_next_put(lobby());
    say(&mut one_hub, slot, TRACK);
    let mail = one_hub.take_node_mail();
    let wants = |item: &Item| matches!(item, Item::Interest { interest: Interest::Changes, .. });
    assert!(
        matches!(&mail[..], [NodeMail::Items { items, .. }] if items.iter().any(wants)),
        "{mail:?}"
    );
    assert!(told(&mut one_hub).contains("PRESENCE_RESYNC"));
    tell(&mut one_hub, snap(4));
    assert!(told(&mut one_hub).contains("presence_sync"), "a change may have been lost");
}

// P9.2
#[test]
fn a_channel_that_wakes_at_another_node_is_told_to_sockets_that_only_name_it() {
    let (mut one_hub, slot) = member();
    copy(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    tell(&mut one_hub, snap(1));
    one_hub.connect_idle(DefaultChannel::Named(lobby()));
    one_hub.turn();
    told(&mut one_hub);
    let says = |batch, item| NodeEvent::Received { from: OTHER, batch, items: vec![item] };
    tell(&mut one_hub, says(2, Item::Hibernated { channel: lobby(), position: None }));
    assert_eq!(told(&mut one_hub), "", "nobody hears of it");
    tell(&mut one_hub, says(3, Item::Woke { channel: lobby() }));
    assert_eq!(told(&mut one_hub).matches("PRESENCE_RESYNC").count(), 2);
}

// P9.2
#[test]
fn who_has_not_been_the_home_for_long_wakes_nothing() {
    let (mut one_hub, slot) = member();
    copy(&mut one_hub);
    say(&mut one_hub, slot, SUBSCRIBE);
    tell(&mut one_hub, snap(1));
    let (shard, term) = (lobby().shard(), term(2, ME));
    tell(&mut one_hub, NodeEvent::Home { shard, term });
    told(&mut one_hub);
    let items = vec![Item::Woke { channel: lobby() }];
    tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 2, items });
    assert_eq!(told(&mut one_hub), "");
}

#[test]
fn nodes_that_join_are_told_which_kicks_are_in_force() {
    let (mut one_hub, _) = member();
    let target = Target::User(UserId::parse("other").expect("a valid id"));
    let time = Duration::from_secs(60);
    let kick = WriteRequest::Kick { channel: lobby(), target, time };
    assert_eq!(ask(&mut one_hub, kick), Response::Counts(vec![0]));
    assert_eq!(sent_items(&mut one_hub), [], "the backend tells the nodes that there are");
    tell(&mut one_hub, NodeEvent::Joined(vec![OTHER]));
    let told = sent_items(&mut one_hub);
    let [Item::Kick(kick)] = &told[..] else { panic!("one kick: {told:?}") };
    let user = UserId::parse("other").expect("a valid id");
    assert_eq!((&kick.target, &kick.channel), (&KickTarget::User(user), &Some(lobby())));
    assert!((50_000..=60_000).contains(&kick.for_ms), "{kick:?}");
}

#[test]
fn a_node_keeps_out_whom_another_one_keeps_out() {
    let (mut one_hub, slot) = member();
    open_home(&mut one_hub);
    say(&mut one_hub, slot, TRACK);
    told(&mut one_hub);
    let user = UserId::parse(&format!("user-{slot}")).expect("a valid id");
    let kick = Kick { target: KickTarget::User(user), channel: Some(lobby()), for_ms: 60_000 };
    for _ in 0..2 {
        let items = vec![Item::Kick(kick.clone())];
        tell(&mut one_hub, NodeEvent::Received { from: OTHER, batch: 1, items });
        one_hub.turn();
    }
    assert_eq!(one_hub.counters().members, 0);
    assert_eq!(told(&mut one_hub).matches(r#""unsubscribed""#).count(), 1);
    say(&mut one_hub, slot, TRACK);
    let text = told(&mut one_hub);
    assert!(text.contains("KICKED"), "{text}");
    assert_eq!(one_hub.counters().members, 0);
}

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use herenow_core::{Heard, ListPosition, Right, Since};
use herenow_hub::{
    Address, Cause, ChannelCount, GaveWayTo, Life, Lost, MemberFacts, MemberKey, MemberPage, Past,
    PastMember, PresentConnection, PresentMember, PutMember, ReadRequest, RefusedRequest,
    RefusedToken, RuleOutcome, Said, SocketEnd, Target, UserEvent, UserFacts, WriteRequest,
};
use herenow_wire::{ChannelName, ConnectionId, ErrorCode, Info, State, User, UserId};

use super::*;

const ANY_SIZE: usize = 1 << 20;

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn channel() -> ChannelName {
    ChannelName::parse("presence:caf\u{e9} \"1\"").unwrap()
}

fn user() -> UserId {
    UserId::parse("j\u{1f600}ne").unwrap()
}

fn key() -> MemberKey {
    MemberKey::parse("bot-1").unwrap()
}

const ID: ConnectionId = ConnectionId::from_bytes([7; 16]);

fn state() -> State {
    State::parse(r#"{"a":"\"\u00e9","n":1.5}"#).unwrap()
}

fn life() -> Life {
    Life {
        opened: at(1),
        address: Address::Behind(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        agent: Some("agent".into()),
        signed_in: Some(at(2)),
        key: None,
        has_resumed: true,
        heard_at: at(3),
        heard: Heard::Ping,
    }
}

fn listed() -> ListedMember {
    let info = Info::parse(r#"{"name":"Jane"}"#).unwrap();
    let user = User::new(user(), Some(info));
    ListedMember { user, connection: ID, state: state(), since: Since::at(at(300)), seq: 4 }
}

fn member_facts() -> MemberFacts {
    let lost = Lost { at: at(5), end: SocketEnd::ClientClosed(1005) };
    let causes = [
        Cause::Untracked,
        Cause::LeaseEnded { silent: Duration::from_micros(5_000_001) },
        Cause::GraceEnded(lost),
        Cause::GaveWay(lost, GaveWayTo::Claimant),
        Cause::RightLost(Some(RuleOutcome { rule: Right::Track, said: Said::Failed })),
        Cause::KeyEnded(key()),
    ];
    let past = |cause| PastMember {
        user: user(),
        connection: ID,
        joined: Some(Since::at(at(100))),
        cause,
        pattern: Some("*".into()),
        life: Some(life()),
    };
    let past = |cause| Past { at: at(9), what: past(cause) };
    let joined = Since::at(at(100));
    MemberFacts {
        members: vec![PresentMember { connection: ID, joined, key: Some((key(), at(8))) }],
        count: 1,
        left: causes.into_iter().map(past).collect(),
        pattern: None,
        kept_out: Some(Duration::from_secs(3)),
        complete_since: at(1),
    }
}

fn user_facts() -> UserFacts {
    let refused = RefusedRequest {
        connection: ID,
        channel: Some(channel()),
        code: ErrorCode::Kicked,
        is_end_of_subscription: true,
        rule: None,
        pattern: None,
        count: 2,
        first: at(4),
    };
    let ended = UserEvent::Ended { connection: ID, end: SocketEnd::TakenOver, life: life() };
    let token = RefusedToken {
        address: Address::Unix,
        reason: Cow::Borrowed("it has expired"),
        key: None,
        expired_for_ms: Some(1),
        count: 1,
        first: at(4),
    };
    let connection = PresentConnection {
        connection: ID,
        life: life(),
        lost: None,
        is_subscriber: true,
        is_tracking: false,
    };
    UserFacts {
        now: at(10),
        connections: vec![connection],
        count: 1,
        events: vec![
            Past { at: at(6), what: ended },
            Past { at: at(7), what: UserEvent::Refused(refused) },
        ],
        refused_tokens: vec![Past { at: at(8), what: token }],
        kept_out: None,
        complete_since: at(1),
        never_authenticated: 3,
    }
}

#[test]
fn every_request_comes_back_as_it_was_sent() {
    let put = PutMember {
        channel: channel(),
        key: key(),
        user: user(),
        state: state(),
        ttl: Duration::from_millis(1500),
        connection: ID,
    };
    let (channel, user, time) = (channel(), user(), Duration::from_secs(60));
    let (channels, users) = (vec![channel.clone()], vec![user.clone()]);
    let explained = (channel.clone(), user.clone());
    let reads = [
        ReadRequest::ListChannels { prefix: "a".into(), after: Some(channel.clone()), limit: 3 },
        ReadRequest::CountMembers { channels: channels.clone() },
        ReadRequest::CountSubscribers { channels: channels.clone() },
        ReadRequest::ListMembers { channel: channel.clone(), after: Some(1), limit: 2 },
        ReadRequest::FindUser { user: user.clone() },
        ReadRequest::ListUser { user: user.clone(), channels },
        ReadRequest::ExplainMember { channel: explained.0.clone(), user: explained.1.clone() },
        ReadRequest::ExplainUser { channel: explained.0, user: explained.1 },
        ReadRequest::CountUsers { users, channel: None },
    ];
    let kick = |target| WriteRequest::Kick { channel: channel.clone(), target, time };
    let writes = [
        WriteRequest::PutMember(put),
        WriteRequest::RemoveMember { channel: channel.clone(), key: key(), connection: ID },
        kick(Target::User(user.clone())),
        kick(Target::Connection(ID)),
        WriteRequest::Disconnect { user, time },
    ];
    let writes = writes.into_iter().map(Request::from);
    for request in reads.into_iter().map(Request::from).chain(writes) {
        assert_eq!(decode_request(&encode_request(&request)), Some(request));
    }
}

#[test]
fn every_response_comes_back_as_it_was_sent() {
    let position = Some(ListPosition { epoch: 1 << 52, seq: 9, changes: 9 });
    let count = ChannelCount { channel: channel(), users: 1, connections: 2, position };
    let members = vec![listed()];
    let page = MemberPage { position, users: 1, connections: 1, members, has_more: true };
    let responses = vec![
        Response::Channels(vec![count]),
        Response::Counts(vec![0, 7]),
        Response::Members(page),
        Response::ChannelNames(vec![channel()]),
        Response::UserMembers(vec![(channel(), vec![listed()])]),
        Response::MemberFacts(Box::new(member_facts())),
        Response::UserFacts(Box::new(user_facts())),
        Response::Put { connection: ID, is_new: true },
        Response::Full,
        Response::Removed,
        Response::NotFound,
    ];
    let clock = Clock { started_at_unix_ms: 1_800_000_000_123, now: at(10) };
    let bytes = Answer { clock, outcome: Outcome::Done(responses.clone()) }.encode(ANY_SIZE);
    let answer = Answer::decode(&bytes).unwrap();
    assert_eq!((answer.clock, answer.outcome), (clock, Outcome::Done(responses)));
}

#[test]
fn an_answer_that_is_too_large_says_only_so() {
    let clock = Clock { started_at_unix_ms: 1, now: at(1) };
    let response =
        Response::Members(MemberPage { members: vec![listed(); 9], ..Default::default() });
    let bytes = Answer { clock, outcome: Outcome::Done(vec![response]) }.encode(200);
    assert_eq!(Answer::decode(&bytes).unwrap().outcome, Outcome::TooLarge);
}

#[test]
fn what_is_not_valid_in_a_frame_of_a_client_is_not_valid_between_nodes() {
    let listing = |channel: &str| {
        let text = format!(
            r#"{{"Read":{{"ListMembers":{{"channel":"{channel}","after":null,"limit":1}}}}}}"#
        );
        decode_request(text.as_bytes())
    };
    assert!(listing("presence:a").is_some());
    for channel in ["presence:", "a", r"presence:\u0007", &format!("presence:{}", "a".repeat(201))]
    {
        assert_eq!(listing(channel), None, "{channel}");
    }
    let put = |key: &str, user: &str, state: &str, id: &str| {
        let text = serde_json::json!({ "Write": { "PutMember": {
            "channel": "presence:a", "key": key, "user": user, "state": state,
            "ttl": { "secs": 1, "nanos": 0 }, "connection": id,
        } } });
        decode_request(text.to_string().as_bytes())
    };
    let id = ID.to_string();
    assert!(put("k", "u", "{}", &id).is_some());
    let long = "a".repeat(257);
    let large = format!(r#"{{"a":"{}"}}"#, "a".repeat(1024));
    let bad = [
        put("a b", "u", "{}", &id),
        put("k", "", "{}", &id),
        put("k", &long, "{}", &id),
        put("k", "u", "[]", &id),
        put("k", "u", &large, &id),
        put("k", "u", "{}", "short"),
    ];
    assert_eq!(bad, [const { None }; 6]);
}

#[test]
fn facts_of_another_node_are_moved_to_the_clock_that_they_are_told_by() {
    let mut facts = user_facts();
    facts.move_to(at(10), at(1_010));
    assert_eq!((facts.now, facts.complete_since), (at(1_010), at(1_001)));
    assert_eq!(facts.events[0].at, at(1_006));
    assert_eq!(facts.connections[0].life.signed_in, Some(at(1_002)));
    let mut member = member_facts();
    member.move_to(at(10), at(1_010));
    assert_eq!(member.members[0].joined, Since::at(at(1_100)));
    assert_eq!(member.members[0].key, Some((key(), at(1_008))));
    member.move_to(at(1_010), at(10));
    assert_eq!(member, member_facts());
}

//! The client's state machine: this input, at this time, gives exactly these outputs.

use std::time::{Duration, Instant};

use herenow_client::machine::{
    CONNECT_PATIENCE, Closed, Event, Input, MANY_ATTEMPTS, Machine, Moment, Output, PING_INTERVAL,
    PING_PATIENCE, RECONNECT_BASE, RECONNECT_CAP, RECONNECT_LATE_CAP, RETRY_CAP, Status,
};
use herenow_client::protocol::Failure;
use herenow_client::roster::RosterEvent;
use herenow_wire::{ChannelName, State};

const AUTH: &str = r#"{"type":"auth","token":"t0ken"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"presence:a"}"#;
const UNSUBSCRIBE: &str = r#"{"type":"unsubscribe","channel":"presence:a"}"#;
const LEAVE: &str = r#"{"type":"presence_leave","channel":"presence:a"}"#;
const JOIN_1: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":1}}"#;
const JOIN_2: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":2}}"#;
const ME: &str = r#"{"userId":"jane","connectionId":"c1","state":{"n":1}}"#;
const AUTH_SUCCESS: &str = r#"{"type":"auth_success","userId":"jane","connectionId":"c1"}"#;

/// A machine with a clock and a die that the test holds.
struct Bench {
    machine: Machine,
    start: Instant,
    now: Instant,
    random: f64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let machine = Machine::new(Some("t0ken".into()));
        Self { machine, start: now, now, random: 0.5 }
    }

    /// With a socket that the server answered on.
    fn connected() -> Self {
        let mut bench = Self::new();
        bench.input(Input::Start);
        bench.input(Input::Opened);
        bench.text(AUTH_SUCCESS);
        bench
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.handle(input, Moment { now: self.now, random: self.random }, &mut out);
        out
    }

    fn text(&mut self, text: &str) -> Vec<Output> {
        self.input(Input::Text(text.into()))
    }

    fn lose(&mut self) -> Vec<Output> {
        self.input(Input::Closed(Closed::default()))
    }

    fn close(&mut self, code: u16, reason: &str) -> Vec<Output> {
        self.input(Input::Closed(Closed { code: Some(code), reason: reason.into() }))
    }

    /// Moves the clock to the next deadline, which must be this long after the present.
    fn timeout(&mut self, after: Duration) -> Vec<Output> {
        let at = self.machine.poll_timeout().expect("a deadline is set");
        assert_eq!(at - self.now, after, "the next deadline");
        self.now = at;
        let mut out = Vec::new();
        self.machine.handle_timeout(Moment { now: at, random: self.random }, &mut out);
        out
    }
}

fn a() -> ChannelName {
    ChannelName::parse("presence:a").expect("a good name")
}

fn state(json: &str) -> State {
    State::parse(json).expect("a good state")
}

fn send(text: &str) -> Output {
    Output::Send(text.into())
}

fn status(status: Status) -> Output {
    Output::Event(Event::Status(status))
}

fn changed() -> Output {
    Output::Event(Event::Changed { channel: a() })
}

fn refused(code: &str, channel: Option<ChannelName>) -> Output {
    let failure = Failure { code: code.into(), message: "m".into(), channel, retry_after: None };
    Output::Event(Event::Refused(failure))
}

fn sync(epoch: u64, seq: u64, rows: &str) -> String {
    format!(
        r#"{{"type":"presence_sync","channel":"presence:a","epoch":{epoch},"seq":{seq},"presences":[{rows}]}}"#
    )
}

const ROW_BOB: &str = r#"{"userId":"bob","connectionId":"b1","state":{"n":9}}"#;

#[test]
fn the_first_message_authenticates_and_the_wishes_follow_without_waiting() {
    let mut bench = Bench::new();
    assert_eq!(bench.input(Input::Listen(a())), []);
    assert_eq!(bench.input(Input::Start), [status(Status::Connecting), Output::Connect]);
    let outputs = bench.input(Input::Opened);
    assert_eq!(outputs, [status(Status::Connected), send(AUTH), send(SUBSCRIBE)]);
}

#[test]
fn the_newest_state_tracked_before_the_connection_stands_is_sent_when_it_does() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    assert_eq!(bench.input(Input::Track(a(), state(r#"{"n":1}"#))), []);
    assert_eq!(bench.input(Input::Track(a(), state(r#"{"n":2}"#))), []);
    bench.input(Input::Listen(a()));
    let outputs = bench.input(Input::Opened);
    assert_eq!(outputs, [status(Status::Connected), send(AUTH), send(JOIN_2)]);
}

#[test]
fn a_track_that_was_taken_back_before_the_connection_stands_is_not_sent() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    bench.input(Input::Track(a(), state(r#"{"n":1}"#)));
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.input(Input::Opened), [status(Status::Connected), send(AUTH)]);
}

#[test]
fn who_has_no_token_sends_none() {
    let mut bench = Bench::new();
    bench.machine = Machine::new(None);
    bench.input(Input::Listen(a()));
    bench.input(Input::Start);
    assert_eq!(bench.input(Input::Opened), [status(Status::Connected), send(SUBSCRIBE)]);
}

#[test]
fn the_last_interest_in_a_channel_ends_the_subscription() {
    let mut bench = Bench::connected();
    assert_eq!(bench.input(Input::Track(a(), state(r#"{"n":1}"#))), [send(JOIN_1)]);
    assert_eq!(bench.input(Input::Listen(a())), []);
    bench.text(&sync(7, 0, ME));
    assert_eq!(bench.input(Input::Untrack(a())), [send(LEAVE)]);
    assert_eq!(bench.input(Input::Untrack(a())), []);
    assert_eq!(bench.input(Input::Track(a(), state(r#"{"n":2}"#))), [send(JOIN_2)]);
    assert_eq!(bench.input(Input::Unlisten(a())), []);
    assert_eq!(bench.input(Input::Untrack(a())), [send(UNSUBSCRIBE)]);
    assert_eq!(bench.input(Input::Listen(a())), [send(SUBSCRIBE)]);
    assert_eq!(bench.input(Input::Unlisten(a())), [send(UNSUBSCRIBE)]);
    assert_eq!(bench.input(Input::Unlisten(a())), []);
}

#[test]
fn frames_of_a_channel_that_nobody_wants_are_ignored() {
    let mut bench = Bench::connected();
    assert_eq!(bench.text(&sync(7, 1, ROW_BOB)), []);
    assert!(bench.machine.roster(&a()).is_none());
}

#[test]
fn what_comes_late_for_an_ended_subscription_is_not_taken_for_the_new_one() {
    const UNSUBSCRIBED: &str = r#"{"type":"unsubscribed","channel":"presence:a"}"#;
    const DENIED: &str =
        r#"{"type":"error","code":"CHANNEL_ACCESS_DENIED","message":"m","channel":"presence:a"}"#;
    const LIMITED: &str =
        r#"{"type":"error","code":"RATE_LIMITED","message":"m","channel":"presence:a"}"#;
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.input(Input::Unlisten(a()));
    assert_eq!(bench.input(Input::Listen(a())), [send(SUBSCRIBE)]);
    assert_eq!(bench.text(&sync(7, 1, ROW_BOB)), []);
    assert_eq!(bench.text(DENIED), [], "a refusal of the old one neither");
    let outputs = bench.text(LIMITED);
    assert_eq!(outputs, [refused("RATE_LIMITED", Some(a()))], "this one overtakes other replies");
    assert_eq!(bench.text(UNSUBSCRIBED), []);
    assert_eq!(bench.timeout(RETRY_CAP * 3 / 4), [send(SUBSCRIBE)]);
    assert_eq!(bench.text(&sync(7, 2, ROW_BOB)), [changed()]);
}

#[test]
fn every_end_of_a_subscription_is_waited_for() {
    let mut bench = Bench::connected();
    for _ in 0..2 {
        bench.input(Input::Listen(a()));
        bench.input(Input::Unlisten(a()));
    }
    bench.input(Input::Listen(a()));
    for answer in [
        r#"{"type":"unsubscribed","channel":"presence:a"}"#,
        r#"{"type":"error","code":"NOT_SUBSCRIBED","message":"m","channel":"presence:a"}"#,
    ] {
        assert_eq!(bench.text(&sync(7, 1, ROW_BOB)), []);
        assert_eq!(bench.text(answer), []);
    }
    assert_eq!(bench.text(&sync(7, 1, ROW_BOB)), [changed()]);
}

#[test]
fn no_end_of_a_subscription_is_waited_for_beyond_its_socket() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.input(Input::Unlisten(a()));
    bench.input(Input::Listen(a()));
    bench.lose();
    bench.timeout(RECONNECT_BASE / 2);
    bench.input(Input::Opened);
    assert_eq!(bench.text(&sync(7, 1, ROW_BOB)), [changed()]);
}

#[test]
fn a_resync_is_answered_with_the_newest_state() {
    let mut bench = Bench::connected();
    let resync = r#"{"type":"PRESENCE_RESYNC","channel":"presence:a"}"#;
    bench.input(Input::Track(a(), state(r#"{"n":1}"#)));
    bench.input(Input::Track(a(), state(r#"{"n":2}"#)));
    assert_eq!(bench.text(resync), [send(JOIN_2)]);
    bench.input(Input::Listen(a()));
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.text(resync), [], "who only listens has nothing to say");
}

#[test]
fn after_a_loss_the_list_stays_and_everything_is_asked_for_again() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    assert_eq!(bench.text(&sync(7, 5, ROW_BOB)), [changed()]);
    assert_eq!(bench.lose(), [status(Status::Reconnecting)]);
    let listed = bench.machine.roster(&a()).expect("the channel is wanted").users();
    assert_eq!(listed.len(), 1);
    bench.input(Input::Track(a(), state(r#"{"n":1}"#)));
    assert_eq!(bench.timeout(RECONNECT_BASE / 2), [Output::Connect]);
    let outputs = bench.input(Input::Opened);
    assert_eq!(outputs, [status(Status::Connected), send(AUTH), send(JOIN_1)]);
    assert_eq!(bench.text(&sync(7, 5, ROW_BOB)), [], "nothing differs, nothing fires");
    let outputs = bench.text(&sync(7, 6, ""));
    let leave = RosterEvent::Leave {
        user_id: "bob".into(),
        connection_id: "b1".into(),
        reason: "unknown".into(),
        last: true,
    };
    assert_eq!(outputs, [Output::Event(Event::Roster { channel: a(), event: leave }), changed()]);
}

#[test]
fn attempts_grow_apart_up_to_the_cap_and_never_end() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    for attempt in 0..100 {
        let longest = if attempt < MANY_ATTEMPTS { RECONNECT_CAP } else { RECONNECT_LATE_CAP };
        let cap = (RECONNECT_BASE * (1 << attempt.min(10))).min(longest);
        bench.lose();
        assert_eq!(bench.timeout(cap / 2), [Output::Connect]);
    }
}

#[test]
fn a_server_that_accepts_and_closes_at_once_does_not_quicken_the_attempts() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    for attempt in 0..3 {
        bench.input(Input::Opened);
        bench.text(r#"{"type":"error","code":"SERVER_ERROR","message":"m"}"#);
        bench.lose();
        assert_eq!(bench.timeout(RECONNECT_BASE * (1 << attempt) / 2), [Output::Connect]);
    }
    bench.input(Input::Opened);
    bench.text(AUTH_SUCCESS);
    bench.lose();
    assert_eq!(bench.timeout(RECONNECT_BASE / 2), [Output::Connect]);
}

#[test]
fn the_random_number_spreads_the_attempts_from_nothing_to_the_cap() {
    for (random, delay) in [(0.0, Duration::ZERO), (0.25, RECONNECT_BASE / 4)] {
        let mut bench = Bench::new();
        bench.random = random;
        bench.input(Input::Start);
        bench.lose();
        assert_eq!(bench.timeout(delay), [Output::Connect]);
    }
}

#[test]
fn a_restarting_server_says_when_to_come_back() {
    let mut bench = Bench::connected();
    bench.close(1012, r#"{"retryAfterMs":1234}"#);
    assert_eq!(bench.timeout(Duration::from_millis(1234)), [Output::Connect]);
}

#[test]
fn a_restart_without_a_readable_hint_is_a_loss_like_any_other() {
    for reason in ["", "soon", r#"{"retryAfterMs":-1}"#, r#"{"retryAfterMs":"1"}"#] {
        let mut bench = Bench::connected();
        bench.close(1012, reason);
        assert_eq!(bench.timeout(RECONNECT_BASE / 2), [Output::Connect]);
    }
}

#[test]
fn a_full_server_is_asked_slowly() {
    for code in [1013, 4029, 4003, 1009] {
        let mut bench = Bench::connected();
        bench.close(code, "");
        assert_eq!(bench.timeout(RECONNECT_LATE_CAP / 2), [Output::Connect]);
    }
}

#[test]
fn a_refused_token_stops_the_client_until_there_is_another() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    bench.input(Input::Opened);
    let error = r#"{"type":"auth_error","code":"AUTH_FAILED","message":"m"}"#;
    assert_eq!(bench.text(error), [refused("AUTH_FAILED", None)]);
    assert_eq!(bench.close(4002, ""), [status(Status::Failed)]);
    assert_eq!(bench.machine.poll_timeout(), None);
    let outputs = bench.input(Input::Token("another".into()));
    assert_eq!(outputs, [status(Status::Connecting), Output::Connect]);
    let auth = send(r#"{"type":"auth","token":"another"}"#);
    assert_eq!(bench.input(Input::Opened), [status(Status::Connected), auth]);
}

// P11.10
#[test]
fn a_user_that_a_backend_disconnected_stays_away_until_there_is_another_token() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    let error = r#"{"type":"error","code":"KICKED","message":"m","retryAfterMs":1}"#;
    let outputs = bench.text(error);
    assert!(matches!(&outputs[..], [Output::Event(Event::Refused(_))]), "it is told: {outputs:?}");
    assert_eq!(bench.close(4005, ""), [status(Status::Failed)]);
    assert_eq!(bench.machine.poll_timeout(), None);
    let outputs = bench.input(Input::Token("another".into()));
    assert_eq!(outputs, [status(Status::Connecting), Output::Connect]);
}

#[test]
fn an_observer_whose_words_came_too_late_tries_again() {
    let mut bench = Bench::new();
    bench.machine = Machine::new(None);
    bench.input(Input::Start);
    bench.input(Input::Opened);
    assert_eq!(bench.close(4001, ""), [status(Status::Reconnecting)]);
}

#[test]
fn a_token_that_arrived_too_late_is_sent_again() {
    let mut bench = Bench::connected();
    assert_eq!(bench.close(4001, ""), [status(Status::Reconnecting)]);
}

#[test]
fn a_new_token_refreshes_on_the_same_socket_and_asks_for_what_was_refused() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    let denied =
        r#"{"type":"error","code":"CHANNEL_ACCESS_DENIED","message":"m","channel":"presence:a"}"#;
    assert_eq!(bench.text(denied), [refused("CHANNEL_ACCESS_DENIED", Some(a()))]);
    let auth = send(r#"{"type":"auth","token":"another"}"#);
    assert_eq!(bench.input(Input::Token("another".into())), [auth]);
    let refreshed = r#"{"type":"auth_refreshed","userId":"jane","revokedChannels":[]}"#;
    assert_eq!(bench.text(refreshed), [send(SUBSCRIBE)]);
    assert_eq!(bench.text(&sync(7, 5, ROW_BOB)), [changed()]);
    assert_eq!(bench.text(refreshed), [], "what was granted is not asked for again");
}

#[test]
fn a_lost_channel_empties_its_list() {
    let leave = RosterEvent::Leave {
        user_id: "bob".into(),
        connection_id: "b1".into(),
        reason: "unknown".into(),
        last: true,
    };
    let leave = Output::Event(Event::Roster { channel: a(), event: leave });
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.text(&sync(7, 5, ROW_BOB));
    let outputs = bench
        .text(r#"{"type":"unsubscribed","channel":"presence:a","code":"CHANNEL_ACCESS_DENIED"}"#);
    assert_eq!(outputs[..2], [leave.clone(), changed()]);
    assert_eq!(outputs.len(), 3);

    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.text(&sync(7, 5, ROW_BOB));
    let revoked = r#"{"type":"auth_refreshed","userId":"jane","revokedChannels":["presence:a"]}"#;
    assert_eq!(bench.text(revoked), [leave, changed()]);
}

#[test]
fn a_subscribe_that_the_server_could_not_take_is_made_again() {
    for code in ["RATE_LIMITED", "SERVER_ERROR"] {
        let mut bench = Bench::connected();
        bench.input(Input::Listen(a()));
        let error =
            format!(r#"{{"type":"error","code":"{code}","message":"m","channel":"presence:a"}}"#);
        assert_eq!(bench.text(&error), [refused(code, Some(a()))]);
        assert_eq!(bench.timeout(RETRY_CAP * 3 / 4), [send(SUBSCRIBE)]);
    }
}

#[test]
fn a_ping_goes_out_each_interval_and_any_frame_answers_it() {
    let mut bench = Bench::connected();
    for _ in 0..5 {
        assert_eq!(bench.timeout(PING_INTERVAL), [send(PING)]);
        assert_eq!(bench.text(r#"{"type":"something-new"}"#), []);
    }
    assert_eq!(bench.now - bench.start, PING_INTERVAL * 5);
}

#[test]
fn a_socket_that_does_not_answer_a_ping_is_dropped_and_replaced() {
    let mut bench = Bench::connected();
    assert_eq!(bench.timeout(PING_INTERVAL), [send(PING)]);
    let outputs = bench.timeout(PING_PATIENCE);
    assert_eq!(outputs, [Output::Abandon, status(Status::Reconnecting)]);
    assert_eq!(bench.timeout(RECONNECT_BASE / 2), [Output::Connect]);
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut bench = Bench::new();
    bench.input(Input::Start);
    let outputs = bench.timeout(CONNECT_PATIENCE);
    assert_eq!(outputs, [Output::Abandon, status(Status::Reconnecting)]);
}

#[test]
fn a_stopped_client_closes_and_stays_closed() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    assert_eq!(bench.input(Input::Stop), [Output::Close, status(Status::Closed)]);
    assert_eq!(bench.lose(), []);
    assert_eq!(bench.machine.poll_timeout(), None);
    assert_eq!(bench.input(Input::Start), [status(Status::Connecting), Output::Connect]);
}

#[test]
fn inputs_of_a_socket_that_is_gone_do_nothing() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.lose();
    assert_eq!(bench.input(Input::Opened), []);
    assert_eq!(bench.text(&sync(7, 5, ROW_BOB)), []);
    assert_eq!(bench.lose(), []);
}

/// One table of `fixtures/codes.json`.
fn codes(table: &str) -> Vec<serde_json::Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/codes.json");
    let fixture = std::fs::read_to_string(path).expect("the fixture is in the repository");
    let fixture: serde_json::Value = serde_json::from_str(&fixture).expect("the fixture is JSON");
    fixture[table].as_array().expect("the fixture has this table").clone()
}

// P10.2
#[test]
fn a_close_is_followed_by_what_the_table_of_codes_says() {
    let half_a_second = Some(RECONNECT_BASE / 2);
    for row in codes("closes") {
        let mut bench = Bench::connected();
        let code = row["code"].as_u64().and_then(|code| code.try_into().ok()).expect("a code");
        bench.close(code, r#"{"retryAfterMs":4321}"#);
        let wait = bench.machine.poll_timeout().map(|at| at - bench.now);
        let expected = match row["client"].as_str() {
            Some("soon") => half_a_second,
            Some("later") => Some(RECONNECT_LATE_CAP / 2),
            Some("told") => Some(Duration::from_millis(4321)),
            Some("new-token") => None,
            other => panic!("{other:?} is nothing that a client does"),
        };
        assert_eq!(wait, expected, "{row}");
    }
    let mut bench = Bench::connected();
    bench.close(4999, "");
    assert_eq!(bench.machine.poll_timeout().map(|at| at - bench.now), half_a_second);
}

// P10.1
#[test]
fn an_error_of_a_channel_is_followed_by_what_the_table_of_codes_says() {
    for row in codes("errors") {
        let mut bench = Bench::connected();
        bench.input(Input::Listen(a()));
        let code = row["code"].as_str().expect("a code");
        let kick = if code == "KICKED" { r#","retryAfterMs":5000"# } else { "" };
        bench.text(&format!(
            r#"{{"type":"error","code":"{code}","message":"m","channel":"presence:a"{kick}}}"#
        ));
        let wait = bench.machine.poll_timeout().map(|at| at - bench.now);
        let refreshed =
            bench.text(r#"{"type":"auth_refreshed","userId":"u","revokedChannels":[]}"#);
        let asks_with_the_next_token = refreshed == [send(SUBSCRIBE)];
        match row["client"].as_str() {
            Some("retry") => assert!(wait <= Some(RETRY_CAP), "{row}"),
            Some("kicked") => {
                assert_eq!(wait, Some(Duration::from_secs(5)), "{row}");
                assert!(asks_with_the_next_token, "{row}");
            }
            Some("next-token") => {
                assert_eq!(wait, Some(PING_INTERVAL), "{row}");
                assert!(asks_with_the_next_token, "{row}");
            }
            Some("report") => assert_eq!(wait, Some(PING_INTERVAL), "{row}"),
            Some("close") => {}
            other => panic!("{other:?} is nothing that a client does"),
        }
    }
}

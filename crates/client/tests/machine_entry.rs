//! The client's own entry: what the client does when the server has ended it.

use std::time::{Duration, Instant};

use herenow_client::machine::{Event, Input, KICKED_RETRY_CAP, Machine, Moment, Output, RETRY_CAP};
use herenow_wire::{ChannelName, State};

const TRACK: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":1}}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"presence:a"}"#;
const UNTRACK: &str = r#"{"type":"presence_leave","channel":"presence:a"}"#;
const ME: &str = r#"{"userId":"jane","connectionId":"c1","state":{"n":1}}"#;
const BOB: &str = r#"{"userId":"bob","connectionId":"b1","state":{"n":9}}"#;
const DENIED: &str =
    r#"{"type":"error","code":"CHANNEL_ACCESS_DENIED","message":"m","channel":"presence:a"}"#;

/// A client that is authenticated as c1, with a clock that the test holds.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    /// Knows nothing of any channel.
    fn signed_in() -> Self {
        let machine = Machine::new(Some("t0ken".into()));
        let mut bench = Self { machine, now: Instant::now() };
        bench.input(Input::Start);
        bench.input(Input::Opened);
        bench.text(r#"{"type":"auth_success","userId":"jane","connectionId":"c1"}"#);
        bench
    }

    /// Tracks in `presence:a` and has seen itself and bob there.
    fn tracking() -> Self {
        let mut bench = Self::signed_in();
        bench.track();
        bench.sync(1, &[ME, BOB]);
        bench
    }

    fn track(&mut self) -> Vec<String> {
        let state = State::parse(r#"{"n":1}"#).expect("a good state");
        sent(self.input(Input::Track(a(), state)))
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.machine.handle(input, Moment { now: self.now, random: 1.0 }, &mut out);
        out
    }

    fn text(&mut self, text: &str) -> Vec<Output> {
        self.input(Input::Text(text.into()))
    }

    /// What is sent after a snapshot of these rows.
    fn sync(&mut self, seq: u64, rows: &[&str]) -> Vec<String> {
        let rows = rows.join(",");
        sent(self.text(&format!(
            r#"{{"type":"presence_sync","channel":"presence:a","epoch":7,"seq":{seq},"presences":[{rows}]}}"#
        )))
    }

    /// What is sent after the own leave.
    fn leave(&mut self, seq: u64, reason: &str) -> Vec<String> {
        sent(self.text(&format!(
            r#"{{"type":"presence_leave","channel":"presence:a","seq":{seq},"userId":"jane","connectionId":"c1","reason":"{reason}"}}"#
        )))
    }

    /// What is sent after this time.
    fn later(&mut self, by: Duration) -> Vec<String> {
        self.now += by;
        let mut out = Vec::new();
        self.machine.handle_timeout(Moment { now: self.now, random: 1.0 }, &mut out);
        sent(out)
    }
}

fn a() -> ChannelName {
    ChannelName::parse("presence:a").expect("a good name")
}

/// Without the pings.
fn sent(outputs: Vec<Output>) -> Vec<String> {
    let sent = outputs.into_iter().filter_map(|output| match output {
        Output::Send(text) => Some(text),
        _ => None,
    });
    sent.filter(|text| !text.contains("ping")).collect()
}

// P11.8
#[test]
fn an_own_entry_that_ended_is_tracked_again_at_once() {
    for reason in ["timeout", "disconnect"] {
        let mut bench = Bench::tracking();
        assert_eq!(bench.leave(2, reason), [TRACK], "{reason}");
    }
    assert_eq!(Bench::tracking().leave(2, "leave"), [""; 0], "it was taken back on purpose");
}

// P11.8
#[test]
fn an_own_entry_that_a_snapshot_lacks_is_tracked_again_and_not_without_end() {
    let mut bench = Bench::tracking();
    assert_eq!(bench.sync(2, &[BOB]), [TRACK]);
    assert_eq!(bench.sync(3, &[BOB]), [TRACK], "it may have ended before it was seen");
    assert_eq!(bench.sync(4, &[BOB]), [""; 0]);
}

// P11.8
#[test]
fn an_entry_of_another_connection_is_not_the_own_one() {
    let mut bench = Bench::tracking();
    let leave = r#"{"type":"presence_leave","channel":"presence:a","seq":2,"userId":"bob","connectionId":"b1","reason":"timeout"}"#;
    assert_eq!(sent(bench.text(leave)), [""; 0]);
}

// P11.8
#[test]
fn what_was_taken_back_is_not_tracked_again() {
    let mut bench = Bench::tracking();
    bench.input(Input::Listen(a()));
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.leave(2, "timeout"), [""; 0]);
    assert_eq!(bench.later(KICKED_RETRY_CAP), [""; 0]);
}

// P11.8
#[test]
fn a_lost_right_is_asked_for_after_longer_and_longer_waits() {
    let mut bench = Bench::tracking();
    assert_eq!(bench.leave(2, "kicked"), [""; 0]);
    let mut wait = RETRY_CAP;
    for _ in 0..6 {
        assert_eq!(bench.later(wait - Duration::from_millis(1)), [""; 0], "{wait:?}");
        assert_eq!(bench.later(Duration::from_millis(1)), [TRACK], "{wait:?}");
        let refused = bench.text(DENIED);
        assert_eq!(refused, [], "the application has heard of the loss");
        bench.text(r#"{"type":"pong"}"#);
        wait = (wait * 2).min(KICKED_RETRY_CAP);
    }
    bench.input(Input::Listen(a()));
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.later(KICKED_RETRY_CAP), [""; 0], "nobody wants it any more");
}

// P11.8
#[test]
fn a_new_token_asks_for_a_lost_right_at_once() {
    let mut bench = Bench::tracking();
    bench.leave(2, "kicked");
    let refreshed = r#"{"type":"auth_refreshed","userId":"jane","revokedChannels":[]}"#;
    assert_eq!(sent(bench.text(refreshed)), [TRACK]);
    assert_eq!(bench.later(RETRY_CAP), [""; 0], "and not a second time");
}

// P11.8
#[test]
fn a_subscription_that_ended_is_not_tracked_into_again() {
    let mut bench = Bench::tracking();
    let ended = r#"{"type":"unsubscribed","channel":"presence:a","code":"CHANNEL_ACCESS_DENIED"}"#;
    let outputs = bench.text(ended);
    let is_refused = |output: &Output| matches!(output, Output::Event(Event::Refused(_)));
    assert!(outputs.iter().any(is_refused), "it is told");
    assert_eq!(sent(outputs), [""; 0]);
}

/// The two ways in which the server says that a backend has removed this client.
fn removals(retry_after_ms: u64) -> [String; 2] {
    let of = |kind: &str| {
        format!(
            r#"{{"type":"{kind}","code":"KICKED","message":"m","channel":"presence:a","retryAfterMs":{retry_after_ms}}}"#
        )
    };
    [of("unsubscribed"), of("error")]
}

fn is_told_of_a_kick(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| {
        matches!(output, Output::Event(Event::Refused(failure)) if &*failure.code == "KICKED")
    })
}

// P11.9
#[test]
fn a_removed_client_stays_away_until_the_time_is_over() {
    for removal in removals(60_000) {
        let mut bench = Bench::tracking();
        bench.leave(2, "kicked");
        let outputs = bench.text(&removal);
        assert!(is_told_of_a_kick(&outputs), "{removal}: {outputs:?}");
        assert_eq!(sent(outputs), [""; 0]);
        let state = State::parse(r#"{"n":1}"#).expect("a good state");
        assert_eq!(sent(bench.input(Input::Track(a(), state))), [""; 0], "a state waits as well");
        assert_eq!(sent(bench.input(Input::Listen(a()))), [""; 0]);
        for _ in 0..59 {
            bench.text(r#"{"type":"pong"}"#);
            assert_eq!(bench.later(Duration::from_secs(1)), [""; 0]);
        }
        assert_eq!(bench.later(Duration::from_secs(1)), [TRACK], "{removal}");
        assert_eq!(bench.sync(3, &[ME, BOB]), [""; 0]);
    }
}

// P11.9
#[test]
fn a_removal_that_is_over_at_once_is_not_answered_at_once() {
    for removal in removals(0) {
        let mut bench = Bench::tracking();
        assert_eq!(sent(bench.text(&removal)), [""; 0]);
        assert_eq!(bench.later(RETRY_CAP - Duration::from_millis(1)), [""; 0], "{removal}");
        assert_eq!(bench.later(Duration::from_millis(1)), [TRACK], "{removal}");
    }
}

// P11.9
#[test]
fn a_new_token_asks_a_removed_client_in_at_once() {
    let mut bench = Bench::tracking();
    bench.text(&removals(60_000)[0]);
    let refreshed = r#"{"type":"auth_refreshed","userId":"jane","revokedChannels":[]}"#;
    assert_eq!(sent(bench.text(refreshed)), [TRACK]);
    bench.text(&removals(3_000)[1]);
    assert_eq!(bench.later(Duration::from_secs(2)), [""; 0]);
    assert_eq!(bench.later(Duration::from_secs(1)), [TRACK]);
}

// P11.9
#[test]
fn nothing_is_asked_for_after_a_removal_that_nobody_minds() {
    let mut bench = Bench::tracking();
    bench.text(&removals(2_000)[0]);
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.later(Duration::from_secs(3)), [""; 0]);
}

// P11.9
#[test]
fn a_denial_after_a_removal_is_told() {
    let mut bench = Bench::tracking();
    bench.leave(2, "kicked");
    bench.text(&removals(2_000)[0]);
    assert_eq!(bench.later(Duration::from_secs(2)), [TRACK]);
    let outputs = bench.text(DENIED);
    assert!(matches!(&outputs[..], [Output::Event(Event::Refused(_))]), "{outputs:?}");
    assert_eq!(bench.later(KICKED_RETRY_CAP), [""; 0]);
}

// P11.8
#[test]
fn a_subscription_that_ended_after_the_own_entry_is_told_and_not_asked_for() {
    let mut bench = Bench::tracking();
    bench.leave(2, "kicked");
    let ended = r#"{"type":"unsubscribed","channel":"presence:a","code":"CHANNEL_ACCESS_DENIED"}"#;
    let outputs = bench.text(ended);
    assert!(outputs.iter().any(|output| matches!(output, Output::Event(Event::Refused(_)))));
    assert_eq!(bench.later(KICKED_RETRY_CAP), [""; 0]);
}

// P11.8
#[test]
fn a_list_that_came_before_the_channel_was_wanted_is_asked_for_once() {
    let mut bench = Bench::signed_in();
    assert!(bench.sync(0, &[]).is_empty(), "the socket subscribes by default");
    assert_eq!(bench.track(), [TRACK]);
    let own = |seq: u64| {
        format!(
            r#"{{"type":"presence_join","channel":"presence:a","seq":{seq},"userId":"jane","connectionId":"c1","state":{{"n":1}}}}"#
        )
    };
    assert_eq!(sent(bench.text(&own(1))), [SUBSCRIBE]);
    assert!(sent(bench.text(&own(2))).is_empty(), "it is on its way");
    let heard = bench.text(
        r#"{"type":"presence_leave","channel":"presence:a","seq":3,"userId":"bob","connectionId":"b1","reason":"leave"}"#,
    );
    assert_eq!(heard, [], "nothing is told of a list that is not known");
    assert!(bench.sync(3, &[ME]).is_empty());
    assert_eq!(bench.leave(4, "timeout"), [TRACK], "the list is known");
}

#[test]
fn a_listener_subscribes_if_a_track_is_taken_back_before_a_list_has_come() {
    let mut bench = Bench::signed_in();
    bench.track();
    bench.input(Input::Listen(a()));
    // The track may have waited for the rate, and is gone now.
    assert_eq!(sent(bench.input(Input::Untrack(a()))), [UNTRACK, SUBSCRIBE]);
}

// P11.8
#[test]
fn a_member_that_ended_before_its_join_was_seen_is_tracked_again_once() {
    let mut bench = Bench::signed_in();
    bench.input(Input::Listen(a()));
    bench.sync(1, &[BOB]);
    assert_eq!(bench.track(), [TRACK]);
    // The join and its end were dropped with what a slow socket did not take.
    assert_eq!(bench.sync(9, &[BOB]), [TRACK]);
    assert!(bench.sync(10, &[BOB]).is_empty());
}

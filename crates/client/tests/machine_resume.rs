//! Coming back to the place that the server kept: this input gives exactly these outputs.

mod bench;

use std::time::Instant;

use herenow_client::machine::{Closed, Event, Input, Machine, Moment, Output, Status};
use herenow_wire::State;

use bench::{Bench, a, send};

const AUTH: &str = r#"{"type":"auth","token":"t0ken"}"#;
const RESUMING: &str = r#"{"type":"auth","token":"t0ken","resume":"r1"}"#;
const JOIN: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":1}}"#;
const SUBSCRIBE: &str = r#"{"type":"subscribe","channel":"presence:a"}"#;
const UNSUBSCRIBE: &str = r#"{"type":"unsubscribe","channel":"presence:a"}"#;
const LEAVE: &str = r#"{"type":"presence_leave","channel":"presence:a"}"#;
const ROW: &str = r#"{"userId":"jane","connectionId":"c1","state":{"n":1}}"#;

impl Bench {
    /// Signed in as connection `c1` with the resume token `r1`.
    fn connected() -> Self {
        let mut bench = Self::new();
        bench.input(Input::Start);
        assert_eq!(bench.input(Input::Opened), [status(Status::Connected), send(AUTH)]);
        assert_eq!(bench.text(&success("c1", r#","resume":"r1""#)), [signed_in("c1")]);
        bench
    }

    fn lose(&mut self) {
        let lost = self.input(Input::Closed(Closed::default()));
        assert_eq!(lost, [status(Status::Reconnecting)]);
    }

    /// What is sent on the next socket.
    fn reopen(&mut self) -> Vec<Output> {
        self.now = self.machine.poll_timeout().expect("another attempt is planned");
        let mut out = Vec::new();
        self.machine.handle_timeout(Moment { now: self.now, random: 0.5 }, &mut out);
        assert_eq!(out, [Output::Connect]);
        let mut opened = self.input(Input::Opened);
        assert_eq!(opened.remove(0), status(Status::Connected));
        opened
    }
}

fn track() -> Input {
    Input::Track(a(), State::parse(r#"{"n":1}"#).expect("a good state"))
}

fn status(status: Status) -> Output {
    Output::Event(Event::Status(status))
}

fn signed_in(connection: &str) -> Output {
    Output::Event(Event::SignedIn { user_id: "jane".into(), connection_id: connection.into() })
}

fn success(connection: &str, more: &str) -> String {
    format!(r#"{{"type":"auth_success","userId":"jane","connectionId":"{connection}"{more}}}"#)
}

fn sync(rows: &str) -> String {
    format!(
        r#"{{"type":"presence_sync","channel":"presence:a","epoch":7,"seq":5,"presences":[{rows}]}}"#
    )
}

#[test]
fn the_next_socket_asks_for_the_kept_place_and_nothing_fires_when_it_is_given() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.text(&sync(ROW));
    bench.lose();
    assert_eq!(bench.reopen(), [send(RESUMING), send(JOIN)]);
    assert_eq!(bench.text(&success("c1", r#","resume":"r2""#)), [signed_in("c1")]);
    assert_eq!(bench.text(&sync(ROW)), [], "the list reads the same");
    bench.lose();
    let resuming = r#"{"type":"auth","token":"t0ken","resume":"r2"}"#;
    assert_eq!(bench.reopen(), [send(resuming), send(JOIN)], "each token works once");
}

#[test]
fn an_attempt_that_was_lost_before_the_answer_has_not_used_the_token_up() {
    let mut bench = Bench::connected();
    for _ in 0..3 {
        bench.lose();
        assert_eq!(bench.reopen(), [send(RESUMING)]);
    }
}

#[test]
fn a_server_that_gives_no_resume_token_is_not_shown_an_old_one() {
    let mut bench = Bench::connected();
    bench.lose();
    bench.reopen();
    bench.text(&success("c2", ""));
    bench.lose();
    assert_eq!(bench.reopen(), [send(AUTH)]);
}

#[test]
fn a_close_on_purpose_leaves_nothing_to_come_back_to() {
    let mut bench = Bench::connected();
    bench.input(Input::Stop);
    bench.input(Input::Start);
    assert_eq!(bench.input(Input::Opened), [status(Status::Connected), send(AUTH)]);
}

#[test]
fn an_entry_given_up_while_away_is_taken_out_of_the_kept_place() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.input(track());
    bench.lose();
    assert_eq!(bench.input(Input::Untrack(a())), []);
    assert_eq!(bench.reopen(), [send(RESUMING), send(SUBSCRIBE)]);
    assert_eq!(bench.text(&success("c1", "")), [send(LEAVE), signed_in("c1")]);
}

#[test]
fn a_channel_given_up_while_away_is_left_and_nobody_hears_that_it_was_left_already() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.lose();
    bench.input(Input::Untrack(a()));
    assert_eq!(bench.reopen(), [send(RESUMING)]);
    assert_eq!(bench.text(&success("c1", "")), [send(UNSUBSCRIBE), signed_in("c1")]);
    let error = r#"{"type":"error","code":"NOT_SUBSCRIBED","message":"m","channel":"presence:a"}"#;
    assert_eq!(bench.text(error), []);
}

#[test]
fn a_word_that_may_have_been_lost_with_the_socket_is_said_again() {
    let mut bench = Bench::connected();
    bench.input(Input::Listen(a()));
    bench.input(track());
    assert_eq!(bench.input(Input::Untrack(a())), [send(LEAVE), send(SUBSCRIBE)]);
    bench.lose();
    assert_eq!(bench.reopen(), [send(RESUMING), send(SUBSCRIBE)]);
    assert_eq!(bench.text(&success("c1", "")), [send(LEAVE), signed_in("c1")]);
}

#[test]
fn a_word_that_is_lost_again_is_said_again() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.lose();
    bench.input(Input::Untrack(a()));
    for token in ["r2", "r3"] {
        bench.reopen();
        let success = success("c1", &format!(r#","resume":"{token}""#));
        assert_eq!(bench.text(&success), [send(UNSUBSCRIBE), signed_in("c1")]);
        bench.lose();
    }
}

#[test]
fn a_word_that_was_answered_is_not_said_again() {
    let mut bench = Bench::connected();
    bench.input(track());
    assert_eq!(bench.input(Input::Untrack(a())), [send(UNSUBSCRIBE)]);
    bench.text(r#"{"type":"unsubscribed","channel":"presence:a"}"#);
    bench.lose();
    assert_eq!(bench.reopen(), [send(RESUMING)]);
    assert_eq!(bench.text(&success("c1", "")), [signed_in("c1")]);
}

#[test]
fn an_answer_to_an_earlier_unsubscribe_is_none_to_a_later_one() {
    let mut bench = Bench::connected();
    bench.input(track());
    assert_eq!(bench.input(Input::Untrack(a())), [send(UNSUBSCRIBE)]);
    bench.input(track());
    assert_eq!(bench.input(Input::Untrack(a())), [send(UNSUBSCRIBE)]);
    bench.text(r#"{"type":"unsubscribed","channel":"presence:a"}"#);
    bench.lose();
    bench.reopen();
    assert_eq!(bench.text(&success("c1", "")), [send(UNSUBSCRIBE), signed_in("c1")]);
}

#[test]
fn a_place_that_was_not_given_needs_no_tidying() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.lose();
    bench.input(Input::Untrack(a()));
    bench.reopen();
    assert_eq!(bench.text(&success("c2", "")), [signed_in("c2")]);
}

#[test]
fn what_is_tracked_again_while_away_stays() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.lose();
    bench.input(Input::Untrack(a()));
    bench.input(track());
    assert_eq!(bench.reopen(), [send(RESUMING), send(JOIN)]);
    assert_eq!(bench.text(&success("c1", "")), [signed_in("c1")]);
}

#[test]
fn a_rebuilt_list_is_told_once_even_where_it_reads_the_same() {
    let mut bench = Bench::connected();
    bench.input(track());
    bench.text(&sync(ROW));
    let resync = r#"{"type":"PRESENCE_RESYNC","channel":"presence:a"}"#;
    assert_eq!(bench.text(resync), [send(JOIN)]);
    let rebuilt = sync(ROW).replace(r#""epoch":7"#, r#""epoch":8"#);
    let changed = Output::Event(Event::Changed { channel: a() });
    assert_eq!(bench.text(&rebuilt), [changed]);
    assert_eq!(bench.text(&rebuilt), []);
}

#[test]
fn who_takes_the_place_of_another_process_gives_up_what_it_does_not_want() {
    let machine = Machine::in_place_of("r1".into(), "t0ken".into(), [a()]);
    let mut bench = Bench { machine, now: Instant::now() };
    bench.input(Input::Start);
    assert_eq!(bench.input(Input::Opened), [status(Status::Connected), send(RESUMING)]);
    let success = success("c1", r#","resume":"r2""#);
    assert_eq!(bench.text(&success), [send(UNSUBSCRIBE), signed_in("c1")]);
    bench.lose();
    bench.reopen();
    assert_eq!(bench.text(&success), [send(UNSUBSCRIBE), signed_in("c1")], "nobody has answered");
    bench.text(r#"{"type":"unsubscribed","channel":"presence:a"}"#);
    bench.lose();
    bench.reopen();
    assert_eq!(bench.text(&success), [signed_in("c1")]);
}

//! What a machine says and tells of a channel of which only the count is wanted.

mod bench;

use std::time::Duration;

use herenow_client::machine::{Closed, Event, Input, Moment, Output};
use herenow_client::protocol::{Counts, Position};
use herenow_wire::State;

use bench::{Bench, a, send};

const COUNT: &str = r#"{"type":"subscribe","channel":"presence:a","mode":"count"}"#;
const LIST: &str = r#"{"type":"subscribe","channel":"presence:a"}"#;
const LEAVE: &str = r#"{"type":"presence_leave","channel":"presence:a"}"#;
const UNSUBSCRIBE: &str = r#"{"type":"unsubscribe","channel":"presence:a"}"#;
const JOIN_1: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":1}}"#;
const JOIN_2: &str = r#"{"type":"presence_join","channel":"presence:a","state":{"n":2}}"#;
const ME: &str = r#"{"type":"auth_success","userId":"jane","connectionId":"c1"}"#;
const SYNC: &str = r#"{"type":"presence_sync","channel":"presence:a","epoch":1,"seq":1,"presences":[{"userId":"joe","connectionId":"c2","state":{}}]}"#;
const THREE: &str = r#"{"type":"presence_count","channel":"presence:a","epoch":1,"seq":7,"users":2,"connections":3}"#;
const DENIED: &str =
    r#"{"type":"error","code":"CHANNEL_ACCESS_DENIED","message":"no","channel":"presence:a"}"#;

impl Bench {
    fn connected() -> Self {
        let mut bench = Self::new();
        bench.input(Input::Start);
        bench.opens();
        bench
    }

    fn opens(&mut self) -> Vec<Output> {
        let mut out = self.input(Input::Opened);
        out.extend(self.text(ME));
        out
    }
}

fn track(json: &str) -> Input {
    Input::Track(a(), State::parse(json).expect("a good state"))
}

fn counted() -> Output {
    let position = Position { epoch: 1, seq: 7 };
    Output::Event(Event::Counted(Counts { channel: a(), position, users: 2, connections: 3 }))
}

// P4.22, P5.8
#[test]
fn a_channel_that_is_counted_is_asked_for_no_list_and_each_count_is_told() {
    let mut bench = Bench::connected();
    assert_eq!(bench.input(Input::Count(a())), [send(COUNT)]);
    assert_eq!(bench.text(r#"{"type":"subscribed","channel":"presence:a"}"#), []);
    assert_eq!(bench.text(THREE), [counted()]);
    assert_eq!(bench.text(THREE), [counted()]);
    assert_eq!(bench.input(Input::Unlisten(a())), [send(UNSUBSCRIBE)]);
    assert_eq!(bench.text(THREE), []);
}

// P4.22
#[test]
fn a_machine_that_counts_subscribes_before_it_tracks_and_once_for_all_states() {
    let mut bench = Bench::connected();
    bench.input(Input::Closed(Closed::default()));
    bench.input(Input::Count(a()));
    bench.input(track(r#"{"n":1}"#));
    bench.now += Duration::from_secs(10);
    let mut out = Vec::new();
    bench.machine.handle_timeout(Moment { now: bench.now, random: 0.5 }, &mut out);
    assert!(out.contains(&Output::Connect), "{out:?}");
    let said = bench.opens();
    let place = |text: &str| said.iter().position(|output| *output == send(text));
    assert!(place(COUNT).is_some() && place(COUNT) < place(JOIN_1), "{said:?}");
    assert_eq!(bench.input(track(r#"{"n":2}"#)), [send(JOIN_2)]);
    assert_eq!(bench.input(Input::Untrack(a())), [send(LEAVE)]);
}

// P4.22
#[test]
fn listening_takes_the_place_of_counting_and_counting_that_of_listening() {
    let mut bench = Bench::connected();
    bench.input(Input::Count(a()));
    bench.text(THREE);
    assert_eq!(bench.input(Input::Listen(a())), [send(LIST)]);
    bench.text(SYNC);
    assert_eq!(bench.machine.roster(&a()).map(|roster| roster.users().len()), Some(1));
    assert_eq!(bench.input(Input::Listen(a())), []);
    assert_eq!(bench.input(Input::Count(a())), [send(COUNT)]);
    // A change that was on its way makes the machine ask for no list.
    let join = r#"{"type":"presence_join","channel":"presence:a","seq":2,"userId":"ann","connectionId":"c3","state":{}}"#;
    assert_eq!(bench.text(join), []);
    assert_eq!(bench.text(THREE), [counted()]);
}

// P4.22
#[test]
fn a_list_that_comes_while_a_machine_counts_is_not_taken_and_the_count_is_asked_for_again() {
    let mut bench = Bench::connected();
    bench.input(Input::Count(a()));
    assert_eq!(bench.text(SYNC), [send(COUNT)]);
    assert_eq!(bench.machine.roster(&a()).map(|roster| roster.users().len()), Some(0));
}

// P4.6, P4.22
#[test]
fn a_count_that_was_refused_is_asked_for_again_with_another_token() {
    let mut bench = Bench::connected();
    bench.input(Input::Count(a()));
    bench.text(DENIED);
    assert_eq!(bench.input(Input::Listen(a())), []);
    bench.input(Input::Count(a()));
    let refreshed = r#"{"type":"auth_refreshed","userId":"jane","revokedChannels":[]}"#;
    assert_eq!(bench.text(refreshed), [send(COUNT)]);
}

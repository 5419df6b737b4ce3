//! The end of the process: in order if it can be, and soon, whatever the process is at.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{Launch, Process};

/// What a process exits with that did not stop in order.
const CUT_SHORT: Option<i32> = Some(3);
/// What a process exits with that a fault has ended.
const FAULT: Option<i32> = Some(101);
/// Twelve seconds are promised. A loaded machine may run the test itself later, and what must not
/// happen takes far longer.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A server that rehearses a fault.
async fn faulty(fault: &str) -> Process {
    let arguments = vec!["--rehearse".into(), fault.into()];
    Process::launch(Launch { arguments, ..Launch::default() }).await
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut server = Process::start(&[]).await;
    // It never answers the close frame, so that the stop takes as long as it may.
    let mut jane = server.sign_in("jane").await;
    server.signal("TERM");
    server.wait_for("stopping");
    assert_eq!(jane.expect_close().await.0, 1012);
    server.signal("INT");
    server.wait_for("a second signal");
    assert_eq!(server.exit_code(STOPPED_WITHIN), CUT_SHORT);
}

#[tokio::test]
async fn a_process_that_hangs_while_it_stops_is_ended() {
    let mut server = faulty("stop-hangs").await;
    server.signal("TERM");
    let signalled = Instant::now();
    server.wait_for("takes too long");
    assert_eq!(server.exit_code(STOPPED_WITHIN), CUT_SHORT);
    assert!(signalled.elapsed() <= STOPPED_WITHIN, "{:?}", signalled.elapsed());
}

#[tokio::test]
async fn a_loop_that_stands_still_is_cut_off_and_the_others_stop_in_order() {
    let mut server = faulty("loop-stall=60000=presence:still").await;
    // They go to the loops in turn.
    let (mut jane, mut bob) = (server.sign_in("jane").await, server.sign_in("bob").await);
    jane.send(json!({"type": "presence_join", "channel": "presence:still", "state": {}})).await;
    server.wait_for("stands still");
    server.signal("TERM");
    let signalled = Instant::now();
    assert_eq!(bob.expect_close().await.0, 1012);
    drop(bob);
    server.wait_for("did not stop in time");
    assert_eq!(server.exit_code(STOPPED_WITHIN), CUT_SHORT);
    assert!(signalled.elapsed() <= STOPPED_WITHIN, "{:?}", signalled.elapsed());
    jane.expect_end().await;
}

#[tokio::test]
async fn a_fault_of_an_event_loop_ends_the_process_with_a_report() {
    let mut server = faulty("loop-fault=presence:faulty").await;
    let mut jane = server.sign_in("jane").await;
    jane.send(json!({"type": "presence_join", "channel": "presence:faulty", "state": {}})).await;
    let report = server.wait_for("a fault in the server ends it");
    assert!(report.contains("loop-0") && report.contains("rehearsals.rs"), "{report}");
    assert_eq!(server.exit_code(STOPPED_WITHIN), FAULT);
}

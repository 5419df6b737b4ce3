//! The end of the process: soon, whatever it is at.

use std::time::Duration;

use crate::process::Process;

/// What a process exits with that did not stop in order.
const CUT_SHORT: Option<i32> = Some(3);

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
    assert_eq!(server.exit_code(Duration::from_secs(1)), CUT_SHORT);
}

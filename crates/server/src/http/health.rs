//! Whether the server lives, and whether it should be given new connections. A probe that is
//! answered anything but 200 may take its measures: restart the process, or send clients elsewhere.

use std::time::Duration;

use hyper::StatusCode;

use super::FrontDoor;
use crate::answer::{self, Answer};

/// A live event loop turns four times in a second. One that has not for this long does not recover
/// by waiting; what slows a machine that is merely busy is far shorter.
const STILL_AFTER: Duration = Duration::from_secs(10);

/// The answer to `/health/live`.
pub(super) fn live(door: &FrontDoor) -> Answer {
    let still = door.loops.standing_still(STILL_AFTER);
    if still.is_empty() {
        return answer::text(StatusCode::OK, "live\n");
    }
    answer::text(StatusCode::SERVICE_UNAVAILABLE, "An event loop stands still.\n")
}

/// The answer to `/health/ready`.
pub(super) fn ready(door: &FrontDoor) -> Answer {
    if *door.draining.borrow() {
        return answer::text(StatusCode::SERVICE_UNAVAILABLE, "The server is stopping.\n");
    }
    if door.cluster.as_ref().is_some_and(|cluster| !cluster.is_ready()) {
        return answer::text(StatusCode::SERVICE_UNAVAILABLE, NO_LEASE);
    }
    let alive = live(door);
    if alive.status() == StatusCode::OK { answer::text(StatusCode::OK, "ready\n") } else { alive }
}

const NO_LEASE: &str = "The server is not an active member of its cluster: it has not joined yet, NATS does \
                        not answer, or it is leaving.\n";

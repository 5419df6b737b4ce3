//! The real binary under attack: each file drives one kind of attack over sockets of its own and
//! measures what it costs the others. `docs/guarantees.md` states the bounds that these tests hold.
//! One server at a time, because load from one test would disturb what another measures.
//!
//! The bytes are written by hand: an attacker does not use a client library. Every loop ends at a
//! count or at a deadline, and all traffic stays on the loopback range.

mod crowd;
mod flood;
mod kinds;
mod probe;
mod server;
mod socket;

mod amplifier;
mod detached;
mod front_door;
mod memory;
mod quiet;
mod resume;
mod revoked;
mod termination;

//! The protocol over real sockets: a server in this process, spoken to through another
//! implementation's framing. One module per chapter; every test is a sentence of the protocol.
//!
//! Nothing sleeps. What must come is waited for; that nothing else came is shown by a later
//! message that is next in line.

mod support;

mod backpressure;
mod client;
mod connecting;
mod counting;
mod default_channel;
mod detached;
mod errors;
mod fault;
mod framing;
mod guarantees;
mod information;
mod liveness;
mod liveness_bounds;
mod loops;
mod messages;
mod rates;
mod restart;
mod resume;
mod resume_refused;
mod resync;
mod signing_in;
mod slow_consumer;
mod snapshots;
mod states;

//! The real binary in bad company: clients that break, stall and lie, a process that is stopped,
//! killed and started again. One server at a time: what the tests measure, they would disturb.
//!
//! Nothing sleeps. What must come is waited for.

mod crowd;
mod process;

mod handover;
mod hibernation;
mod killed;
mod listening;
mod logs;
mod paused;
mod reload;
mod rules;
mod service_manager;
mod slow;
mod stopping;
mod storm;
mod upgrade;

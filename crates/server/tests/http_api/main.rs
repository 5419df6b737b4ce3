//! The HTTP API over real sockets, through a client that is not ours: a test per row of
//! docs/http-api.md and per error.

mod bounds;
mod channels;
mod commands;
mod document;
mod events;
mod explain;
mod https;
mod keyed;
mod keys;
mod kicks;
mod listing;
mod members;
mod refusals;
mod same_truth;
mod server;
mod users;
mod watch;

//! A client of Herenow in Rust: for the tests, the load generator and bots.
//!
//! From the inside out: [`protocol`] knows the messages, [`roster`] folds them into who is here,
//! [`machine`] decides what a client says and when, without socket, clock or randomness of its
//! own, and [`client`] drives the machine over tokio. [`raw`] is for tests alone: it says what a
//! well-behaved client never would.
//!
//! The framing is tungstenite's on purpose: an implementation that the server does not share.

pub mod client;
pub mod machine;
pub mod protocol;
pub mod raw;
pub mod roster;

pub use client::Client;

//! How it runs: the only crate with IO. Sockets, HTTP, keys, settings and logs live here; what
//! presence means lives in the core, what bytes mean in wire.

pub mod admission;
pub mod auth;
pub mod config;
pub mod loops;

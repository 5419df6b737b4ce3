//! Tokens that are checked with public keys: which sets are taken, which tokens fit, what happens
//! when the file changes. The keys were made by OpenSSL and are for tests alone.

mod cost;
mod file;
mod issuer;
mod keys;
mod process;
mod server;
mod set;
mod tokens;
mod url;

//! What tests of the server begin with: a server in this process or as one of its own, and tokens that
//! it takes.
//!
//! Knows how a server is started and stopped, and nothing of what a test does with it. Like any
//! test, it panics when something goes wrong.

mod authority;
mod folder;
mod process;
mod proxy;
mod server;
mod tls_proxy;
mod token;

pub use authority::Authority;
pub use folder::Folder;
pub use process::{Process, herenow, logged_address, signal, until};
pub use proxy::{Direction, Proxy};
pub use server::{Server, Setup, any_port};
pub use tls_proxy::TlsProxy;
pub use token::{SECRET, token, unix_seconds};

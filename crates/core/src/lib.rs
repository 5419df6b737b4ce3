//! What happens: every rule of presence, as pure functions of input and time.

mod auth;

pub use auth::Auth;

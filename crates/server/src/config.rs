//! What an operator may set: one struct for the loops, one for the whole server. Knows each
//! setting's unit, default and bounds, and refuses to know where a value came from (see `file`).

mod settings;

pub use settings::{Network, Settings};

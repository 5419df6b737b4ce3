//! What the core promises, clause by clause of docs/protocol.md: an input at a time gives exactly
//! these effects. A test that names an effect too few or too many fails.

mod audience;
mod channel;
mod codes;
mod decisions;
mod detached;
mod flush;
mod given;
mod graces;
mod leases;
mod nodes;
mod own_words;
mod pace;
mod rates;
mod rebuild;
mod replica;
mod requests;
mod resume;
mod reviews;
mod settings;
mod shard;
mod signing_in;
mod sleeping;
mod snapshots;
mod tokens;
mod told;

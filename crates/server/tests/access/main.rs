//! Access rules over real sockets: a server in this process with a TypeScript configuration,
//! spoken to through another implementation's framing. Users times channels times rules; rules that
//! misbehave; what a denied channel gives away; what a refresh and a reload take away; what waits
//! behind a question.
//!
//! Nothing sleeps. What must come is waited for; that nothing else came is shown by a later
//! message that is next in line.

mod support;

mod denied;
mod hostile;
mod metrics;
mod namespaces;
mod order;
mod refresh;
mod reload;
mod resume;
mod table;

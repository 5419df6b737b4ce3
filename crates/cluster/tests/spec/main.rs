//! What a cluster node promises, rule by rule, through its public interface: views as plain data, and
//! nodes beside a fake engine that is told what time it is.

// The simulation uses more of it.
mod asking;
#[allow(dead_code)]
#[path = "../sim/engine.rs"]
mod engine;
mod exchange;
mod exchange_rig;
mod homes;
mod membership;
mod rig;
mod values;
mod verdicts;
mod views;

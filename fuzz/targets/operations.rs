#![no_main]
//! Whatever may happen to audiences and a shard, in whatever order: the model's world.

#[path = "../../crates/core/tests/model/client.rs"]
mod client;
#[path = "../../crates/core/tests/model/step.rs"]
mod step;
#[path = "../../crates/core/tests/model/truth.rs"]
mod truth;
#[path = "../../crates/core/tests/model/world/mod.rs"]
mod world;

use step::{Answers, Step};

libfuzzer_sys::fuzz_target!(|steps: Vec<Step>| world::World::run(steps));

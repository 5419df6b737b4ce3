//! What the fuzzer has kept, replayed: every sequence that ever led somewhere new.

use std::fs;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};

use crate::step::Step;
use crate::world::World;

#[test]
fn kept_sequences_end_with_the_truth() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/operations");
    let kept = fs::read_dir(&corpus).expect("the corpus is kept");
    let mut count = 0;
    for file in kept {
        let input = fs::read(file.expect("it is listed").path()).expect("it can be read");
        // Bytes that say nothing are no sequence, for the fuzzer neither.
        if let Ok(steps) = Vec::<Step>::arbitrary_take_rest(Unstructured::new(&input)) {
            World::run(steps);
            count += 1;
        }
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}

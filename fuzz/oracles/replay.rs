//! What the fuzzers have kept, given to their oracles again: every input that ever led somewhere
//! new.

use std::fs;
use std::path::Path;

/// Checks every input in a folder below `fuzz`.
pub fn replay(corpus: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(corpus);
    let kept = fs::read_dir(&corpus).expect("the corpus is kept");
    let mut count = 0;
    for file in kept {
        let input = fs::read(file.expect("it is listed").path()).expect("it can be read");
        check(&input);
        count += 1;
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}

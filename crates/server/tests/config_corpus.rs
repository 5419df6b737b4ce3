//! What the fuzzer has kept of configuration files, replayed.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/oracles/config.rs"]
mod config;

#[test]
fn kept_files_are_read_or_refused_with_a_sentence() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/server/corpus/config");
    let kept = fs::read_dir(&corpus).expect("the corpus is kept");
    let mut count = 0;
    for file in kept {
        let input = fs::read(file.expect("it is listed").path()).expect("it can be read");
        config::check(&input);
        count += 1;
    }
    assert!(count > 0, "nothing is kept in {corpus:?}");
}

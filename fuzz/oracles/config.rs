//! A configuration file that holds anything at all: it is read, or refused with a sentence. JSON
//! alone: what code may do is its engine's affair, and slow.

use std::collections::BTreeMap;

use herenow_server::config::{Unknown, load};

/// The input is the file's text.
pub fn check(input: &[u8]) {
    let path = std::env::temp_dir().join(format!("herenow-fuzz-{}.json", std::process::id()));
    std::fs::write(&path, input).expect("the temporary folder can be written to");
    match load(Some(&path), &BTreeMap::new(), Unknown::Refused) {
        Ok(loaded) => {
            let ttl_ms = loaded.settings.presence_ttl_ms;
            assert!(ttl_ms >= 1_000, "what was read is within its bounds: {ttl_ms}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error says what is wrong"),
    }
}

//! A JWKS file over time. Each change is followed by a look at it; no test waits for a clock.

use std::fs;
use std::path::{Path, PathBuf};

use herenow_server::auth::{JwksFile, JwksFileError};

use crate::keys::{PUBLIC, jwk, set};

/// A file of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("herenow-{name}-{}.json", std::process::id()));
        fs::write(&path, content).expect("the temporary folder can be written");
        Self(path)
    }

    fn write(&self, content: &[u8]) {
        fs::write(&self.0, content).expect("it was written before");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a look at the file says: how many keys, or the complaint.
fn look(file: &mut JwksFile) -> Option<Result<usize, String>> {
    file.poll().map(|seen| match seen {
        Ok(jwks) => Ok(jwks.count()),
        Err(error) => Err(error.to_string()),
    })
}

fn complaint(refused: Result<JwksFile, JwksFileError>) -> String {
    refused.expect_err("it should be refused").to_string()
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    let said = complaint(JwksFile::open(Path::new("/nowhere/keys.json")));
    assert_eq!(said, "the JWKS file /nowhere/keys.json cannot be read: there is no such file");
    let scratch = Scratch::new("unusable", b"{}");
    let said = complaint(JwksFile::open(&scratch.0));
    assert!(said.contains("herenow-unusable") && said.contains("JSON object"), "{said}");
    scratch.write(include_bytes!("keys/rsa_of_1024_bits.json"));
    let said = complaint(JwksFile::open(&scratch.0));
    assert!(said.contains("key \"weak\" is not used: it is an RSA key of 1024 bits"), "{said}");
    let folder = complaint(JwksFile::open(&std::env::temp_dir()));
    assert!(folder.contains("cannot be read"), "{folder}");
}

#[test]
fn a_file_that_has_become_a_fifo_keeps_the_keys_and_is_not_waited_for() {
    let scratch = Scratch::new("fifo", &set(&[jwk("ed")]));
    let mut file = JwksFile::open(&scratch.0).expect("the set is right");
    fs::remove_file(&scratch.0).expect("it was just written");
    let made = std::process::Command::new("mkfifo").arg(&scratch.0).status();
    assert!(made.expect("mkfifo runs").success());
    let said = look(&mut file).expect("it has changed").expect_err("it is no file");
    assert!(said.ends_with("it is not a regular file"), "{said}");
    assert_eq!(file.jwks().count(), 1);
}

#[test]
fn a_change_is_seen_once_and_a_wrong_one_keeps_what_was_in_force() {
    let scratch = Scratch::new("changing", &set(&[jwk("ed")]));
    let mut file = JwksFile::open(&scratch.0).expect("the set is right");
    assert_eq!(look(&mut file), None);

    scratch.write(PUBLIC.as_bytes());
    assert_eq!(look(&mut file), Some(Ok(4)));
    assert_eq!(look(&mut file), None);

    scratch.write(b"{\"keys\":[");
    let said = look(&mut file).expect("it changed").expect_err("it is cut off");
    assert!(said.contains("is refused"), "{said}");
    assert_eq!(look(&mut file), None);
    assert_eq!(file.jwks().count(), 4);

    fs::remove_file(&scratch.0).expect("it was there");
    let said = look(&mut file).expect("it changed").expect_err("it is gone");
    assert!(said.contains("cannot be read"), "{said}");
    assert_eq!(look(&mut file), None);
    assert_eq!(file.jwks().count(), 4);

    scratch.write(&set(&[jwk("ec"), jwk("ed")]));
    assert_eq!(look(&mut file), Some(Ok(2)));
    assert_eq!(file.jwks().count(), 2);
}

#[test]
fn nothing_that_can_be_printed_shows_what_a_file_holds() {
    let mut private = jwk("ed");
    private["d"] = "dGhpcyBpcyBwcml2YXRl".into();
    let scratch = Scratch::new("private", &set(&[private]));
    let file = JwksFile::open(&scratch.0).expect("its public part is right");
    let shown = format!("{file:?}");
    assert!(!shown.contains("dGhpcyBpcyBwcml2YXRl"), "{shown}");
    assert!(!shown.contains("100, 71, 104, 112"), "{shown}");
}

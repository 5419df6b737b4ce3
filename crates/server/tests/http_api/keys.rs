//! Who may ask.

use std::time::{Duration, Instant};

use herenow_server::auth::ServiceKeys;

use crate::server::{KEY, Server, ask};

const NEW_KEY: &str = "another-service-key-of-the-tests-0123";

/// Far above the second after which a file is read again.
const PATIENCE: Duration = Duration::from_secs(30);

const PATHS: [&str; 5] =
    ["", "/channels", "/channels/a/presence?limit=no", "/nothing", "/users/query"];

#[test]
fn without_a_service_key_every_path_says_which_setting_is_missing() {
    let server = Server::with_keys(ServiceKeys::default(), |_| {});
    for path in PATHS {
        for authorization in ["Bearer ", "Bearer x", &format!("Bearer {KEY}")] {
            let answer = ask(server.0.addr, ("GET", path), authorization, None);
            answer.is_refused(401, "UNAUTHORIZED");
            assert!(answer.detail().contains("SERVICE_KEY or SERVICE_KEY_FILE"), "{answer:?}");
        }
    }
}

#[test]
fn a_request_without_a_right_key_is_refused_before_anything_of_it_is_looked_at() {
    let server = Server::start();
    let address = server.0.addr;
    for path in PATHS {
        for wrong in ["", "Bearer", "Bearer ", &format!("Basic {KEY}"), &format!("Bearer {KEY}x")] {
            let answer = ask(address, ("GET", path), wrong, None);
            answer.is_refused(401, "UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        let in_the_url = format!("{path}?key={KEY}");
        assert_eq!(ask(address, ("GET", &in_the_url), "", None).status, 401, "{path}");
    }
    let large = "x".repeat(70_000);
    assert_eq!(ask(address, ("POST", "/users/query"), "Bearer x", Some(&large)).status, 401);
    for right in [format!("Bearer {KEY}"), format!("bearer  {KEY} ")] {
        assert_eq!(ask(address, ("GET", "/channels"), &right, None).status, 200, "{right}");
    }
}

#[test]
fn a_changed_file_replaces_its_keys_and_a_broken_one_does_not() {
    let path = std::env::temp_dir().join(format!("herenow-service-keys-{}", std::process::id()));
    std::fs::write(&path, KEY).expect("the temporary folder can be written");
    let server = Server::with_keys(ServiceKeys::open(&path).expect("a good file"), |_| {});
    let status =
        |key: &str| ask(server.0.addr, ("GET", "/channels"), &format!("Bearer {key}"), None).status;
    let until = |key: &str, wanted: u16| {
        let started = Instant::now();
        while status(key) != wanted {
            assert!(started.elapsed() < PATIENCE, "{key} did not come to {wanted}");
            std::thread::yield_now();
        }
    };
    assert_eq!((status(KEY), status(NEW_KEY)), (200, 401));
    std::fs::write(&path, format!("{KEY}\n{NEW_KEY}\n")).expect("it can be written");
    until(NEW_KEY, 200);
    assert_eq!(status(KEY), 200, "both are in force while one is replaced");
    std::fs::write(&path, format!("{NEW_KEY}\n")).expect("it can be written");
    until(KEY, 401);
    for broken in ["", "short"] {
        std::fs::write(&path, broken).expect("it can be written");
        // Longer than the file is left alone.
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            assert_eq!(status(NEW_KEY), 200, "the keys before stay in force");
        }
    }
    std::fs::write(&path, format!("{KEY}\n")).expect("it can be written");
    until(KEY, 200);
    std::fs::remove_file(&path).expect("it is there");
}

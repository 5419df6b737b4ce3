//! What an operator says of a cluster, and what is wrong with it before any NATS server is asked.

use std::process::{Command, Output};

use herenow_testing::Folder;

const NOBODY: &str = "nats://127.0.0.1:1";

const WEBHOOK_SECRET: &str = "whsec_eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXk=";

fn refusal(arguments: &[&str]) -> String {
    let serve = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
    let mut command: Command = herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), &serve);
    command.env("JWT_USER_SECRET", "x".repeat(32)).env("WEBHOOK_SECRET", WEBHOOK_SECRET);
    let Output { status, stderr, .. } = command.output().expect("the binary runs");
    let said = String::from_utf8(stderr).expect("it writes UTF-8");
    assert_eq!(status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_flag_of_a_cluster_without_a_cluster_stops_the_start() {
    for (flag, value) in [
        ("--cluster-name", "one"),
        ("--node", "one"),
        ("--cluster-credentials", "/nowhere"),
        ("--cluster-ca", "/nowhere"),
    ] {
        let said = refusal(&[flag, value]);
        assert!(said.contains(&format!("{flag} has no effect without --cluster")), "{said}");
    }
}

#[test]
fn a_url_that_is_none_of_nats_is_named_by_its_place_and_its_password_is_not_shown() {
    for wrong in [
        "nowhere",
        "http://jane:hunter2@nats:4222",
        "nats://jane:hunter2@nats:4222/path",
        "nats://jane:hunter2@",
        "nats://jane:hunter2@nats:99999",
    ] {
        let said = refusal(&["--cluster", &format!("{NOBODY},{wrong}")]);
        assert!(said.contains("server 2 of --cluster is not the URL of a NATS server"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn two_users_for_one_cluster_stop_the_start() {
    let said = refusal(&["--cluster", "nats://jane:hunter2@a,nats://jane:hunter3@b"]);
    assert!(said.contains("two users or passwords"), "{said}");
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn names_are_what_can_stand_in_a_subject() {
    for flag in ["--cluster-name", "--node"] {
        let long = "x".repeat(64);
        for wrong in ["a.b", "a b", "*", ">", "é", &long] {
            let said = refusal(&["--cluster", NOBODY, flag, wrong]);
            let expected = "should be 1 to 63 letters, digits, hyphens and underscores";
            assert!(said.contains(&format!("{flag} {expected}")), "{wrong}: {said}");
        }
    }
}

#[test]
fn files_that_do_not_hold_what_they_should_stop_the_start() {
    let folder = Folder::new();
    folder.write("empty", "");
    let empty = folder.path().join("empty");
    let empty = empty.to_str().expect("a path in UTF-8");
    for (flag, expected) in [
        ("--cluster-credentials", "should hold a user's JWT and seed"),
        ("--cluster-ca", "should hold a certificate in PEM format"),
    ] {
        let said = refusal(&["--cluster", NOBODY, flag, empty]);
        assert!(said.contains(expected), "{said}");
    }
    let said = refusal(&["--cluster", NOBODY, "--cluster-credentials", "/nowhere"]);
    assert!(said.contains("the file /nowhere of --cluster-credentials cannot be read"), "{said}");
}

#[test]
fn what_does_not_work_over_several_nodes_is_refused() {
    let said = refusal(&["--cluster", NOBODY, "--truth-probe-ms", "1000"]);
    assert!(said.contains("truthProbeMs cannot be used with --cluster"), "{said}");
}

#[test]
fn a_host_that_has_no_address_stops_the_start() {
    let said = refusal(&["--cluster", "nats://jane:hunter2@nats.invalid:4222"]);
    assert!(said.contains("no address is known for the NATS server nats.invalid:4222"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

//! What stops the start of a node, in one sentence, and what does not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use herenow_cluster::{Beat, View};
use herenow_testing::{Authority, Folder};
use herenow_wire::link::Incarnation;

use crate::last;
use crate::nats::Nats;
use crate::node::{Node, serve};

fn refusal(cluster: &str, node: &str) -> String {
    refusal_of(serve(cluster, node, &[]))
}

fn refusal_of(mut command: Command) -> String {
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8(output.stderr).expect("it writes UTF-8");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    said
}

#[test]
fn the_name_of_a_node_that_is_alive_stops_the_start() {
    let nats = Nats::start();
    let _one = Node::join(&nats, "one");
    let said = refusal(&nats.url(), "one");
    assert!(said.contains("a node named one is in the cluster and alive"), "{said}");
}

#[test]
fn a_nats_server_without_jetstream_stops_the_start() {
    let nats = Nats::with("");
    let said = refusal(&nats.url(), "one");
    assert!(said.contains("JetStream does not answer"), "{said}");
}

#[test]
fn a_user_that_nats_refuses_or_that_lacks_a_permission_stops_the_start() {
    let nats = Nats::with(
        r#"
        jetstream { store_dir: "FOLDER" }
        authorization { users: [
          { user: "whole", password: "hunter2", permissions: {
            publish: ["hn.herenow.>", "$KV.hn_herenow.>", "$JS.API.STREAM.INFO.KV_hn_herenow",
              "$JS.API.STREAM.CREATE.KV_hn_herenow", "$JS.API.STREAM.MSG.GET.KV_hn_herenow"]
            subscribe: ["hn.herenow.>", "$KV.hn_herenow.beat.*"] } }
          { user: "mute", password: "hunter2", permissions: {
            publish: ["hn.herenow.>", "$JS.API.STREAM.INFO.KV_hn_herenow",
              "$JS.API.STREAM.CREATE.KV_hn_herenow", "$JS.API.STREAM.MSG.GET.KV_hn_herenow"]
            subscribe: ["hn.herenow.>", "$KV.hn_herenow.beat.*"] } }
          { user: "deaf", password: "hunter2", permissions: {
            publish: [">"]
            subscribe: ["hn.herenow.r.>", "$KV.hn_herenow.beat.*"] } }
        ] }"#,
    );
    let url = |user: &str| format!("nats://{user}:hunter2@{}", nats.address);
    let said = refusal(&url("nobody"), "one");
    assert!(said.contains("refuses the user"), "{said}");
    let said = refusal(&url("mute"), "one");
    assert!(said.contains("Publish to \"$KV.hn_herenow.beat.one\""), "{said}");
    let said = refusal(&url("deaf"), "one");
    assert!(said.contains("Subscription to \"hn.herenow.view\""), "{said}");
    // The permissions that docs/configuration.md lists are enough.
    Node::start(&url("whole"), "one", &[]).until_ready();
}

#[test]
fn a_node_that_was_killed_starts_again_while_the_others_close_its_heartbeat() {
    let nats = Nats::start();
    drop(Node::join(&nats, "one"));
    let tap = nats.connect();
    let closed = Beat::Closed { incarnation: Incarnation(1) }.encode();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..60 {
                // Heard by everybody, and not kept.
                tap.publish_conditional("$KV.hn_herenow.beat.one", closed.clone());
                last(Duration::from_millis(50));
            }
        });
        Node::start(&nats.url(), "one", &[]).until_ready();
    });
}

#[test]
fn a_nats_server_before_2_9_stops_the_start() {
    let old = old_server();
    let said = refusal(&format!("nats://{old}"), "one");
    assert!(said.contains("is version 2.8.4: 2.9 or later is needed"), "{said}");
}

/// What an old NATS server says to each client that connects.
fn old_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("it accepts");
            let info = "INFO {\"server_id\":\"OLD\",\"server_name\":\"OLD\",\"version\":\"2.8.4\",\"go\":\"go1\",\
                \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\
                \"client_id\":1}\r\n";
            client.write_all(info.as_bytes()).expect("it reads");
            let lines = BufReader::new(client.try_clone().expect("a socket can be shared")).lines();
            for line in lines.map_while(Result::ok).filter(|line| line.starts_with("PING")) {
                client.write_all(b"PONG\r\n").unwrap_or_else(|_| panic!("after {line}"));
            }
        }
    });
    address
}

#[test]
fn a_cluster_that_speaks_another_version_stops_the_start() {
    let nats = Nats::start();
    let one = Node::join(&nats, "one");
    let tap = nats.connect();
    let mut view = View::decode(&tap.value("herenow", "view")).expect("a node wrote it");
    drop(one);
    view.protocol = 7;
    tap.publish("$KV.hn_herenow.view", view.encode());
    let said = refusal(&nats.url(), "two");
    assert!(said.contains("speak version 7 of the protocol between nodes"), "{said}");
}

#[test]
fn a_certificate_of_an_authority_that_is_not_named_stops_the_start() {
    let authority = Authority::new();
    let issued = authority.issue();
    let folder = Folder::below(env!("CARGO_TARGET_TMPDIR"));
    folder.write("certificate.pem", &issued.certificate.pem());
    folder.write("key.pem", &issued.key.serialize_pem());
    folder.write("authority.pem", &authority.pem());
    folder.write("other.pem", &Authority::new().pem());
    let path = |name: &str| folder.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let nats = Nats::with(&format!(
        "jetstream {{ store_dir: \"FOLDER\" }}\ntls {{ cert_file: {:?}, key_file: {:?} }}",
        path("certificate.pem"),
        path("key.pem"),
    ));
    let place = format!("localhost:{}", nats.address.port());
    let url = format!("tls://{place}");
    let said = refusal(&url, "one");
    assert!(said.contains("is not trusted: set --cluster-ca"), "{said}");
    let said = refusal_of(serve(&url, "one", &["--cluster-ca", &path("other.pem")]));
    assert!(said.contains("is not trusted: set --cluster-ca"), "{said}");
    for url in [url, format!("nats://{place}")] {
        Node::start(&url, "one", &["--cluster-ca", &path("authority.pem")]).until_ready();
    }
}

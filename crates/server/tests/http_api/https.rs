//! `--url https://…`: the commands ask through a proxy that ends TLS, and trust the certificates that
//! the machine trusts.

use std::path::PathBuf;

use herenow_testing::TlsProxy;
use serde_json::json;

use crate::commands::{command, outcome};
use crate::server::{KEY, Server};

#[tokio::test]
async fn commands_ask_over_tls_and_trust_what_the_machine_trusts() {
    let server = Server::start();
    let (_jane, id) = server.join("jane", "presence:lobby", json!({})).await;
    let proxy = TlsProxy::before(server.0.addr);
    let url = format!("https://localhost:{}", proxy.addr.port());
    let who = |url: &str, trusted: &PathBuf| {
        let mut who = command(&["who", "lobby", "--url", url]);
        who.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", trusted);
        outcome(who.env("SERVICE_KEY", KEY).output())
    };
    let (code, said, errors) = who(&url, &proxy.authority);
    assert!(code == 0 && said.contains(&id), "{said}{errors}");

    let (code, said, errors) = who(&url, &TlsProxy::before(server.0.addr).authority);
    assert_eq!((code, &*said), (1, ""), "another authority");
    assert!(errors.contains("certificate"), "{errors}");
    let other_name = format!("https://127.0.0.1:{}", proxy.addr.port());
    let (code, _, errors) = who(&other_name, &proxy.authority);
    assert!(code == 1 && errors.contains("certificate"), "{errors}");
    let (code, _, errors) = who(&url, &PathBuf::from("/nowhere"));
    assert!(code == 1 && errors.contains("SSL_CERT_FILE"), "{errors}");
    let plain = format!("https://localhost:{}", server.0.addr.port());
    let (code, _, errors) = who(&plain, &proxy.authority);
    assert!(code == 1 && errors.contains("cannot reach"), "{errors}");
    let (code, _, errors) = who("https://localhost/herenow", &proxy.authority);
    assert!(code == 2 && errors.contains("without a path"), "{errors}");
}

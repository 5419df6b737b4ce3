//! The binary with a key set from a URL: whose documents it takes, when it fetches them again, and what it
//! does while nobody answers. Waits for messages and log lines; the minute is tested where time is an argument.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use herenow_client::raw::RawConnection;
use herenow_server::auth::MAX_JWKS_BYTES;
use herenow_testing::{Folder, Process, TlsProxy, herenow, unix_seconds};
use serde_json::{Value, json};

use crate::issuer::{Answer, Document, Issuer, certificates_of_firebase, documents};
use crate::keys::{algorithm, jwk, set, signed};

const METRICS_TOKEN: &str = "a-token-for-metrics";

/// A server whose keys come from a URL.
struct Running {
    process: Process,
    folder: Folder,
    addr: SocketAddr,
}

impl Running {
    fn start(url: &str) -> Self {
        Self::start_with(url, |_| {})
    }

    fn start_with(url: &str, change: impl FnOnce(&mut Command)) -> Self {
        let folder = Folder::new();
        let mut command = serve(url, folder.path());
        change(&mut command);
        let process = Process::spawn(&mut command);
        let addr = process.wait_for_address();
        Self { process, folder, addr }
    }

    async fn authenticate(&self, key: &str, key_id: &str) -> (RawConnection, Value) {
        let mut peer = RawConnection::connect(self.addr, "").await;
        let header = json!({ "alg": algorithm(key), "kid": key_id });
        let claims = json!({ "sub": "jane", "exp": unix_seconds() + 3600.0 });
        let token = signed(key, &header, &claims.to_string());
        peer.send(json!({"type": "auth", "token": token})).await;
        let reply = peer.next_message().await;
        (peer, reply)
    }

    async fn accepts(&self, key: &str) {
        let (_, reply) = self.authenticate(key, key).await;
        assert_eq!(reply["type"], "auth_success", "{key}: {reply}");
    }

    /// The samples of `/metrics` that begin with this.
    fn samples(&self, prefix: &str) -> Vec<String> {
        let url = format!("http://{}/metrics", self.addr);
        let answer =
            ureq::get(&url).header("Authorization", format!("Bearer {METRICS_TOKEN}")).call();
        let page = answer.expect("it answers").into_body().read_to_string().expect("it is text");
        page.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    fn stop(mut self) -> String {
        self.process.signal("TERM");
        let ended = self.process.ended_within(Duration::from_secs(60)).expect("it stops");
        assert_eq!(ended.code(), Some(0));
        drop(self.folder);
        self.process.whole_log()
    }
}

fn serve(url: &str, folder: &Path) -> Command {
    let pid_file = folder.join("herenow.pid");
    let pid_file = pid_file.to_str().expect("it is UTF-8");
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--jwks", url, "--loops", "1", "--pid-file", pid_file];
    let mut command = herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
    command.current_dir(folder).env("METRICS_TOKEN", METRICS_TOKEN);
    command
}

/// A port of this machine where nobody listens.
fn dead_end() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one")
}

// P3.13
#[tokio::test]
async fn the_documents_of_well_known_issuers_are_taken_as_they_are() {
    for Document { issuer, headers, body, key, key_id } in documents() {
        let answer = Answer { headers, ..Answer::ok(body.to_string()) };
        let published = Issuer::start(answer);
        let server = Running::start(&published.url());
        let (_, reply) = server.authenticate(key, key_id).await;
        assert_eq!(reply["type"], "auth_success", "{issuer}: {reply}");
        assert_eq!(published.requests(), 1, "{issuer}");
    }
}

// P3.17
#[tokio::test]
async fn a_token_with_a_key_that_is_new_waits_until_the_set_is_fetched_again() {
    let issuer = Issuer::start(Answer::ok(set(&[jwk("ed")])));
    let server = Running::start(&issuer.url());
    server.accepts("ed").await;
    issuer.publish(Answer::ok(set(&[jwk("ed"), jwk("ed-next"), jwk("rsa")])));
    server.accepts("ed-next").await;
    assert_eq!(issuer.requests(), 2);
    // Within the minute the issuer is not asked again, and the keys are there.
    for _ in 0..3 {
        let (mut peer, reply) = server.authenticate("ec", "unheard of").await;
        let said = reply["message"].as_str().expect("a sentence");
        assert!(said.contains("kid names a key that this server does not have"), "{reply}");
        assert_eq!(peer.expect_close().await.0, 4002);
    }
    server.accepts("rsa").await;
    assert_eq!(issuer.requests(), 2);
    let [taken, failed, age] = &server.samples("herenow_jwks_")[..] else { panic!("three") };
    assert_eq!(taken, "herenow_jwks_fetches_total{result=\"taken\"} 2");
    assert_eq!(failed, "herenow_jwks_fetches_total{result=\"failed\"} 0");
    assert!(age.starts_with("herenow_jwks_age_seconds "), "{age}");
    let log = server.stop();
    assert!(log.contains("token keys were fetched") && log.contains("keys=3"), "{log}");
}

// P3.17
#[tokio::test]
async fn the_keys_in_force_stay_if_the_endpoint_fails_and_an_upgrade_waits_until_it_answers() {
    let issuer = Issuer::start(Answer::ok(set(&[jwk("ed")])));
    let server = Running::start(&issuer.url());
    issuer.publish(Answer::status("503 Service Unavailable", ""));
    let (_, reply) = server.authenticate("rsa", "rsa").await;
    assert_eq!(reply["type"], "auth_error", "{reply}");
    server.process.wait_for("the keys in force stay: the answer is 503");
    server.accepts("ed").await;
    let failed = server.samples("herenow_jwks_fetches_total{result=\"failed\"}");
    assert_ne!(failed, ["herenow_jwks_fetches_total{result=\"failed\"} 0"]);

    let pid_file = server.folder.path().join("herenow.pid");
    let pid_file = pid_file.to_str().expect("it is UTF-8");
    let mut upgrade = herenow(env!("CARGO_BIN_EXE_herenow"), &["upgrade", "--pid-file", pid_file]);
    let outcome = upgrade.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1), "{said}");
    assert!(said.contains("the answer is 503"), "{said}");
    server.accepts("ed").await;
}

// P3.15, P3.17
#[tokio::test]
async fn if_the_endpoint_is_dead_at_the_start_clients_come_back_until_it_answers() {
    let addr = dead_end();
    let server = Running::start(&format!("http://{addr}/keys"));
    let (mut peer, reply) = server.authenticate("ed", "ed").await;
    assert_eq!(reply["code"], "SERVER_ERROR", "{reply}");
    assert_eq!(peer.expect_close().await.0, 1001);
    assert!(server.samples("herenow_jwks_age").is_empty(), "there is no set yet");
    let listener = TcpListener::bind(addr).expect("nobody has taken it");
    let _issuer = Issuer::at(listener, Answer::ok(set(&[jwk("ed")])));
    server.process.wait_for("token keys were fetched");
    server.accepts("ed").await;
    let log = server.stop();
    assert!(
        log.contains("WARN the key set at http://127.0.0.1:") && log.contains("refused"),
        "{log}"
    );
}

/// Why a server with this URL does not start.
fn refusal(url: &str) -> String {
    let folder = Folder::new();
    let outcome = serve(url, folder.path()).output().expect("the binary runs");
    let said = String::from_utf8(outcome.stderr).expect("it writes UTF-8");
    assert_eq!(outcome.status.code(), Some(2), "{url}: {said}");
    said
}

#[test]
fn an_answer_that_is_no_key_set_stops_the_start_with_what_it_is() {
    let many = "[1]".repeat(MAX_JWKS_BYTES / 3 + 1);
    let openid = json!({ "issuer": "https://a.example/", "jwks_uri": "https://a.example/keys" });
    let location = "Location: https://b.example/keys\r\n";
    for (answer, part) in [
        (
            Answer::ok(certificates_of_firebase().to_string()),
            "service_accounts/v1/jwk/securetoken@",
        ),
        (Answer::ok(openid.to_string()), "its key set (`jwks_uri`) is at https://a.example/keys"),
        (Answer::ok("<html>Log in</html>"), "it should be a JSON object {\"keys\": [{…}, …]}"),
        (Answer::ok(many), "it is longer than 1048576 bytes"),
        (Answer::ok("{\"keys\": []}"), "it has no key to check tokens with"),
        (Answer::status("404 Not Found", ""), "the answer is 404"),
        (
            Answer::status("302 Found", location),
            "the answer is 302, and redirects are not followed; it leads to https://b.example/keys",
        ),
    ] {
        let issuer = Issuer::start(answer);
        let said = refusal(&issuer.url());
        assert!(said.contains(part) && said.contains(&issuer.url()), "{part}: {said}");
        assert_eq!(issuer.requests(), 1, "{part}");
    }
}

#[test]
fn a_url_that_others_could_answer_for_is_refused_unasked() {
    for (url, part) in [
        ("http://login.example.com/keys", "it should begin with https://"),
        ("HTTP://10.0.0.1/keys", "it should begin with https://"),
        ("http://localhost.example.com/keys", "it should begin with https://"),
        ("https://jane:secret@login.example.com/keys", "should not have a user or a password"),
        ("https://", "it is not a URL"),
    ] {
        let said = refusal(url);
        assert!(said.contains(part) && !said.contains("secret"), "{url}: {said}");
    }
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_says_nothing_delays_the_start_for_a_bounded_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/keys", silent.local_addr().expect("it has one"));
    let server = Running::start(&url);
    let log = server.stop();
    assert!(log.contains("no answer came in 10 s"), "{log}");
}

#[tokio::test]
async fn over_https_the_certificates_are_trusted_that_the_machine_trusts() {
    let issuer = Issuer::start(Answer::ok(set(&[jwk("ed")])));
    let proxy = TlsProxy::before(issuer.addr);
    let url = format!("https://localhost:{}/keys", proxy.addr.port());
    let trusting = |authority: &Path| {
        let authority = authority.to_owned();
        move |command: &mut Command| {
            command.env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", authority);
        }
    };
    let server = Running::start_with(&url, trusting(&proxy.authority));
    server.accepts("ed").await;

    let other = TlsProxy::before(issuer.addr);
    let server = Running::start_with(&url, trusting(&other.authority));
    let (_, reply) = server.authenticate("ed", "ed").await;
    assert_eq!(reply["code"], "SERVER_ERROR", "{reply}");
    let log = server.stop();
    assert!(log.contains("cannot be fetched: invalid peer certificate"), "{log}");

    let folder = Folder::new();
    let mut command = serve(&url, folder.path());
    trusting(Path::new("/nowhere"))(&mut command);
    let outcome = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.code() == Some(2) && said.contains("SSL_CERT_FILE"), "{said}");
}

//! Who may read `/metrics`: nobody, unless a setting says so.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use herenow_server::access::Pattern;
use herenow_server::cluster::{ClusterFlags, ClusterSettings};
use herenow_server::config::{Network, Pages, Settings};
use herenow_server::webhooks::{EventKinds, Webhook};
use herenow_testing::logged_address;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{Answer, Server, ask, development, production, read_answer};

const TOKEN: &str = "a-token-of-the-tests";

/// What proxies may say; nginx says nothing by default.
const FORWARDED: [&str; 4] = [
    "X-Forwarded-For: 192.0.2.1",
    "Forwarded: for=192.0.2.1",
    "Via: 1.1 proxy",
    "X-Real-IP: 192.0.2.1",
];

async fn metrics(server: SocketAddr, header: &str) -> Answer {
    ask(server, &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n")).await
}

fn networks(network: &str) -> Vec<Network> {
    vec![Network::parse(network).expect("a network")]
}

fn shows(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("herenow_connections 0\n")
}

/// The same headers as any other request: nothing tells a proxy on this machine from this machine.
#[tokio::test]
async fn without_a_setting_nobody_may_read_and_is_told_which_setting_opens_it() {
    let server = production().await;
    for header in ["Accept: */*", "Authorization: Bearer ", "X-Forwarded-For: 127.0.0.1"] {
        let closed = metrics(server.address, header).await;
        assert_eq!(closed.status, 403, "{header}");
        for setting in ["metricsListen", "METRICS_TOKEN_FILE", "metricsFrom"] {
            assert!(closed.body.contains(setting), "{}", closed.body);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_bearer_token_opens_the_metrics_wherever_it_comes_from() {
    let (server, _) = Server::with_metrics(Settings::default(), Some(TOKEN)).await;
    for extra in ["Accept: */*", FORWARDED[0]] {
        let header = format!("authorization: bearer {TOKEN}\r\n{extra}");
        assert!(shows(&metrics(server.address, &header).await), "{extra}");
    }
    for wrong in
        ["", "Bearer", "Bearer ", "Basic a-token-of-the-tests", "Bearer a-token-of-the-test"]
    {
        let refused = metrics(server.address, &format!("Authorization: {wrong}")).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_the_settings_name_may_read_unless_it_forwards() {
    let settings = Settings { metrics_from: networks("127.0.0.0/8"), ..Settings::default() };
    let server = Server::start(Pages::Production, settings.clone()).await;
    assert!(shows(&metrics(server.address, "Accept: */*").await));
    for header in FORWARDED {
        assert_eq!(metrics(server.address, header).await.status, 403, "{header}");
    }
    server.stop().await;
    let behind_proxies = Settings { trusted_proxies: networks("127.0.0.1"), ..settings };
    let server = Server::start(Pages::Production, behind_proxies).await;
    assert_eq!(metrics(server.address, "Accept: */*").await.status, 403, "a proxy never may");
    server.stop().await;
}

#[tokio::test]
async fn the_port_for_metrics_shows_them_and_health_to_this_machine_and_nothing_else() {
    let (server, address) = Server::with_metrics(Settings::default(), None).await;
    assert!(shows(&metrics(address, "Accept: */*").await));
    for header in FORWARDED {
        assert_eq!(metrics(address, header).await.status, 403, "{header}");
    }
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(ask(address, &get("/health")).await.body, "ok\n");
    for path in ["/", "/api/realtime", "/dev/token"] {
        assert_eq!(ask(address, &get(path)).await.status, 404, "{path}");
    }
    assert_eq!(metrics(server.address, "Accept: */*").await.status, 403);
    server.stop().await;
}

/// The names in the first column of the table of metrics, without their labels.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating.md");
    let text = std::fs::read_to_string(path).expect("the documentation is there");
    let (_, table) = text.split_once("| metric | meaning |").expect("it has a table of metrics");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let names = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`'));
    let names = names.map(|name| name.split('{').next().unwrap_or_default().to_owned());
    // Those of a key set that is fetched are there only with one: `auth_jwks/url` looks at them.
    names.filter(|name| name.contains('_') && !name.starts_with("herenow_jwks_")).collect()
}

#[tokio::test]
async fn each_metric_is_in_the_documentation_and_the_other_way_round() {
    // Those of the probe are there only with a probe, and those of webhooks only with one.
    let webhook = Webhook {
        url: "http://127.0.0.1:9/".parse().expect("a URL"),
        channels: vec![Pattern::parse("presence:*").expect("a pattern")],
        events: EventKinds::default(),
        allow_private_networks: false,
    };
    // Those of a cluster are there also while no NATS server is.
    let cluster = ClusterFlags { servers: Some("nats://127.0.0.1:1".into()), ..Default::default() };
    let settings = Settings {
        truth_probe_ms: 3_600_000,
        cluster: ClusterSettings::parse(cluster).expect("it names a server"),
        webhooks: vec![webhook].into(),
        ..Settings::default()
    };
    let (server, address) = Server::with_metrics(settings, None).await;
    let mut page = metrics(address, "Accept: */*").await.body;
    // The thread that sends them starts beside the server.
    while !page.contains("herenow_webhook_") {
        page = metrics(address, "Accept: */*").await.body;
    }
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let declared = declared.filter_map(|line| line.split(' ').next()).map(str::to_owned);
    assert_eq!(declared.collect::<BTreeSet<_>>(), documented());
    server.stop().await;
}

#[tokio::test]
async fn the_port_for_metrics_has_places_of_its_own() {
    let (server, address) = Server::with_metrics(Settings::default(), None).await;
    let mut held = Vec::new();
    for address in [server.address, address] {
        for _ in 0..300 {
            let mut stream = TcpStream::connect(address).await.expect("the backlog has room");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.expect("sent");
            held.push(stream);
        }
    }
    let reading = async { assert!(shows(&metrics(address, "Accept: */*").await)) };
    timeout(Duration::from_secs(2), reading).await.expect("the page in time");
    server.stop().await;
}

#[tokio::test]
async fn under_dev_this_machine_may_read_and_whom_a_proxy_forwards_may_not() {
    let server = development().await;
    assert!(shows(&metrics(server.address, "Accept: */*").await));
    assert_eq!(metrics(server.address, FORWARDED[0]).await.status, 403);
    server.stop().await;
}

/// `herenow serve` with these settings.
fn serve(settings: &[(&str, &str)]) -> Command {
    let arguments = ["serve", "--listen", "127.0.0.1:0"];
    let mut command = herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), &arguments);
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.env("JWT_USER_SECRET", "s".repeat(32)).envs(settings.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn settings_that_let_nobody_read_stop_the_start() {
    for (settings, says) in [
        (&[("HERENOW_METRICS_LISTEN", "0.0.0.0:0")][..], "none of them may read"),
        (&[("HERENOW_METRICS_LISTEN", "9460")], "an address and a port"),
        (&[("METRICS_TOKEN", "short")], "16 or more visible ASCII characters"),
        (
            &[("HERENOW_METRICS_FROM", "10.1.2.3"), ("HERENOW_TRUSTED_PROXIES", "10.0.0.0/8")],
            "trustedProxies names it too",
        ),
    ] {
        let ended = serve(settings).output().expect("the binary runs");
        let said = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn the_binary_listens_for_metrics_where_the_setting_says() {
    use std::io::{BufRead as _, BufReader};
    let mut child = serve(&[("HERENOW_METRICS_LISTEN", "127.0.0.1:0")]).spawn().expect("it runs");
    let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let address: SocketAddr = log
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| logged_address(&line, "metrics"))
        .expect("it says where");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let page = read_answer(&mut stream).await;
    let _ = child.kill();
    let _ = child.wait();
    assert!(shows(&page), "{}", page.body);
}

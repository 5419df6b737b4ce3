//! Addresses behind a real nginx (Debian's `nginx-light`), configured as docs/operating.md says.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use herenow_server::config::{Network, Pages, Settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::{PATIENCE, Server, connect_from, read_answer, upgrade};

/// Unauthenticated connections that one address may hold here.
const LIMIT: usize = 2;

/// What nginx is told to send.
const AS_DOCUMENTED: &str = r#"proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Forwarded "";"#;

/// An nginx in front of a server. Both end with this.
struct Nginx {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    async fn before(server: &Server, number: u8, headers: &str) -> Self {
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("herenow-nginx-{process}-{number}"));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        // An address that no other test of this machine listens on, so that the port is free.
        let [_, _, high, low] = process.to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, high | 0x80, low, number), PORT));
        let config = config(address, server.address, headers);
        fs::write(folder.join("nginx.conf"), config).expect("the folder can be written");
        let child = start(&folder);
        let nginx = Self { child, folder, address };
        nginx.until_it_listens().await;
        nginx
    }

    async fn until_it_listens(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "nginx does not listen on {}", self.address);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The status of an upgrade from this address.
    async fn open(&self, source: IpAddr, headers: &str) -> (u16, TcpStream) {
        let mut stream = connect_from(self.address, source).await.expect("nginx listens");
        stream.write_all(upgrade(headers).as_bytes()).await.expect("sent");
        (read_answer(&mut stream).await.status, stream)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start(folder: &Path) -> Child {
    let from_path = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
    let program = if from_path { "nginx" } else { "/usr/sbin/nginx" };
    let mut command = Command::new(program);
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]);
    command.spawn().expect("nginx is installed: scripts/install-needs")
}

/// One process in the foreground, which leaves nothing outside its folder.
fn config(address: SocketAddr, server: SocketAddr, headers: &str) -> String {
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen {address};
    location / {{
    proxy_pass http://{server};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    {headers}
    }}
  }}
}}"
    )
}

const PORT: u16 = 4680;

async fn trusting_this_machine() -> Server {
    let settings = Settings {
        trusted_proxies: vec![Network::parse("127.0.0.1").expect("an address")],
        max_unauthenticated_per_address: LIMIT,
        ..Settings::default()
    };
    Server::start(Pages::Production, settings).await
}

fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 9, 9, last).into()
}

// P2.10
#[tokio::test]
async fn the_clients_of_nginx_are_counted_by_their_own_addresses_whatever_they_forge() {
    let server = trusting_this_machine().await;
    let nginx = Nginx::before(&server, 1, AS_DOCUMENTED).await;
    let mut held = Vec::new();
    for forged in [
        "",
        "X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.67\r\n",
        "X-Forwarded-For: 192.0.2.68, 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n",
        "Forwarded: for=\"192.0.2.69\r\n",
    ] {
        let (status, stream) = nginx.open(local(1), forged).await;
        assert_eq!(status, if held.len() < LIMIT { 101 } else { 429 }, "{forged}");
        held.push(stream);
    }
    assert_eq!(nginx.open(local(2), "").await.0, 101);
    assert_eq!(nginx.open(local(3), "X-Forwarded-For: 127.9.9.1\r\n").await.0, 101);
    drop(nginx);
    server.stop().await;
}

/// As many configurations have it: what the client sends as `Forwarded` comes through.
// P2.10
#[tokio::test]
async fn a_forged_header_that_nginx_lets_through_changes_no_other_address() {
    let server = trusting_this_machine().await;
    let append = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    let nginx = Nginx::before(&server, 2, append).await;
    let mut held = Vec::new();
    for at in 0..=LIMIT {
        let forged = format!("Forwarded: for=192.0.2.{at}\r\n");
        let (status, stream) = nginx.open(local(1), &forged).await;
        assert_eq!(status, if at < LIMIT { 101 } else { 429 });
        held.push(stream);
    }
    assert_eq!(nginx.open(local(1), "").await.0, 101);
    assert_eq!(nginx.open(local(2), "Forwarded: for=127.9.9.2\r\n").await.0, 101);
    drop(nginx);
    server.stop().await;
}

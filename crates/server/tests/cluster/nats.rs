//! NATS servers of a test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use herenow_testing::{Folder, Process, until};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::background::wait_for;

/// A NATS server with JetStream, of its own. It ends with this.
pub struct Nats {
    process: Process,
    folder: Folder,
    pub address: SocketAddr,
}

impl Nats {
    pub fn start() -> Self {
        Self::with("jetstream { store_dir: \"FOLDER\" }")
    }

    /// `FOLDER` in the configuration stands for one that can be written.
    pub fn with(config: &str) -> Self {
        let folder = Folder::below(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.path().to_str().expect("a path in UTF-8");
        let config = config.replace("FOLDER", path);
        folder.write("nats.conf", &format!("listen: \"127.0.0.1:-1\"\n{config}\n"));
        let process = run(&folder);
        let line = process.wait_for("Listening for client connections on");
        let address = line.rsplit(' ').next().and_then(|text| text.parse().ok());
        let address = address.expect("it says where it listens");
        process.wait_for("Server is ready");
        folder.write("nats.conf", &format!("listen: \"{address}\"\n{config}\n"));
        Self { process, folder, address }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where it says over HTTP who is connected to it.
    pub fn monitor(&self) -> String {
        let log = self.process.log();
        let stated = log.lines().find_map(|line| line.split_once("Starting http monitor on "));
        stated.expect("it has one").1.to_owned()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// What it had in memory is lost.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// At the same address.
    pub fn start_again(&mut self) {
        self.process = run(&self.folder);
        self.process.wait_for("Server is ready");
    }

    /// A connection that asks and writes what a test wants.
    pub fn connect(&self) -> Tap {
        self.try_connect().expect("it is there")
    }

    pub fn try_connect(&self) -> Option<Tap> {
        wait_for(async_nats::connect(self.url())).ok().map(Tap)
    }
}

fn run(folder: &Folder) -> Process {
    let binary = std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".into());
    let mut command = Command::new(binary);
    command.arg("-c").arg(folder.path().join("nats.conf")).env("GOMAXPROCS", "1");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nats-server is there: see scripts/install-needs");
    let stderr = child.stderr.take().expect("it is piped");
    Process::with_log(child, stderr)
}

/// A client of NATS that belongs to no node.
pub struct Tap(async_nats::Client);

impl Tap {
    pub fn publish(&self, subject: &str, payload: Vec<u8>) {
        wait_for(async {
            let published = self.0.publish(subject.to_owned(), payload.into()).await;
            published.expect("the connection is open");
            self.0.flush().await.expect("the connection is open");
        });
    }

    /// The same, in a way that no bucket takes it.
    pub fn publish_conditional(&self, key: &str, payload: Vec<u8>) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "999999999");
        wait_for(async {
            let published =
                self.0.publish_with_headers(key.to_owned(), headers, payload.into()).await;
            published.expect("the connection is open");
        });
    }

    pub fn listen(&self, subject: &str) -> Heard {
        let subscriber = wait_for(async {
            let subscriber = self.0.subscribe(subject.to_owned()).await;
            self.0.flush().await.expect("the connection is open");
            subscriber.expect("the connection is open")
        });
        Heard { subscriber, subjects: BTreeMap::new() }
    }

    /// The answer to a request of the JetStream API, if there is one.
    pub fn ask(&self, subject: &str, request: &str) -> Option<Value> {
        let request = async_nats::Request::new()
            .payload(request.to_owned().into())
            .timeout(Some(Duration::from_secs(2)));
        let answer = wait_for(self.0.send_request(subject.to_owned(), request)).ok()?;
        serde_json::from_slice(&answer.payload).ok()
    }

    /// What the bucket of a cluster holds under a key.
    pub fn value(&self, cluster: &str, key: &str) -> Vec<u8> {
        let request = json!({ "last_by_subj": format!("$KV.hn_{cluster}.{key}") }).to_string();
        let subject = format!("$JS.API.STREAM.MSG.GET.KV_hn_{cluster}");
        let answer = self.ask_until_granted(&subject, &request);
        let data = answer["message"]["data"].as_str().expect("it has a value");
        STANDARD.decode(data).expect("it is base64")
    }

    /// Waits for an answer without an error.
    pub fn ask_until_granted(&self, subject: &str, request: &str) -> Value {
        let mut last = None;
        let is_granted = until(PATIENCE, || {
            last = self.ask(subject, request);
            last.as_ref().is_some_and(|answer| answer["error"].is_null())
        });
        assert!(is_granted, "{subject}: {last:?}");
        last.expect("it is granted")
    }
}

/// What is published.
pub struct Heard {
    subscriber: async_nats::Subscriber,
    /// The last payload by subject.
    pub subjects: BTreeMap<String, Vec<u8>>,
}

impl Heard {
    /// What has come and what comes within this time.
    pub fn take(&mut self, time: Duration) {
        let taking = async {
            while let Some(message) = self.subscriber.next().await {
                self.subjects.insert(message.subject.to_string(), message.payload.to_vec());
            }
        };
        let taking = async { tokio::time::timeout(time, taking).await };
        assert!(wait_for(taking).is_err(), "the connection is open");
    }
}

//! An endpoint for webhooks that answers as a test wants, on a thread of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// How long a message may take that is to be sent at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub struct Receiver {
    pub addr: SocketAddr,
    messages: mpsc::Receiver<Message>,
    /// What was received and not looked at.
    events: std::collections::VecDeque<Value>,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Receiver {
    /// `answer` gives the status line of the answer to each message, counted from 0.
    pub fn start(mut answer: impl FnMut(usize) -> &'static str + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let addr = listener.local_addr().expect("it is bound");
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("it is accepted");
                let message = read(&stream);
                let status = answer(number);
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes());
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { addr, messages, events: Default::default() }
    }

    pub fn next_message(&self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("a message comes")
    }

    /// The next event, of whichever message.
    pub fn next_event(&mut self) -> Value {
        while self.events.is_empty() {
            self.events.extend(self.next_message().events());
        }
        self.events.pop_front().expect("there is one")
    }

    /// Whether nothing was received that was not looked at.
    pub fn is_silent(&self) -> bool {
        self.events.is_empty() && self.messages.try_recv().is_err()
    }
}

impl Message {
    pub fn header(&self, name: &str) -> &str {
        let of_name = self.headers.iter().find(|(known, _)| known == name);
        of_name.map_or("", |(_, value)| value)
    }

    pub fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).expect("the body is JSON");
        body["events"].as_array().expect("it has events").clone()
    }
}

fn read(stream: &TcpStream) -> Message {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("there is a request");
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("the head is whole");
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body is whole");
    Message { path, headers, body: String::from_utf8(body).expect("it is text") }
}

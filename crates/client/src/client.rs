//! Drives one [`Machine`] over a real socket with tokio and tungstenite. Decides nothing: it
//! carries inputs in and outputs out, and has the clock and the randomness that the machine lacks.
//!
//! Plain `ws://` only; a bot that must cross the open net goes through a proxy that ends TLS.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use herenow_wire::{ChannelName, State};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::machine::{Closed, Event, Input, Machine, Moment, Output};
use crate::roster::UserRow;

/// Commands that may wait before the caller has to.
const COMMANDS: usize = 64;
/// Events that may wait. Past it the socket is not read until the application has caught up, and
/// the server treats this client as the slow consumer that it is.
const EVENTS: usize = 1024;
/// How long a frame may take to leave before the socket counts as dead.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// The largest message taken from the server: a snapshot of 100,000 members with the largest states fits.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to a Herenow server that comes back by itself. Dropping it closes.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
}

/// What happened, in order. To be read continually; when dropped, events are discarded.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

/// The client was closed, so nothing more can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientClosed;

#[derive(Debug)]
enum Command {
    Do(Input),
    Users(ChannelName, oneshot::Sender<Vec<UserRow>>),
}

impl Client {
    /// Begins to connect. `origin` is the server's, as `ws://host:port`.
    pub fn connect(origin: &str, token: Option<&str>) -> (Self, Events) {
        let url = format!("{}/api/realtime", origin.trim_end_matches('/'));
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (events, event_queue) = mpsc::channel(EVENTS);
        let driver = Driver {
            url,
            machine: Machine::new(token.map(Into::into)),
            link: Link::None,
            outputs: Vec::new(),
            events,
        };
        tokio::spawn(driver.run(command_queue));
        (Self { commands }, Events(event_queue))
    }

    /// Receives the channel's events from now on.
    pub async fn listen(&self, channel: ChannelName) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Listen(channel))).await
    }

    /// Receives only how many are in the channel from now on, in place of its events.
    pub async fn count(&self, channel: ChannelName) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Count(channel))).await
    }

    /// Receives neither any longer.
    pub async fn unlisten(&self, channel: ChannelName) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Unlisten(channel))).await
    }

    /// Makes this client a member of the channel, or replaces its state. The client tracks it again
    /// after every loss.
    pub async fn track(&self, channel: ChannelName, state: State) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Track(channel, state))).await
    }

    /// Ends this client's membership of the channel.
    pub async fn untrack(&self, channel: ChannelName) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Untrack(channel))).await
    }

    /// Uses another token, also on the socket that stands.
    pub async fn renew(&self, token: &str) -> Result<(), ClientClosed> {
        self.send(Command::Do(Input::Token(token.into()))).await
    }

    /// Who is in the channel, as far as this client knows. Empty where it does not listen.
    pub async fn users(&self, channel: ChannelName) -> Result<Vec<UserRow>, ClientClosed> {
        let (reply, users) = oneshot::channel();
        self.send(Command::Users(channel, reply)).await?;
        users.await.map_err(|_| ClientClosed)
    }

    async fn send(&self, command: Command) -> Result<(), ClientClosed> {
        self.commands.send(command).await.map_err(|_| ClientClosed)
    }
}

impl Events {
    /// The next event; `None` after the client was closed.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl std::fmt::Display for ClientClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client was closed")
    }
}

impl std::error::Error for ClientClosed {}

struct Driver {
    url: String,
    machine: Machine,
    link: Link,
    outputs: Vec<Output>,
    events: mpsc::Sender<Event>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<Socket>, tungstenite::Error>> + Send>>;

enum Link {
    None,
    Opening(Opening),
    Open(Box<Socket>),
}

/// What the driver woke up for.
enum Wake {
    Command(Option<Command>),
    Opened(Result<Box<Socket>, tungstenite::Error>),
    Frame(Option<Result<Message, tungstenite::Error>>),
    Timeout,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.step(Input::Start).await;
        loop {
            match self.wake(&mut commands).await {
                Wake::Command(Some(Command::Do(input))) => self.step(input).await,
                Wake::Command(Some(Command::Users(channel, reply))) => {
                    let users = self.machine.roster(&channel).map(|roster| roster.users());
                    // Who asked may have stopped waiting; then nobody needs the answer.
                    let _ = reply.send(users.unwrap_or_default());
                }
                Wake::Command(None) => return self.step(Input::Stop).await,
                Wake::Opened(Ok(socket)) => {
                    self.link = Link::Open(socket);
                    self.step(Input::Opened).await;
                }
                Wake::Opened(Err(_)) => self.lost(Closed::default()).await,
                Wake::Frame(frame) => self.frame(frame).await,
                Wake::Timeout => {
                    self.machine.handle_timeout(moment(), &mut self.outputs);
                    self.perform().await;
                }
            }
        }
    }

    /// Frames come before deadlines, so that after a pause of this process a frame that waits in
    /// the socket still proves it alive.
    async fn wake(&mut self, commands: &mut mpsc::Receiver<Command>) -> Wake {
        let timeout_at = self.machine.poll_timeout();
        let link = async {
            match &mut self.link {
                Link::None => std::future::pending().await,
                Link::Opening(opening) => Wake::Opened(opening.await),
                Link::Open(socket) => Wake::Frame(socket.next().await),
            }
        };
        let deadline = async {
            match timeout_at {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            wake = link => wake,
            command = commands.recv() => Wake::Command(command),
            () = deadline => Wake::Timeout,
        }
    }

    async fn frame(&mut self, frame: Option<Result<Message, tungstenite::Error>>) {
        match frame {
            Some(Ok(Message::Text(text))) => self.step(Input::Text(text.as_str().into())).await,
            Some(Ok(Message::Close(close))) => {
                let closed = close.map_or_else(Closed::default, |frame| Closed {
                    code: Some(frame.code.into()),
                    reason: frame.reason.as_str().into(),
                });
                self.lost(closed).await;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.lost(Closed::default()).await,
        }
    }

    async fn lost(&mut self, closed: Closed) {
        if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::None) {
            // Sends the answer to a close frame; a socket that is broken has nobody to answer.
            let _ = timeout(SEND_PATIENCE, socket.flush()).await;
        }
        self.step(Input::Closed(closed)).await;
    }

    async fn step(&mut self, input: Input) {
        self.machine.handle(input, moment(), &mut self.outputs);
        self.perform().await;
    }

    /// Does what the machine said. All frames of one step leave in one write.
    async fn perform(&mut self) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                self.perform_one(output).await;
            }
            let Link::Open(socket) = &mut self.link else { continue };
            if !matches!(timeout(SEND_PATIENCE, socket.flush()).await, Ok(Ok(()))) {
                self.link = Link::None;
                let input = Input::Closed(Closed::default());
                self.machine.handle(input, moment(), &mut self.outputs);
            }
        }
    }

    async fn perform_one(&mut self, output: Output) {
        match output {
            Output::Connect => self.link = Link::Opening(Box::pin(open(self.url.clone()))),
            Output::Send(text) => {
                if let Link::Open(socket) = &mut self.link {
                    // What goes wrong here goes wrong in the flush as well, which tells it.
                    let _ = timeout(SEND_PATIENCE, socket.feed(Message::text(text))).await;
                }
            }
            Output::Close => {
                if let Link::Open(mut socket) = std::mem::replace(&mut self.link, Link::None) {
                    // A box of a sink may be a sink itself, whose end says nothing.
                    let socket = &mut *socket;
                    let frame =
                        CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
                    // Closing on purpose: whether the peer still hears it changes nothing here.
                    let _ = timeout(SEND_PATIENCE, socket.close(Some(frame))).await;
                }
            }
            Output::Abandon => self.link = Link::None,
            // An application that dropped its events does not want them.
            Output::Event(event) => drop(self.events.send(event).await),
        }
    }
}

async fn open(url: String) -> Result<Box<Socket>, tungstenite::Error> {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE_BYTES);
    config.max_frame_size = Some(MAX_MESSAGE_BYTES);
    let (socket, _) = connect_async_with_config(url, Some(config), true).await?;
    Ok(Box::new(socket))
}

fn moment() -> Moment {
    Moment { now: Instant::now(), random: fastrand::f64() }
}

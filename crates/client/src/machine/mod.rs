//! What a client says and when: sign in, subscribe, track, ping, come back after a loss. It has no
//! socket, no clock and no randomness: it is told what happened at which moment, and answers with
//! what is to be done. Many of them can be driven by one deterministic simulation.
//!
//! The driver's part: do the outputs in their order, have at most one socket, and after
//! [`Output::Close`] or [`Output::Abandon`] tell nothing more of that socket.

mod backoff;
mod channel;
mod heard;
mod leaving;
mod resume;
mod surface;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herenow_wire::{ChannelName, State};

use crate::protocol;
use crate::roster::Roster;
use backoff::{Advice, Backoff};
use channel::{Channel, Interest};
use leaving::Leaving;
use resume::Place;

pub use backoff::{MANY_ATTEMPTS, RECONNECT_BASE, RECONNECT_CAP, RECONNECT_LATE_CAP};
pub use surface::{Closed, Event, Input, Moment, Output, Status};

/// How often a client pings. Half of the server's default lease, so one ping may be lost.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a ping may stay without any frame in return before the socket counts as dead.
pub const PING_PATIENCE: Duration = Duration::from_secs(10);
/// How long opening a socket may take.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait before a request that the server could not take is made again.
pub const RETRY_CAP: Duration = Duration::from_secs(2);
/// The longest wait before the right to track, once lost, is asked for again. The first wait is at
/// most [`RETRY_CAP`], and each one is twice as long as the one before.
pub const KICKED_RETRY_CAP: Duration = Duration::from_secs(30);

/// The longest time for which a kick is believed to keep the client out of a channel; the server
/// names none that is longer.
pub const KICK_CAP: Duration = Duration::from_secs(24 * 60 * 60);

/// One client.
#[derive(Debug)]
pub struct Machine {
    token: Option<Box<str>>,
    link: Link,
    status: Status,
    backoff: Backoff,
    channels: BTreeMap<ChannelName, Channel>,
    leaving: Leaving,
    /// What the server may keep for this client while it has no socket.
    place: Option<Place>,
    /// What the server calls the present connection, once it has authenticated.
    connection_id: Option<Arc<str>>,
}

#[derive(Debug)]
enum Link {
    /// Nothing runs and nothing will by itself.
    Down,
    /// When to give up opening the socket.
    Opening { until: Instant },
    /// A socket stands.
    Open(Liveness),
    /// When to try again.
    Waiting { until: Instant },
}

#[derive(Clone, Copy, Debug)]
struct Liveness {
    /// When to send the next ping.
    ping_at: Instant,
    /// When to take the socket for dead, while a ping is unanswered.
    dead_at: Option<Instant>,
}

impl Machine {
    /// A client that has not begun. Without a token it can only watch, and only channels that are
    /// public.
    pub fn new(token: Option<Box<str>>) -> Self {
        Self {
            token,
            link: Link::Down,
            status: Status::Closed,
            backoff: Backoff::default(),
            channels: BTreeMap::new(),
            leaving: Leaving::default(),
            place: None,
            connection_id: None,
        }
    }

    /// The connection's condition.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What is known of a channel that is listened to or tracked in.
    pub fn roster(&self, channel: &ChannelName) -> Option<&Roster> {
        self.channels.get(channel).map(|channel| &channel.roster)
    }

    /// Takes one input and appends what is to be done.
    pub fn handle(&mut self, input: Input, moment: Moment, out: &mut Vec<Output>) {
        match input {
            Input::Start => self.start(moment, out),
            Input::Opened => self.opened(moment, out),
            Input::Text(text) => self.handle_text(&text, moment, out),
            Input::Closed(closed) => self.lost(&closed, moment, out),
            Input::Listen(channel) => self.listen(channel, Interest::List, out),
            Input::Count(channel) => self.listen(channel, Interest::Count, out),
            Input::Unlisten(channel) => self.change(channel, out, Channel::unlisten),
            Input::Track(channel, state) => self.track(channel, state, out),
            Input::Untrack(channel) => self.change(channel, out, Channel::untrack),
            Input::Token(token) => self.renew(token, moment, out),
            Input::Stop => self.stop(out),
        }
    }

    /// When [`Machine::handle_timeout`] is to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Down => None,
            Link::Opening { until } | Link::Waiting { until } => Some(*until),
            Link::Open(alive) => {
                Some(alive.dead_at.map_or(alive.ping_at, |d| d.min(alive.ping_at)))
            }
        };
        let retries = self.channels.values().filter_map(|channel| channel.retry_at);
        retries.chain(link).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, moment: Moment, out: &mut Vec<Output>) {
        match &mut self.link {
            Link::Waiting { until } if *until <= moment.now => self.open(moment, out),
            Link::Opening { until } if *until <= moment.now => self.abandon(moment, out),
            Link::Open(Liveness { dead_at: Some(dead_at), .. }) if *dead_at <= moment.now => {
                self.abandon(moment, out);
            }
            Link::Open(alive) if alive.ping_at <= moment.now => {
                alive.ping_at = moment.now + PING_INTERVAL;
                alive.dead_at.get_or_insert(moment.now + PING_PATIENCE);
                out.push(Output::Send(protocol::ping()));
            }
            _ => {}
        }
        let open = matches!(self.link, Link::Open(_));
        for (name, channel) in &mut self.channels {
            if channel.retry_at.take_if(|at| *at <= moment.now).is_some() && open {
                channel.request(name, out);
            }
        }
    }

    fn start(&mut self, moment: Moment, out: &mut Vec<Output>) {
        if matches!(self.link, Link::Down) {
            self.backoff = Backoff::default();
            self.become_status(Status::Connecting, out);
            self.open(moment, out);
        }
    }

    fn open(&mut self, moment: Moment, out: &mut Vec<Output>) {
        self.link = Link::Opening { until: moment.now + CONNECT_PATIENCE };
        out.push(Output::Connect);
    }

    fn opened(&mut self, moment: Moment, out: &mut Vec<Output>) {
        if !matches!(self.link, Link::Opening { .. }) {
            return;
        }
        self.link = Link::Open(Liveness { ping_at: moment.now + PING_INTERVAL, dead_at: None });
        self.become_status(Status::Connected, out);
        if let Some(token) = &self.token {
            out.push(Output::Send(match &self.place {
                Some(place) => protocol::auth_resuming(token, &place.resume),
                None => protocol::auth(token),
            }));
        }
        // Not waiting for the answer saves a round trip; the server takes them in this order.
        for (name, channel) in &mut self.channels {
            channel.request(name, out);
        }
    }

    /// The socket does not answer: a close handshake would only wait for it.
    fn abandon(&mut self, moment: Moment, out: &mut Vec<Output>) {
        out.push(Output::Abandon);
        self.lost(&Closed::default(), moment, out);
    }

    fn lost(&mut self, closed: &Closed, moment: Moment, out: &mut Vec<Output>) {
        if !matches!(self.link, Link::Opening { .. } | Link::Open(_)) {
            return;
        }
        self.detach();
        match backoff::advice(closed) {
            Advice::GiveUp => {
                self.link = Link::Down;
                self.become_status(Status::Failed, out);
            }
            Advice::Reconnect(pace) => {
                let until = moment.now + self.backoff.next_delay(pace, moment.random);
                self.link = Link::Waiting { until };
                self.become_status(Status::Reconnecting, out);
            }
        }
    }

    fn stop(&mut self, out: &mut Vec<Output>) {
        match self.link {
            Link::Open(_) => out.push(Output::Close),
            Link::Opening { .. } => out.push(Output::Abandon),
            Link::Down | Link::Waiting { .. } => {}
        }
        self.link = Link::Down;
        // A close on purpose ends the entries: there is nothing to come back to.
        self.place = None;
        self.detach();
        self.become_status(Status::Closed, out);
    }

    /// The socket is gone.
    fn detach(&mut self) {
        self.leaving.forget();
        self.connection_id = None;
        for channel in self.channels.values_mut() {
            channel.detach();
        }
    }

    fn renew(&mut self, token: Box<str>, moment: Moment, out: &mut Vec<Output>) {
        if matches!(self.link, Link::Open(_)) {
            out.push(Output::Send(protocol::auth(&token)));
        }
        self.token = Some(token);
        if self.status == Status::Failed {
            self.start(moment, out);
        }
    }

    fn listen(&mut self, name: ChannelName, interest: Interest, out: &mut Vec<Output>) {
        let open = matches!(self.link, Link::Open(_));
        let channel = self.channels.entry(name.clone()).or_default();
        let known = channel.is_wanted();
        channel.interest = interest;
        if open && !known {
            channel.request(&name, out);
        } else if open {
            out.extend(channel.change_subscription(&name).map(Output::Send));
        }
    }

    fn track(&mut self, name: ChannelName, state: State, out: &mut Vec<Output>) {
        let open = matches!(self.link, Link::Open(_));
        let channel = self.channels.entry(name.clone()).or_default();
        channel.tracked = Some(state);
        if open && !channel.is_removed() {
            channel.request(&name, out);
        }
    }

    /// Applies what ends an interest in a channel, and forgets a channel that nobody wants.
    fn change(
        &mut self,
        name: ChannelName,
        out: &mut Vec<Output>,
        change: fn(&mut Channel, &ChannelName) -> Vec<String>,
    ) {
        let Some(channel) = self.channels.get_mut(&name) else { return };
        let messages = change(channel, &name);
        let is_wanted = channel.is_wanted();
        if !is_wanted {
            self.channels.remove(&name);
        }
        if messages.is_empty() {
            return;
        }
        if matches!(self.link, Link::Open(_)) {
            if !is_wanted {
                self.leaving.expect(&name);
            }
            out.extend(messages.into_iter().map(Output::Send));
        }
        if let Some(place) = &mut self.place {
            place.given_up.insert(name);
        }
    }

    fn become_status(&mut self, status: Status, out: &mut Vec<Output>) {
        if self.status != status {
            self.status = status;
            out.push(Output::Event(Event::Status(status)));
        }
    }
}

//! One client: the real state machine, and around it a driver that reads and writes a simulated
//! link, sleeps, stops reading, loses its timers, is loaded again, or crashes.

mod pages;

use std::collections::BTreeMap;
use std::time::{Duration, Instant as Wall};

use herenow_client::machine::{Closed, Event, Input, Machine, Moment, Output, Status};
use herenow_client::protocol::ServerMessage;
use herenow_core::Instant;
use herenow_hub::{Address, Opening, Origin};
use herenow_wire::{ChannelName, DefaultChannel, State};

use crate::application::Application;
use crate::counting::Counting;
use crate::expiring;
use crate::frames::{self, Frame, Opcode};
use crate::network::{Down, LinkId, PieceEnd, Up};
use crate::observer::Observer;
use crate::stage::Stage;

/// See the module.
pub struct Client {
    pub number: usize,
    pub token: Option<String>,
    /// The channel that its socket names, for what it says without one.
    default: DefaultChannel,
    /// The channel that the server opens its sockets to watch.
    pub watched: Option<ChannelName>,
    /// What it counts, beside its machine, which wants nothing then.
    pub counting: Option<Counting>,
    pub machine: Machine,
    pub wants: BTreeMap<ChannelName, Want>,
    pub application: Application,
    pub connection: Option<String>,
    link: Option<LinkId>,
    observer: Observer,
    half_read: Vec<u8>,
    /// The id that the server gave it last.
    last_connection: Option<String>,
    /// A channel was full. No client asks again by itself, so it may be in no list.
    pub was_refused: bool,
    /// When its application gets a fresh token.
    refresh_at: Instant,
    /// The newest `resume`, which a page keeps over being loaded again.
    resume: Option<String>,
    /// What the machine does at which moment must not depend on the clock of this process.
    epoch: Wall,
    outputs: Vec<Output>,
    /// It does nothing at all before, as a laptop that sleeps.
    pub asleep_until: Instant,
    /// It takes nothing from its socket before.
    pub deaf_until: Instant,
    /// Its timers do not run before, as in a hidden tab.
    pub timeless_until: Instant,
}

/// The resolution of the simulated time.
const TICK: Duration = Duration::from_micros(1);

/// What the application wants of a channel.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Want {
    pub listening: bool,
    pub shown: Option<State>,
}

impl Client {
    pub fn new(number: usize, token: Option<String>, default: DefaultChannel, epoch: Wall) -> Self {
        Self {
            number,
            default,
            watched: None,
            counting: None,
            machine: Machine::new(token.as_deref().map(Into::into)),
            token,
            wants: BTreeMap::new(),
            application: Application::default(),
            connection: None,
            link: None,
            observer: Observer::default(),
            half_read: Vec::new(),
            last_connection: None,
            was_refused: false,
            refresh_at: Instant::NEVER,
            resume: None,
            epoch,
            outputs: Vec::new(),
            asleep_until: Instant::default(),
            deaf_until: Instant::default(),
            timeless_until: Instant::default(),
        }
    }

    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// See [`Observer::meet_new_rules`].
    pub fn meet_new_rules(&mut self) {
        self.observer.meet_new_rules();
    }

    /// When it does something next.
    pub fn next_step(&self, stage: &mut Stage) -> Instant {
        let read_at = self.link.map_or(Instant::NEVER, |link| {
            stage.network.link(link).down.next_at().max(self.deaf_until)
        });
        let timer_at = self.machine.poll_timeout().map_or(Instant::NEVER, |at| {
            let since = at.saturating_duration_since(self.epoch);
            // Up to the next whole microsecond: a timer never fires early.
            (Instant::default() + since + TICK).max(self.timeless_until)
        });
        let refresh_at = self.refresh_at.max(self.timeless_until);
        read_at.min(timer_at).min(refresh_at).max(self.asleep_until).max(stage.now)
    }

    /// Reads what has come, then does what is due: after a sleep, what waits in the socket still
    /// proves it alive.
    pub fn step(&mut self, stage: &mut Stage) {
        while stage.now >= self.deaf_until
            && let Some(link) = self.link
            && let Some((_, what)) = stage.network.link(link).down.receive(stage.now)
        {
            self.receive(link, what, stage);
        }
        if stage.now >= self.refresh_at.max(self.timeless_until) {
            self.refresh(stage);
        }
        if stage.now >= self.timeless_until {
            let moment = self.moment(stage);
            self.machine.handle_timeout(moment, &mut self.outputs);
            self.perform(stage);
        }
    }

    /// A fresh token, long before the one in use ends.
    fn refresh(&mut self, stage: &mut Stage) {
        self.refresh_at = stage.plan.token_life.map_or(Instant::NEVER, |life| stage.now + life / 2);
        if let Some(token) = self.token.clone().filter(|_| self.refresh_at != Instant::NEVER) {
            self.tell(Input::Token(token.into()), stage);
        }
    }

    pub fn tell(&mut self, input: Input, stage: &mut Stage) {
        let moment = self.moment(stage);
        self.machine.handle(input, moment, &mut self.outputs);
        self.perform(stage);
    }

    // What applications do.

    pub fn listen(&mut self, channel: ChannelName, stage: &mut Stage) {
        self.wants.entry(channel.clone()).or_default().listening = true;
        self.tell(Input::Listen(channel), stage);
    }

    pub fn unlisten(&mut self, channel: ChannelName, stage: &mut Stage) {
        if let Some(want) = self.wants.get_mut(&channel) {
            want.listening = false;
        }
        self.tell(Input::Unlisten(channel.clone()), stage);
        self.forget_if_unwanted(&channel);
    }

    pub fn track(&mut self, channel: ChannelName, state: State, stage: &mut Stage) {
        self.wants.entry(channel.clone()).or_default().shown = Some(state.clone());
        self.tell(Input::Track(channel, state), stage);
    }

    pub fn untrack(&mut self, channel: ChannelName, stage: &mut Stage) {
        if let Some(want) = self.wants.get_mut(&channel) {
            want.shown = None;
        }
        self.tell(Input::Untrack(channel.clone()), stage);
        self.forget_if_unwanted(&channel);
    }

    pub fn wants(&self, channel: &ChannelName) -> bool {
        self.wants.contains_key(channel)
    }

    /// Says something, also what the machine never would. What its socket names it may leave out.
    pub fn say(&mut self, mut text: String, stage: &mut Stage) {
        if let Some(link) = self.link {
            if let DefaultChannel::Named(channel) = &self.default
                && stage.chance.one_in(2)
            {
                let named = format!(r#","channel":"{channel}""#);
                stage.tally.left_out += u64::from(text.contains(&named));
                text = text.replacen(&named, "", 1);
            }
            self.observer.say(&text, &self.default, stage.now);
            stage.send_frame(link, Opcode::Text, text.as_bytes());
        }
    }

    /// Asks for the count of its channel, if it counts one.
    pub fn count_anew(&mut self, stage: &mut Stage) {
        if let Some(text) = self.counting.as_mut().map(Counting::begin) {
            self.say(text, stage);
        }
    }

    /// It closes, and does not mean to come back.
    pub fn stop(&mut self, stage: &mut Stage) {
        self.tell(Input::Stop, stage);
        self.resume = None;
    }

    fn forget_if_unwanted(&mut self, channel: &ChannelName) {
        if self.wants.get(channel) == Some(&Want::default()) {
            self.wants.remove(channel);
            self.application.forget(channel);
        }
    }

    fn receive(&mut self, link: LinkId, what: Down, stage: &mut Stage) {
        match what {
            Down::Opened => {
                self.tell(Input::Opened, stage);
                self.count_anew(stage);
            }
            Down::End => self.lost(Closed::default(), stage),
            Down::Bytes(bytes, end) => {
                stage.send_taken(link, bytes.len());
                self.half_read.extend(bytes);
                while self.link == Some(link)
                    && let Some(frame) = frames::take(&mut self.half_read)
                {
                    self.read(frame, stage);
                }
                if end == PieceEnd::Whole && self.link == Some(link) {
                    self.observer.end_flushes(&mut stage.history);
                }
            }
        }
    }

    fn read(&mut self, frame: Frame, stage: &mut Stage) {
        stage.tally.frames += 1;
        match frame {
            Frame::Ping => self.link.map_or((), |link| stage.send_frame(link, Opcode::Pong, b"")),
            Frame::Close(code, reason) => self.lost(Closed { code: Some(code), reason }, stage),
            Frame::Text(text) => {
                stage.note(|| format!("client {} reads {text}", self.number));
                stage.tally.digest(&text);
                let message = ServerMessage::parse(&text);
                self.count(&message, stage);
                self.observer.read(&message, &mut stage.history, stage.now);
                if stage.keeps_fields() {
                    expiring::check(&message, stage.now, stage.plan.fastest_per_mille());
                }
                if let Some(counting) = &mut self.counting {
                    counting.read(&message, &mut stage.history);
                }
                self.tell(Input::Text(text), stage);
                if let ServerMessage::AuthSuccess { connection_id, resume, user_id } = message {
                    assert_eq!(Some(&*user_id), self.token.as_deref(), "signed in as another");
                    self.connection = Some(connection_id.to_string());
                    let life = stage.plan.token_life;
                    self.refresh_at = life.map_or(Instant::NEVER, |life| stage.now + life / 2);
                    self.resume = resume.map(String::from);
                }
            }
        }
    }

    /// What is rare is counted, so that nobody takes an empty run for a proof.
    fn count(&mut self, message: &ServerMessage, stage: &mut Stage) {
        let tally = &mut stage.tally;
        match message {
            ServerMessage::Sync(_) => tally.snapshots += 1,
            ServerMessage::Resync { .. } => tally.resyncs += 1,
            ServerMessage::AuthSuccess { connection_id, resume, .. } => {
                let is_resumed = self.last_connection.as_deref() == Some(connection_id);
                tally.resumes += u64::from(is_resumed);
                // A token begins with the process that signed it.
                let process = |token: &str| token.split(' ').next().map(String::from);
                let has_moved =
                    resume.as_deref().and_then(process) != self.resume.as_deref().and_then(process);
                tally.moved_connections += u64::from(is_resumed && has_moved);
                self.last_connection = Some(connection_id.to_string());
            }
            ServerMessage::Unsubscribed { .. } | ServerMessage::AuthRefreshed { .. } => {
                tally.revocations += u64::from(revokes(message));
            }
            ServerMessage::Error(failure) if *failure.code == *"MEMBER_LIMIT" => {
                tally.member_limits += 1;
                self.was_refused = true;
            }
            ServerMessage::Error(failure) if *failure.code == *"AUTH_EXPIRED" => {
                tally.expired_tokens += 1;
            }
            _ => {}
        }
    }

    fn lost(&mut self, closed: Closed, stage: &mut Stage) {
        stage.tally.restart_hints += u64::from(closed.reason.contains("retryAfterMs"));
        if let Some(link) = self.link.take() {
            stage.tally.losses += 1;
            stage.send_up(link, Up::End);
        }
        stage.note(|| format!("client {} has lost its socket: {closed:?}", self.number));
        self.tell(Input::Closed(closed), stage);
    }

    fn perform(&mut self, stage: &mut Stage) {
        while !self.outputs.is_empty() {
            for output in std::mem::take(&mut self.outputs) {
                self.perform_one(output, stage);
            }
        }
    }

    fn perform_one(&mut self, output: Output, stage: &mut Stage) {
        match output {
            Output::Connect => {
                let link = stage.network.open();
                let opening = match self.watched.clone() {
                    Some(channel) => Opening::Watch { channel },
                    None => {
                        let agent = Some(format!("client/{}", link % 3).into());
                        let origin = Some(Box::new(Origin { address: Address::Unix, agent }));
                        Opening::Client { default_channel: self.default.clone(), origin }
                    }
                };
                stage.send_up(link, Up::Open(opening));
                stage.opened.push(link);
                self.link = Some(link);
                self.observer = Observer::new(stage.plan.nodes);
                self.half_read.clear();
            }
            Output::Send(text) => {
                let text = expiring::with_field(text, stage.now);
                stage.note(|| format!("client {} says {text}", self.number));
                self.say(text, stage);
            }
            Output::Close => {
                if let Some(link) = self.link.take() {
                    stage.send_frame(link, Opcode::Close, &1000_u16.to_be_bytes());
                    stage.send_up(link, Up::End);
                }
            }
            Output::Abandon => {
                if let Some(link) = self.link.take() {
                    stage.tally.losses += 1;
                    stage.send_up(link, Up::End);
                }
            }
            Output::Event(event) => {
                stage.note(|| format!("client {} hears {event:?}", self.number));
                self.hear(&event);
            }
        }
    }

    fn hear(&mut self, event: &Event) {
        if matches!(event, Event::Status(status) if *status != Status::Connected) {
            self.connection = None;
        }
        self.application.hear(event, &self.machine);
    }

    /// The first `auth` of a page that was loaded again shows what the one before has kept.
    fn moment(&self, stage: &mut Stage) -> Moment {
        let since = Duration::from_micros(stage.now.as_micros());
        Moment { now: self.epoch + since, random: stage.chance.unit() }
    }
}

/// Whether a right was taken away, not given up.
fn revokes(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::Unsubscribed { code, .. } => code.is_some(),
        ServerMessage::AuthRefreshed { revoked } => !revoked.is_empty(),
        _ => false,
    }
}

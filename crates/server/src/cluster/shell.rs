//! The loop of the cluster's thread: what happens goes to the exchange, and what it says is carried
//! out, in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Event as Connection;
use herenow_cluster::{Action, Config, Event, Exchange, Read, Subject};
use herenow_core::NodeEvent;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use super::agreement::Agreement;
use super::clock::BootClock;
use super::engine::{Arrival, Engine};
use super::outbox::{FromLoop, NodeInbox};
use super::pacing::{self, Pacing};
use super::questions::Desk;
use super::requests::Failure;
use super::settings::ClusterSettings;
use super::shared_key::Schedule;
use super::subjects::Subjects;
use super::{Command, Inside, PROTOCOL, Status};
use crate::auth::ResumeKey;
use crate::mailbox::{Mail, Mailbox};

/// What the thread is made of.
pub(super) struct Parts {
    pub(super) settings: Arc<ClusterSettings>,
    pub(super) inside: Inside,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) desk: Desk,
    pub(super) told: watch::Sender<Status>,
    pub(super) clock: BootClock,
}

/// A larger payload than this would delay what comes behind it.
const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// The largest item of a link: a snapshot comes in items that are far smaller.
const MAX_ITEM_BYTES: usize = 1024 * 1024;
/// When mail for a loop that had no room is sent again.
const RESEND_AFTER: Duration = Duration::from_millis(2);

struct Shell {
    engine: Engine,
    exchange: Exchange,
    mailboxes: Arc<[Mailbox]>,
    /// What each loop is to be told, by index. It waits if the loop's mailbox is full; links bound it,
    /// since nothing is acknowledged that a loop has not taken.
    to_loops: Vec<Vec<NodeEvent>>,
    desk: Desk,
    told: watch::Sender<Status>,
    clock: BootClock,
    actions: Vec<Action>,
    pacing: Pacing,
    resume_key: ResumeKey,
    key_schedule: Schedule,
    agreement: Agreement,
    is_leaving: bool,
}

/// Runs until the node has left the view.
pub(super) async fn run(parts: Parts) {
    let Parts { settings, inside, mut commands, desk, told, clock } = parts;
    let Inside { mut inbox, mailboxes, resume_key, shared_settings } = inside;
    let mut engine = match Engine::connect(&settings).await {
        Ok(engine) => engine,
        Err(error) => return tracing::error!("{error}"),
    };
    let mut log = Log::default();
    while !engine.is_connected() {
        tokio::select! {
            arrival = engine.next() => log.tell(&arrival),
            command = commands.recv() => if matches!(command, None | Some(Command::Leave)) {
                told.send_modify(|status| status.has_left = true);
                return;
            }
        }
    }
    engine.ensure_bucket();
    let mut seed = [0; 8];
    if let Err(error) = getrandom::fill(&mut seed) {
        return tracing::error!(%error, "the system gave no random bytes: no cluster is joined");
    }
    let config = Config {
        name: settings.node.clone(),
        protocol: PROTOCOL,
        seed: u64::from_le_bytes(seed),
        max_payload_bytes: engine.max_payload_bytes().min(MAX_PAYLOAD_BYTES),
        max_item_bytes: MAX_ITEM_BYTES,
    };
    let hubs = mailboxes.len() as u16;
    let (exchange, actions) = Exchange::new(&config, hubs, clock.both());
    let to_loops = vec![Vec::new(); mailboxes.len()];
    let mut shell = Shell {
        engine,
        exchange,
        mailboxes,
        to_loops,
        desk,
        told,
        clock,
        actions,
        pacing: Pacing::new(Instant::now()),
        resume_key,
        key_schedule: Schedule::new(),
        agreement: Agreement::new(&settings.node, shared_settings),
        is_leaving: false,
    };
    shell.carry_out();
    while !shell.told.borrow().has_left {
        let due = shell.until_due();
        tokio::select! {
            biased;
            command = commands.recv() => shell.obey(command.unwrap_or(Command::Leave)),
            arrival = shell.engine.next() => {
                log.tell(&arrival);
                shell.arrive(arrival);
            }
            mail = take(&mut inbox, shell.pacing.hold_until()) => shell.take_mail(mail),
            () = sleep(due) => shell.handle(Event::Timeout),
        }
        shell.engine.turn_if_failing();
        shell.share_key();
        shell.tell_settings();
        shell.tell_loops();
    }
}

/// Takes mail as it comes, or what has come until then.
async fn take(inbox: &mut NodeInbox, hold_until: Option<Instant>) -> Vec<FromLoop> {
    if let Some(until) = hold_until {
        sleep_until(until.into()).await;
    }
    inbox.take().await
}

impl Shell {
    fn handle(&mut self, event: Event<'_>) {
        self.exchange.handle(event, self.clock.both(), &mut self.actions);
        self.carry_out();
    }

    fn take_mail(&mut self, mail: Vec<FromLoop>) {
        self.pacing.taken(&mail, Instant::now());
        for FromLoop { hub, owner, mail, .. } in pacing::merge(mail) {
            self.handle(Event::Mail { hub, owner, mail });
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Read(id, read) => {
                if read == Read::Absent {
                    self.key_schedule.is_lost();
                }
                self.handle(Event::Read(id, read));
            }
            Arrival::NoBucket(id) => {
                self.engine.ensure_bucket();
                self.key_schedule.is_lost();
                self.handle(Event::Read(id, Read::Unknown));
            }
            Arrival::Swapped(id, swapped) => {
                self.handle(Event::Swapped(id, swapped));
                self.tell_traffic();
            }
            Arrival::Message(Subject::Inbox(_), message) => {
                self.engine.traffic.batches_received += 1;
                self.engine.traffic.bytes_received += message.payload.len() as u64;
                self.handle(Event::Packet(&message.payload));
            }
            Arrival::Message(Subject::View, message) => {
                self.handle(Event::Hint(&message.payload));
            }
            Arrival::Message(Subject::Beats, message) => {
                if let Some(node) = Subjects::node(&message.subject) {
                    self.handle(Event::Beat(node, &message.payload));
                }
            }
            Arrival::Settings(message) => {
                let view = self.exchange.view().map(Arc::as_ref);
                self.agreement.heard(&message.payload, view);
            }
            Arrival::ResumeKey(answer) => {
                self.key_schedule.answered(&answer);
                if let Ok(key) = answer {
                    self.resume_key.replace(key);
                    self.tell(|status| status.has_key = true);
                }
            }
            Arrival::Event(_) | Arrival::Bucket(_) => {}
        }
    }

    /// Once for each heartbeat.
    fn tell_traffic(&mut self) {
        let traffic = &mut self.engine.traffic;
        (traffic.links, traffic.held_bytes) = self.exchange.held();
        (traffic.collecting, traffic.owed) = self.exchange.waiting();
        traffic.machine = self.exchange.counters();
        traffic.differing_nodes = self.agreement.differing();
        let traffic = *traffic;
        self.tell(|status| status.traffic = traffic);
    }

    fn share_key(&mut self) {
        if self.key_schedule.takes_turn() {
            let nodes = self.exchange.view().map_or(0, |view| view.nodes.len());
            let own = self.key_schedule.may_put(nodes).then(|| self.resume_key.bytes());
            self.engine.share_key(own);
        }
    }

    fn tell_settings(&mut self) {
        if let Some(own) = self.agreement.poll_tell() {
            self.engine.tell_settings(own);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ask { to, body, answer } => {
                let ask = self.desk.ask(to, body, answer);
                self.handle(ask);
            }
            Command::Answer { to, id, body } => self.handle(Event::Answer { to, id, body }),
            Command::Drain => self.handle(Event::Drain),
            Command::Leave => {
                self.is_leaving = true;
                self.handle(Event::Leave);
            }
        }
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Read(id, key) => self.engine.read(id, &key),
                Action::Swap { id, key, expected, value } => {
                    self.engine.swap(id, &key, (expected, value));
                }
                Action::Publish(subject, bytes) => self.engine.publish(&subject, bytes),
                Action::Subscribe(subject) => self.engine.subscribe(subject),
                Action::Unsubscribe(subject) => self.engine.unsubscribe(&subject),
                Action::ToHub(hub, event) => self.to_loops[usize::from(hub)].push(event),
                Action::View(view) => {
                    tracing::debug!(view = view.v, nodes = view.nodes.len(), "a new view");
                    self.tell(|status| status.view = Some(view));
                }
                Action::LeaseUntil(until) => self.tell(|status| status.lease_until = until),
                Action::Asked { from, id, body } => self.desk.asked(from, id, body),
                Action::Answered { id, answer } => self.desk.answered(id, answer),
                Action::Joined => {
                    tracing::info!("joined the cluster");
                    self.agreement.joined();
                    self.key_schedule.joined();
                    self.tell(|status| status.has_joined = true);
                }
                Action::Left => self.tell(|status| status.has_left = true),
            }
        }
        let (me, is_in) = (self.exchange.incarnation(), self.exchange.is_in());
        let is_news = |status: &Status| status.me != Some(me) || status.is_in != is_in;
        if is_news(&self.told.borrow()) {
            self.tell(|status| (status.me, status.is_in) = (Some(me), is_in));
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.told.send_modify(change);
    }

    /// Sends each loop what it is to be told. A loop that has no room is told later.
    fn tell_loops(&mut self) {
        for (events, mailbox) in self.to_loops.iter_mut().zip(self.mailboxes.iter()) {
            if events.is_empty() {
                continue;
            }
            let batch = vec![Mail::Event(herenow_hub::Event::Nodes(std::mem::take(events)))];
            let unsent = mailbox.send(batch).err().and_then(|mut batch| batch.pop());
            // Loops that have ended are told no more.
            if let Some(Mail::Event(herenow_hub::Event::Nodes(unsent))) = unsent
                && !self.is_leaving
            {
                *events = unsent;
            }
        }
    }

    fn until_due(&self) -> Duration {
        let due = self.exchange.poll_timeout().since(self.clock.now());
        let due = due.min(self.key_schedule.until_due()).min(self.agreement.until_due());
        let has_unsent = self.to_loops.iter().any(|events| !events.is_empty());
        if has_unsent { due.min(RESEND_AFTER) } else { due }
    }
}

/// Says once what the operator should know of the connection.
#[derive(Default)]
struct Log {
    is_away: bool,
    last_refusal: String,
}

impl Log {
    fn tell(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Event(Connection::Connected) => {
                self.is_away = false;
                tracing::info!("connected to NATS");
            }
            // If the next attempt succeeds, nothing has happened.
            Arrival::Event(Connection::Disconnected) => tracing::debug!("disconnected from NATS"),
            Arrival::Event(Connection::ClientError(error)) => self.away(&error.to_string()),
            Arrival::Event(Connection::ServerError(error)) => self.refused(error.to_string()),
            Arrival::Bucket(Err(Failure::Refused(error))) => {
                self.refused(error.description.clone());
            }
            Arrival::Bucket(Ok(bucket)) => {
                tracing::debug!(replicas = bucket.num_replicas, "the bucket of the cluster");
            }
            _ => {}
        }
    }

    fn away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(
                error = why,
                "no NATS server is connected: other nodes are not heard until one is"
            );
        }
    }

    fn refused(&mut self, what: String) {
        if self.last_refusal != what {
            tracing::error!(error = what, "the NATS server refuses what the cluster needs");
            self.last_refusal = what;
        }
    }
}

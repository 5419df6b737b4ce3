//! The NATS servers as the machine's engine: one connection, its subscriptions, and the requests that
//! are under way. Never waits for the connection: what cannot be sent at once is lost, as the machine
//! expects of an engine.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Event, Message, Subscriber};
use futures_util::future::poll_fn;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use herenow_cluster::{Key, Read, RequestId, Revision, Subject, Swapped};
use tokio::sync::mpsc;

use super::error::ClusterError;
use super::events;
use super::metrics::Traffic;
use super::requests::{self, Failure};
use super::settings::ClusterSettings;
use super::shared_key;
use super::subjects::Subjects;
use crate::auth::KeyBytes;

/// See the module.
pub(super) struct Engine {
    client: Client,
    subjects: Arc<Subjects>,
    servers: usize,
    events: mpsc::UnboundedReceiver<Event>,
    subscriptions: Vec<(Subject, Subscriber)>,
    /// To what nodes tell of their settings.
    settings: Option<Subscriber>,
    /// Wanted, and not taken by the connection yet.
    unsubscribed: Vec<Subject>,
    /// Which subscription is looked at first.
    turn: usize,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Arrival> + Send>>>,
    is_creating: bool,
    /// Since when no write was answered, if one was not.
    failing_since: Option<Instant>,
    /// What was sent.
    pub(super) traffic: Traffic,
}

/// What comes from the engine.
pub(super) enum Arrival {
    Read(RequestId, Read),
    /// The answer to a read: there is no bucket.
    NoBucket(RequestId),
    Swapped(RequestId, Swapped),
    Message(Subject, Message),
    /// A node tells its settings.
    Settings(Message),
    Event(Event),
    /// The key that signs resume tokens.
    ResumeKey(Result<KeyBytes, Failure>),
    /// There is a bucket, or there is none and it could not be created.
    Bucket(Result<requests::Bucket, Failure>),
}

/// How long writes may go unanswered before the next server is tried.
const TURN_AFTER: Duration = Duration::from_millis(3000);

impl Engine {
    /// Connects in the background, as often as it takes.
    pub(super) async fn connect(settings: &ClusterSettings) -> Result<Self, ClusterError> {
        let (options, events) = events::lasting(settings)?;
        let connected = options.connect(settings.addresses()).await;
        let client =
            connected.map_err(|error| ClusterError::System(std::io::Error::other(error)))?;
        Ok(Self {
            client,
            subjects: Arc::new(Subjects::of(&settings.name)),
            servers: settings.servers.len(),
            events,
            subscriptions: Vec::new(),
            settings: None,
            unsubscribed: Vec::new(),
            turn: 0,
            under_way: FuturesUnordered::new(),
            is_creating: false,
            failing_since: None,
            traffic: Traffic::default(),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The largest payload that the server takes.
    pub(super) fn max_payload_bytes(&self) -> usize {
        self.client.max_payload()
    }

    pub(super) fn read(&mut self, id: RequestId, key: &Key) {
        if !self.is_connected() {
            return self.under_way.push(Box::pin(async move { Arrival::Read(id, Read::Unknown) }));
        }
        let (client, subjects) = (self.client.clone(), Arc::clone(&self.subjects));
        let key = self.subjects.key(key);
        self.under_way.push(Box::pin(async move {
            match requests::read(&client, &subjects, key).await {
                Ok(read) => Arrival::Read(id, read),
                Err(Failure::NoBucket) => Arrival::NoBucket(id),
                Err(_) => Arrival::Read(id, Read::Unknown),
            }
        }));
    }

    pub(super) fn swap(&mut self, id: RequestId, key: &Key, write: (Revision, Vec<u8>)) {
        if !self.is_connected() {
            let unknown = Arrival::Swapped(id, Swapped::Unknown);
            return self.under_way.push(Box::pin(async move { unknown }));
        }
        let (client, key) = (self.client.clone(), self.subjects.key(key));
        self.under_way.push(Box::pin(async move {
            let swapped = requests::swap(&client, key, write).await;
            Arrival::Swapped(id, swapped.unwrap_or(Swapped::Unknown))
        }));
    }

    /// Tells the other nodes the settings of this one.
    pub(super) fn tell_settings(&mut self, bytes: Vec<u8>) {
        if self.settings.is_none() {
            let subscribed = self.client.subscribe(self.subjects.settings()).now_or_never();
            self.settings = subscribed.and_then(Result::ok);
        }
        if self.is_connected() {
            let _ = self.client.publish(self.subjects.settings(), bytes.into()).now_or_never();
        }
    }

    pub(super) fn publish(&mut self, subject: &Subject, bytes: Vec<u8>) {
        let count = bytes.len() as u64;
        let publish = self.client.publish(self.subjects.subject(subject), bytes.into());
        if self.is_connected() && matches!(publish.now_or_never(), Some(Ok(()))) {
            self.traffic.batches_sent += 1;
            self.traffic.bytes_sent += count;
        } else {
            self.traffic.lost += 1;
        }
    }

    pub(super) fn subscribe(&mut self, subject: Subject) {
        self.unsubscribed.push(subject);
        self.subscribe_wanted();
    }

    pub(super) fn unsubscribe(&mut self, subject: &Subject) {
        self.unsubscribed.retain(|wanted| wanted != subject);
        self.subscriptions.retain(|(known, _)| known != subject);
    }

    /// Waits for what comes next. Nothing is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Arrival {
        let arrival = poll_fn(|cx| self.poll_next(cx)).await;
        self.note(&arrival);
        arrival
    }

    /// Turns to the next server if writes have not been answered for long: this one may be cut off from
    /// the others.
    pub(super) fn turn_if_failing(&mut self) {
        let is_failing = self.failing_since.is_some_and(|since| since.elapsed() >= TURN_AFTER);
        if is_failing && self.servers > 1 && self.is_connected() {
            self.failing_since = None;
            tracing::warn!("the NATS server does not take writes: turning to the next one");
            let _ = self.client.force_reconnect().now_or_never();
        }
    }

    /// Creates the bucket in the background, if there is none.
    pub(super) fn ensure_bucket(&mut self) {
        if self.is_creating || !self.is_connected() {
            return;
        }
        self.is_creating = true;
        let (client, subjects) = (self.client.clone(), Arc::clone(&self.subjects));
        let replicas = self.servers.min(requests::MAX_REPLICAS);
        self.under_way.push(Box::pin(async move {
            Arrival::Bucket(requests::ensure_bucket(&client, &subjects, replicas).await)
        }));
    }

    /// Asks the bucket for the key that signs resume tokens, or gives it this one if there is one.
    pub(super) fn share_key(&mut self, own: Option<KeyBytes>) {
        let (client, subjects) = (self.client.clone(), Arc::clone(&self.subjects));
        let is_connected = self.is_connected();
        self.under_way.push(Box::pin(async move {
            Arrival::ResumeKey(match is_connected {
                true => shared_key::share(&client, &subjects, own).await,
                false => Err(Failure::NoAnswer),
            })
        }));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        self.subscribe_wanted();
        if let Poll::Ready(Some(event)) = self.events.poll_recv(cx) {
            return Poll::Ready(Arrival::Event(event));
        }
        if let Poll::Ready(Some(arrival)) = self.under_way.poll_next_unpin(cx) {
            return Poll::Ready(arrival);
        }
        if let Some(settings) = &mut self.settings
            && let Poll::Ready(Some(message)) = settings.poll_next_unpin(cx)
        {
            return Poll::Ready(Arrival::Settings(message));
        }
        let count = self.subscriptions.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let (subject, subscriber) = &mut self.subscriptions[at];
            if let Poll::Ready(Some(message)) = subscriber.poll_next_unpin(cx) {
                self.turn = at + 1;
                return Poll::Ready(Arrival::Message(subject.clone(), message));
            }
        }
        Poll::Pending
    }

    fn note(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Swapped(_, Swapped::Done(_) | Swapped::Conflict)
            | Arrival::Event(Event::Connected) => self.failing_since = None,
            Arrival::Swapped(_, Swapped::Unknown) | Arrival::Read(_, Read::Unknown) => {
                self.failing_since.get_or_insert_with(Instant::now);
            }
            Arrival::Bucket(_) => self.is_creating = false,
            Arrival::Read(..)
            | Arrival::Settings(_)
            | Arrival::ResumeKey(_)
            | Arrival::NoBucket(_)
            | Arrival::Message(..)
            | Arrival::Event(_) => {}
        }
    }

    fn subscribe_wanted(&mut self) {
        while let Some(subject) = self.unsubscribed.first() {
            let name = self.subjects.subject(subject);
            let subscribed = self.client.subscribe(name).now_or_never();
            let Some(Ok(subscriber)) = subscribed else { return };
            let subject = self.unsubscribed.remove(0);
            self.subscriptions.push((subject, subscriber));
        }
    }
}

//! Which loops, and which nodes of a cluster, a request is for, and their answers. What concerns a channel
//! is asked of the node that is its home, what concerns all of every node. Without a cluster the loops of
//! this process are all there are.

use std::collections::BTreeMap;
use std::time::Duration;

use herenow_cluster::{AskError, GIVE_UP_AFTER, MAX_MESSAGE_BYTES, NodeName};
use herenow_core::Peer;
use herenow_hub::{Concerns, Request, Response};
use herenow_wire::ChannelName;
use herenow_wire::link::Incarnation;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::answer::{Answer, Clock, Outcome, decode_request, encode_request};
use super::{Backend, Unavailable};
use crate::cluster::{Place, Questions};

/// The answers to one request.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Of each node that has answered.
    pub(super) parts: Vec<Part>,
    /// The nodes that have not answered in time.
    pub(super) silent: Vec<NodeName>,
}

/// The answers of one node.
#[derive(Debug)]
pub(super) struct Part {
    /// All moments in them are on this clock.
    pub(super) clock: Clock,
    pub(super) responses: Vec<Response>,
}

/// What one node has come to.
enum Came {
    Part(Part),
    NotHome,
    Silent(NodeName),
}

/// How long loops may take to answer: a channel's map that hibernates is rebuilt first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// When a home is asked again that has moved.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Gathered {
    /// The answers, if every node has answered.
    pub(super) fn whole(self) -> Result<Vec<Part>, Unavailable> {
        match self.silent.is_empty() {
            true => Ok(self.parts),
            false => Err(Unavailable::Silent(self.silent)),
        }
    }

    fn add(&mut self, came: Came) {
        match came {
            Came::Part(part) => self.parts.push(part),
            Came::Silent(name) if self.silent.contains(&name) => {}
            Came::Silent(name) => self.silent.push(name),
            // Only what concerns channels is refused so.
            Came::NotHome => {}
        }
    }
}

impl Backend {
    /// Asks every loop, here and at other nodes, that has a part of the answer.
    pub(super) async fn gather(
        &self,
        request: impl Into<Request>,
    ) -> Result<Gathered, Unavailable> {
        let request = request.into();
        let Some(cluster) = &self.cluster else {
            let responses = self.ask_here(request).await?;
            let parts = vec![Part { clock: self.clock(), responses }];
            return Ok(Gathered { parts, silent: Vec::new() });
        };
        match request.concerns() {
            Concerns::Everything => {
                let place = cluster.place().ok_or(Unavailable::Outside)?;
                let nodes = place.view.nodes.iter().map(|node| (node.incarnation, &request));
                self.ask_nodes(&place, nodes).await.map(gathered)
            }
            Concerns::Channel(channel) => {
                let channel = channel.clone();
                self.ask_homes(vec![channel], |_| Some(request.clone())).await
            }
            Concerns::Channels(channels) => {
                let channels = channels.to_vec();
                self.ask_homes(channels, |channels| request.about(channels)).await
            }
        }
    }

    /// The answers of all nodes together; fails if one is missing.
    pub(super) async fn responses(
        &self,
        request: impl Into<Request>,
    ) -> Result<Vec<Response>, Unavailable> {
        let parts = self.gather(request).await?.whole()?;
        Ok(parts.into_iter().flat_map(|part| part.responses).collect())
    }

    /// Answers what other nodes ask, until the cluster ends.
    pub(crate) async fn answer_nodes(self, mut questions: Questions) {
        while let Some(question) = questions.next().await {
            let backend = self.clone();
            tokio::spawn(async move {
                let answer = backend.answer(&question.body).await.encode(MAX_MESSAGE_BYTES);
                question.answer(answer);
            });
        }
    }

    /// The clock of the loops now.
    pub(super) fn clock(&self) -> Clock {
        Clock { started_at_unix_ms: self.started_at_unix_ms, now: self.loops.now() }
    }

    async fn answer(&self, body: &[u8]) -> Answer {
        let outcome = match decode_request(body) {
            Some(request) => self.decide_here(request).await,
            // A newer node may ask what this one does not know.
            None => Outcome::Busy,
        };
        Answer { clock: self.clock(), outcome }
    }

    /// Asks the loops of this node, which must be the home of the channels that the request names.
    async fn decide_here(&self, request: Request) -> Outcome {
        let speaks_for_all = request.concerns() == Concerns::Everything;
        let may_speak = || self.cluster.as_ref().is_none_or(|cluster| cluster.has_lease());
        if !speaks_for_all && !may_speak() {
            return Outcome::NotHome;
        }
        match self.ask_here(request).await {
            // It was decided at a time when another node may have been the home.
            Ok(_) if !speaks_for_all && !may_speak() => Outcome::Busy,
            Ok(responses) if responses.contains(&Response::NotHome) => Outcome::NotHome,
            Ok(responses) => Outcome::Done(responses),
            Err(_) => Outcome::Busy,
        }
    }

    /// Asks the homes of these channels, each about its own, and again where a home has moved.
    async fn ask_homes(
        &self,
        mut channels: Vec<ChannelName>,
        request: impl Fn(Vec<ChannelName>) -> Option<Request>,
    ) -> Result<Gathered, Unavailable> {
        let until = Instant::now() + GIVE_UP_AFTER;
        let mut gathered = Gathered::default();
        let mut why = Unavailable::Outside;
        while !channels.is_empty() {
            if Instant::now() >= until {
                return Err(why);
            }
            let place = self.cluster.as_ref().and_then(|cluster| cluster.place());
            let Some(place) = place else {
                sleep(ASK_AGAIN_AFTER).await;
                continue;
            };
            let mut by_home: BTreeMap<Incarnation, Vec<ChannelName>> = BTreeMap::new();
            for channel in channels.drain(..) {
                let home = place.view.term(channel.shard()).home;
                by_home.entry(home).or_default().push(channel);
            }
            let requests: Vec<(Incarnation, Request)> = by_home
                .iter()
                .filter_map(|(home, channels)| Some((*home, request(channels.clone())?)))
                .collect();
            let asked = requests.iter().map(|(home, request)| (*home, request));
            for (home, came) in self.ask_nodes(&place, asked).await? {
                match came {
                    Came::NotHome => channels.extend(by_home.remove(&home).unwrap_or_default()),
                    came => gathered.add(came),
                }
            }
            if !channels.is_empty() {
                why = Unavailable::Moving;
                sleep(ASK_AGAIN_AFTER).await;
            }
        }
        Ok(gathered)
    }

    /// Asks these nodes, all at once.
    async fn ask_nodes<'a>(
        &self,
        place: &Place,
        requests: impl Iterator<Item = (Incarnation, &'a Request)>,
    ) -> Result<Vec<(Incarnation, Came)>, Unavailable> {
        let asked = requests.map(async |(node, request)| {
            let came = self.ask_node((place, node), request).await?;
            Ok((node, came))
        });
        futures_util::future::try_join_all(asked).await
    }

    async fn ask_node(
        &self,
        (place, node): (&Place, Incarnation),
        request: &Request,
    ) -> Result<Came, Unavailable> {
        let answer = if node == place.me {
            Answer { clock: self.clock(), outcome: self.decide_here(request.clone()).await }
        } else {
            let Some(member) = place.view.node(node) else { return Ok(Came::NotHome) };
            let cluster = self.cluster.as_ref().ok_or(Unavailable::Outside)?;
            match cluster.ask(node, encode_request(request).into()).await {
                Ok(bytes) => Answer::decode(&bytes).ok_or(Unavailable::Busy)?,
                Err(AskError::Silent) => return Ok(Came::Silent(member.name.clone())),
                Err(AskError::NoRoom) => return Err(Unavailable::Busy),
            }
        };
        let Answer { clock, outcome } = answer;
        match outcome {
            Outcome::Done(responses) => Ok(Came::Part(Part { clock, responses })),
            Outcome::NotHome => Ok(Came::NotHome),
            Outcome::Busy => Err(Unavailable::Busy),
            Outcome::TooLarge => Err(Unavailable::TooLarge),
        }
    }

    /// Asks the loops of this process that have a part of the answer, all at once.
    async fn ask_here(&self, request: Request) -> Result<Vec<Response>, Unavailable> {
        let requests: Vec<(Peer, Request)> = match request.concerns() {
            Concerns::Channel(channel) => vec![(self.loops.home(channel), request)],
            Concerns::Everything => {
                self.loops.peers().map(|peer| (peer, request.clone())).collect()
            }
            Concerns::Channels(channels) => {
                let mut by_loop: BTreeMap<Peer, Vec<ChannelName>> = BTreeMap::new();
                for channel in channels {
                    by_loop.entry(self.loops.home(channel)).or_default().push(channel.clone());
                }
                let by_loop = by_loop.into_iter();
                by_loop.filter_map(|(peer, its)| Some((peer, request.about(its)?))).collect()
            }
        };
        let mut asked = Vec::new();
        for (peer, request) in requests {
            asked.push(self.loops.request(peer, request)?);
        }
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answered(answer).await?);
        }
        Ok(answers)
    }
}

fn gathered(came: Vec<(Incarnation, Came)>) -> Gathered {
    let mut gathered = Gathered::default();
    came.into_iter().for_each(|(_, came)| gathered.add(came));
    gathered
}

async fn answered(answer: oneshot::Receiver<Response>) -> Result<Response, Unavailable> {
    match timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) | Err(_) => Err(Unavailable::Busy),
    }
}

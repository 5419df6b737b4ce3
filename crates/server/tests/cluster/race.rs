//! A limit that many clients of all nodes reach at once.

use herenow_testing::until;
use serde_json::json;

use crate::PATIENCE;
use crate::client::Client;
use crate::cluster::{Cluster, Settings};
use crate::nats::Nats;

const LIMIT: usize = 10;
const RACERS: usize = 30;

/// Each of them wants to be in each channel.
fn race(racers: &[Client], channels: &[String]) {
    for (number, channel) in (0..).zip(channels) {
        let join = json!({"type": "presence_join", "channel": channel, "state": {}, "ref": number});
        racers.iter().for_each(|racer| racer.send(&join));
    }
}

/// How many got in, by channel, once each has one answer.
fn admitted(racers: &[Client], channels: &[String]) -> Vec<usize> {
    for racer in racers {
        racer.until("each ref is answered", |record| record.answers.len() == channels.len());
    }
    let mut admitted = vec![0; channels.len()];
    for racer in racers {
        for (number, answers) in &racer.record().answers {
            match answers.as_slice() {
                [one] if one == "ack" => admitted[*number as usize] += 1,
                [one] if one == "MEMBER_LIMIT" => {}
                _ => panic!("{}: {answers:?}", racer.user),
            }
        }
    }
    admitted
}

fn racers(cluster: &Cluster, of: &str) -> Vec<Client> {
    let racer = |n: usize| {
        let address = cluster.nodes[n % cluster.nodes.len()].address;
        Client::connect(address, &format!("{of}{n}"), None)
    };
    (0..RACERS).map(racer).collect()
}

#[test]
fn of_thirty_clients_of_three_nodes_ten_get_in_and_each_request_is_answered_once() {
    let nats = Nats::start();
    let mut settings = Settings::at(&nats.url(), "race");
    settings.arguments = vec!["--max-members", "10"];
    let mut cluster = Cluster::start(settings);
    let channels: Vec<_> = (0..12).map(|n| format!("presence:race{n}")).collect();
    let calm = racers(&cluster, "calm");
    race(&calm, &channels);
    assert_eq!(admitted(&calm, &channels), vec![LIMIT; channels.len()]);
    calm.into_iter().for_each(Client::close);

    // One that is the home of a third of them is killed meanwhile, with its own clients.
    let (dying, living): (Vec<_>, Vec<_>) =
        racers(&cluster, "racer").into_iter().enumerate().partition(|(n, _)| n % 3 == 2);
    let only = |racers: Vec<(usize, Client)>| racers.into_iter().map(|(_, one)| one).collect();
    let (dying, living): (Vec<_>, Vec<_>) = (only(dying), only(living));
    race(&dying, &channels);
    race(&living, &channels);
    cluster.kill(2);
    cluster.drop_clients_of(2);
    let admitted = admitted(&living, &channels);
    assert!(admitted.iter().all(|count| *count <= LIMIT), "{admitted:?}");
    let has_room = |racer: &Client, admitted: &[usize]| {
        let record = racer.record();
        channels.iter().zip(admitted).all(|(channel, count)| {
            record.lists.get(channel).is_some_and(|list| list.members.len() == *count)
        })
    };
    let is_so = until(PATIENCE, || living.iter().all(|racer| has_room(racer, &admitted)));
    assert!(is_so, "a list holds those who got in, and nobody else: {admitted:?}");
    living.into_iter().for_each(Client::close);
    drop(dying);
    cluster.start_again(2);
    cluster.fill(2);
    cluster.settle();
    cluster.end();
}

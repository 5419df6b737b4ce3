//! A server that is killed without a word, and one that takes its place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::crowd::{List, Member};
use crate::process::Process;

const MEMBERS: usize = 500;
const CHANNELS: usize = 50;
/// How long everybody may take to be back with a true list.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// In no such time may half of all come back: a herd would fell what has just stood up.
const CROWDED: Duration = Duration::from_millis(100);

fn truth(channel: usize) -> List {
    let members = (channel..MEMBERS).step_by(CHANNELS);
    members.map(|n| (format!("member-{n}"), vec![format!(r#"{{"n":{n}}}"#)])).collect()
}

#[tokio::test]
async fn after_a_kill_everybody_is_back_with_a_true_list_and_not_all_at_once() {
    let mut server = Process::start(&[]).await;
    let mut coming = JoinSet::new();
    for n in 0..MEMBERS {
        let mut member = Member::connect(server.addr, format!("member-{n}"));
        member.listen(n % CHANNELS).await;
        member.track(n % CHANNELS, &format!(r#"{{"n":{n}}}"#)).await;
        coming.spawn(async move {
            let (_, connection) = member.signed_in().await;
            member.until(n % CHANNELS, &truth(n % CHANNELS)).await;
            (n, member, connection)
        });
    }
    let members = coming.join_all().await;
    server.kill_and_restart();
    let restarted = Instant::now();
    let mut returning = JoinSet::new();
    for (n, mut member, before) in members {
        returning.spawn(async move {
            let (at, connection) = member.signed_in().await;
            assert_ne!(connection, before, "another life, another connection");
            (n, member, (at, connection))
        });
    }
    let mut back = returning.join_all().await;
    let connections: BTreeMap<String, String> = back
        .iter()
        .map(|(n, _, (_, connection))| (format!("member-{n}"), connection.clone()))
        .collect();
    for (n, member, _) in &mut back {
        // The old list stays until the new one comes: only connections of now count.
        member.until_connections(*n % CHANNELS, &truth(*n % CHANNELS), &connections).await;
    }
    assert!(restarted.elapsed() < BACK_WITHIN, "{:?}", restarted.elapsed());
    let mut times: Vec<Instant> = back.iter().map(|(_, _, (at, _))| *at).collect();
    times.sort_unstable();
    let half = times.len() / 2;
    let crowded = times.windows(half).filter(|some| some[half - 1] - some[0] < CROWDED).count();
    assert_eq!(crowded, 0, "half of all came within {CROWDED:?}");
    server.until_metric("members", MEMBERS as u64).await;
}

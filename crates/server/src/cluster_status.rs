//! `herenow cluster status`: the nodes of a cluster as a table, or as lines of JSON.

use std::io::{self, Write as _};

use herenow_server::cluster::{self, ClusterError, ClusterSettings, Seen, SeenNode};
use serde_json::json;

use crate::cli::ClusterStatus;
use crate::remote::Table;
use crate::start::StartError;

/// Does what the command says.
pub fn status(command: &ClusterStatus) -> Result<(), StartError> {
    let settings = ClusterSettings::parse(command.cluster.flags()).map_err(StartError::Cluster)?;
    let settings = settings.ok_or(StartError::Cluster(ClusterError::NotNamed))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::System)?;
    let seen = runtime.block_on(cluster::observe(&settings)).map_err(StartError::Cluster)?;
    let text = if command.json { lines(&seen) } else { page(&seen) };
    io::stdout().write_all(text.as_bytes()).map_err(StartError::System)?;
    let silent = seen.nodes.iter().filter(|node| node.beat_age.is_none()).count();
    match silent {
        0 => Ok(()),
        count => Err(StartError::SilentNodes(count)),
    }
}

fn page(seen: &Seen) -> String {
    let mut table = Table::new(&["node", "incarnation", "state", "shards", "beat"]);
    for node in &seen.nodes {
        let beat = match node.beat_age {
            Some(age) => format!("{:.1} s ago", age.as_secs_f64()),
            None => "none heard".into(),
        };
        table.push(&json!({
            "node": node.name,
            "incarnation": node.incarnation,
            "state": state(node),
            "shards": node.shards,
            "beat": beat,
        }));
    }
    let Seen { view, protocol, nodes } = seen;
    format!("View {view}, protocol {protocol}, {} nodes\n{table}", nodes.len())
}

fn lines(seen: &Seen) -> String {
    let lines = seen.nodes.iter().map(|node| {
        let row = json!({
            "view": seen.view,
            "protocol": seen.protocol,
            "node": node.name,
            "incarnation": node.incarnation,
            "state": state(node),
            "shards": node.shards,
            "beatAgeMs": node.beat_age.map(|age| age.as_millis() as u64),
        });
        format!("{row}\n")
    });
    lines.collect()
}

fn state(node: &SeenNode) -> &'static str {
    if node.is_draining { "draining" } else { "open" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_node_that_is_not_heard_is_shown_as_such() {
        let node = |name: &str, beat_age| SeenNode {
            name: name.into(),
            incarnation: "00000000000000ab".into(),
            is_draining: false,
            shards: 512,
            beat_age,
        };
        let nodes = vec![node("a", Some(Duration::from_millis(340))), node("b", None)];
        let seen = Seen { view: 7, protocol: 1, nodes };
        let wanted = "View 7, protocol 1, 2 nodes\n\
                      node  incarnation       state  shards  beat\n\
                      a     00000000000000ab  open   512     0.3 s ago\n\
                      b     00000000000000ab  open   512     none heard\n";
        assert_eq!(page(&seen), wanted);
        let ages: Vec<Value> = lines(&seen)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["beatAgeMs"].clone())
            .collect();
        assert_eq!(ages, [json!(340), Value::Null]);
    }
}

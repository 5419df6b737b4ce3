//! What a million connections at rest would cost, from the slope between two sizes.
//!
//! The slope leaves out what an empty server weighs, and what it allocates once.

use crate::measure::Measure;
use crate::report::Row;

/// One line for each server that was measured at two sizes.
pub fn lines(rows: &[Row]) -> Vec<String> {
    let at_rest: Vec<&Row> = rows
        .iter()
        .filter(|row| row.scenario == "idle" && row.case.ends_with("connected"))
        .collect();
    let mut servers: Vec<&str> = at_rest.iter().map(|row| row.server.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    servers.into_iter().filter_map(|server| line(server, &at_rest)).collect()
}

fn line(server: &str, at_rest: &[&Row]) -> Option<String> {
    let mut sizes = at_rest.iter().filter(|row| row.server == server).filter_map(|row| {
        let connections: f64 = row.case.split(' ').next()?.parse().ok()?;
        Some((connections, connections * row.numbers.get(&Measure::RssAllInPerConnection)?))
    });
    let (few, few_kb) = sizes.next()?;
    let (many, many_kb) = sizes.next_back()?;
    let slope_kb = (many_kb - few_kb) / (many - few);
    let million_mb = slope_kb * 1e6 / 1024.0;
    Some(format!(
        "{server}: {slope_kb:.3} KB for each connection from {few} to {many}; \
         1,000,000 would take {million_mb:.0} MB"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Numbers;

    #[test]
    fn the_slope_leaves_the_empty_server_out() {
        let row = |connections: u32, all_in_kb| Row {
            scenario: "idle",
            case: format!("{connections} connected"),
            server: "herenow".to_owned(),
            numbers: Numbers::from([(Measure::RssAllInPerConnection, all_in_kb)]),
            runs: Vec::new(),
            failures: Vec::new(),
        };
        // 1,000 KB when empty and 2 KB for each.
        let lines = lines(&[row(1000, 3.0), row(2000, 2.5)]);
        assert_eq!(
            lines,
            [
                "herenow: 2.000 KB for each connection from 1000 to 2000; 1,000,000 would take 1953 MB"
            ]
        );
    }
}

//! What was found, for people (a table) and for programs (JSON).
//!
//! Knows rows and columns. Refuses to leave out a run that failed: its row says why.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::measure::{DISTURBED_PERCENT, DRIVER_FULL_PERCENT, Measure, Numbers};
use crate::targets::Verdict;

/// A case on a server.
pub struct Row {
    pub scenario: &'static str,
    pub case: String,
    pub server: String,
    /// Medians over all runs that ended well.
    pub numbers: Numbers,
    pub runs: Vec<Numbers>,
    pub failures: Vec<String>,
}

impl Row {
    pub fn is_driver_limited(&self) -> bool {
        self.numbers.get(&Measure::Driver).is_some_and(|percent| *percent > DRIVER_FULL_PERCENT)
    }

    /// Whether other processes took so much of the machine that the figures are doubtful.
    pub fn is_disturbed(&self) -> bool {
        self.numbers.get(&Measure::Others).is_some_and(|percent| *percent > DISTURBED_PERCENT)
    }

    fn remark(&self) -> String {
        let mut remark = String::new();
        if self.is_driver_limited() {
            remark.push_str("driver-limited ");
        }
        if self.is_disturbed() {
            remark.push_str("disturbed ");
        }
        if let Some(why) = self.failures.first() {
            let of = self.failures.len() + self.runs.len();
            let _ = write!(remark, "FAILED {} of {of}: {why}", self.failures.len());
        }
        remark
    }
}

/// All rows as tables, a scenario after the other, and the verdicts.
pub fn text(rows: &[Row], verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|row| row.scenario == first.scenario).count();
        let (scenario, after) = rest.split_at(length);
        text.push_str(&table(scenario));
        text.push('\n');
        rest = after;
    }
    for verdict in verdicts {
        let _ = writeln!(text, "{verdict}");
    }
    text
}

fn table(rows: &[Row]) -> String {
    let mut measures: Vec<Measure> =
        rows.iter().flat_map(|row| row.numbers.keys().copied()).collect();
    measures.sort();
    measures.dedup();
    let mut lines = vec![vec![rows[0].scenario.to_owned(), "server".to_owned()]];
    lines[0].extend(measures.iter().map(|measure| measure.head().to_owned()));
    lines[0].push(String::new());
    for row in rows {
        let mut line = vec![row.case.clone(), row.server.clone()];
        line.extend(measures.iter().map(|measure| match row.numbers.get(measure) {
            Some(number) => format!("{number:.*}", measure.decimals()),
            None => "-".to_owned(),
        }));
        line.push(row.remark());
        lines.push(line);
    }
    aligned(&lines)
}

/// Lines of cells with columns of even width: words to the left, numbers to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 | 1 => write!(text, "{cell:<width$}  "),
                _ if column + 1 == line.len() => write!(text, "{cell}"),
                _ => write!(text, "{cell:>width$}  "),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Everything, each single run included.
pub fn json(rows: &[Row], verdicts: &[Verdict]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "scenario": row.scenario,
                "case": row.case,
                "server": row.server,
                "driverLimited": row.is_driver_limited(),
                "disturbed": row.is_disturbed(),
                "failures": row.failures,
                "median": object(&row.numbers),
                "runs": row.runs.iter().map(object).collect::<Vec<_>>(),
            })
        })
        .collect();
    let verdicts: Vec<Value> = verdicts.iter().map(Verdict::json).collect();
    json!({ "machine": machine(), "rows": rows, "targets": verdicts })
}

fn object(numbers: &Numbers) -> Value {
    numbers.iter().map(|(measure, number)| (measure.key().to_owned(), json!(number))).collect()
}

/// What a reader needs to know of the machine to judge absolute figures.
fn machine() -> Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        // Not the cores that this thread may use, which is one.
        "cores": cpu_info.lines().filter(|line| line.starts_with("processor")).count(),
        "cpu": model.map_or("", |(_, model)| model),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, numbers: Numbers, failures: &[&str]) -> Row {
        Row {
            scenario: "quiet",
            case: "1 x 100".to_owned(),
            server: server.to_owned(),
            numbers,
            runs: Vec::new(),
            failures: failures.iter().map(|failure| (*failure).to_owned()).collect(),
        }
    }

    #[test]
    fn a_table_aligns_its_columns_and_names_failures_and_a_full_driver() {
        let rows = [
            row(
                "herenow",
                Numbers::from([(Measure::Latency99, 0.5), (Measure::Driver, 12.0)]),
                &[],
            ),
            row("bun", Numbers::from([(Measure::Driver, 99.0)]), &["a ghost"]),
        ];
        let expected = "\
quiet    server   p99 ms  driver %
1 x 100  herenow    0.50        12
1 x 100  bun           -        99  driver-limited FAILED 1 of 1: a ghost

";
        assert_eq!(text(&rows, &[]), expected);
    }
}

//! Rows of JSON as a table for people.

use std::fmt;

use serde_json::Value;

/// One row for each object, one column for each of some of its fields.
pub struct Table<'a> {
    columns: &'a [&'a str],
    rows: Vec<Vec<String>>,
}

impl<'a> Table<'a> {
    pub fn new(columns: &'a [&'a str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn push(&mut self, row: &Value) {
        let cell = |column: &&str| match &row[*column] {
            Value::String(text) => super::shown(text),
            other => super::shown(&other.to_string()),
        };
        self.rows.push(self.columns.iter().map(cell).collect());
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Nothing at all where there are no rows.
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let head: Vec<String> = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |at: usize| lines().map(|line| line[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for line in lines() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be_and_obey_no_control_character() {
        let mut table = Table::new(&["userId", "n"]);
        assert_eq!(table.to_string(), "");
        table.push(&json!({"userId": "a-long-name", "n": 1}));
        table.push(&json!({"userId": "\u{1b}[31mé", "n": {"x": 2}}));
        let wanted = "userId       n\na-long-name  1\n\u{fffd}[31mé       {\"x\":2}\n";
        assert_eq!(table.to_string(), wanted);
    }
}

//! The codes against `fixtures/codes.json`, which the documentation and both client libraries are tested
//! from as well.

use herenow_wire::{CloseCode, ErrorCode};
use serde_json::Value;

fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read_to_string(format!("{root}{path}")).expect("the file is in the repository")
}

fn table(name: &str) -> Vec<Value> {
    let fixture: Value =
        serde_json::from_str(&read("fixtures/codes.json")).expect("the fixture is JSON");
    fixture[name].as_array().expect("the fixture has this table").clone()
}

// P10.1
#[test]
fn the_error_codes_are_those_of_the_fixture() {
    let table = table("errors");
    let listed: Vec<_> = table.iter().map(|row| row["code"].as_str().expect("a text")).collect();
    assert_eq!(listed, ErrorCode::ALL.map(ErrorCode::as_str));
}

// P10.2
#[test]
fn the_close_codes_are_those_of_the_fixture() {
    let table = table("closes");
    let listed: Vec<_> = table.iter().map(|row| row["code"].as_u64().expect("a number")).collect();
    assert_eq!(listed, CloseCode::ALL.map(|code| u64::from(code.number())));
}

// P10.1, P10.2
#[test]
fn the_tables_of_the_documentation_are_those_of_the_fixture() {
    let text = |row: &Value, cell: &str| row[cell].as_str().expect("a text").to_owned();
    let errors = table("errors");
    let errors = errors.iter().map(|row| {
        format!("| `{}` | {} | {} |", text(row, "code"), text(row, "meaning"), text(row, "advice"))
    });
    let closes = table("closes");
    let closes = closes.iter().map(|row| {
        format!("| {} | {} | {} |", row["code"], text(row, "meaning"), text(row, "reconnect"))
    });
    let mut expected: Vec<_> = errors.chain(closes).collect();
    let documentation = read("docs/protocol.md");
    let (_, section) = documentation.split_once("\n## P10 ").expect("the section exists");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let is_head = |row: &&str| row.starts_with("| ---") || row.contains("| meaning |");
    let mut found: Vec<_> =
        section.lines().filter(|line| line.starts_with('|')).filter(|row| !is_head(row)).collect();
    // The documentation groups them as a reader looks for them.
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

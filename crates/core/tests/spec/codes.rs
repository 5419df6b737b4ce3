//! The protocol's document and its code name the same things.

use herenow_wire::{CloseCode, DefaultChannel, ErrorCode, decode};

const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

/// The first cells of the tables in one chapter of the document, in order.
fn first_cells(chapter: &str) -> Vec<&'static str> {
    let heading = format!("\n## {chapter} ");
    let (_, after) = PROTOCOL.split_once(&heading).expect("the chapter is there");
    let chapter = after.split("\n## ").next().expect("a split has a first part");
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split(" | ").next()).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

// P10.1
#[test]
fn the_document_names_every_error_code_and_no_other() {
    let cells = first_cells("P10");
    let mut written: Vec<&str> = cells.into_iter().flat_map(quoted).collect();
    // The heading of the table.
    written.retain(|name| *name != "code");
    written.sort_unstable();
    let mut known = ErrorCode::ALL.map(ErrorCode::as_str);
    known.sort_unstable();
    assert_eq!(written, known);
}

// P10.2
#[test]
fn the_document_names_every_close_code_and_no_other() {
    let numbers = first_cells("P10").into_iter().filter_map(|cell| cell.parse::<u16>().ok());
    assert_eq!(numbers.collect::<Vec<_>>(), CloseCode::ALL.map(CloseCode::number));
}

// P4.1
#[test]
fn every_type_that_the_document_lets_a_client_send_is_understood() {
    let mut kinds: Vec<&str> = first_cells("P4").into_iter().flat_map(quoted).collect();
    kinds.retain(|kind| *kind != "type");
    assert!(kinds.len() >= 10, "{kinds:?}");
    for kind in kinds {
        let text = format!(r#"{{"type":"{kind}","channel":"presence:lobby","state":{{}}}}"#);
        let mut decoded = Vec::new();
        decode(&text, &DefaultChannel::None, &mut decoded);
        assert!(decoded[0].is_ok(), "{kind}: {decoded:?}");
    }
}

// P5.1
#[test]
fn what_the_document_lets_the_server_say_alone_no_client_may_say() {
    let said: Vec<&str> = first_cells("P5").into_iter().flat_map(quoted).collect();
    let shared = ["type", "presence_sync", "presence_join", "presence_update", "presence_leave"];
    for kind in said.into_iter().filter(|kind| !shared.contains(kind)) {
        let mut decoded = Vec::new();
        decode(&format!(r#"{{"type":"{kind}"}}"#), &DefaultChannel::None, &mut decoded);
        let code = decoded.remove(0).expect_err(kind).code;
        assert_eq!(code, ErrorCode::UnknownType, "{kind}");
    }
}

//! Files in `fixtures/` that other languages' tests read too.

use std::path::Path;

use serde_json::Value;

/// Compares `rows` with the file, one row to a line. `REGENERATE=1` writes the file instead.
pub fn check(file: &str, rows: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(file);
    let lines: Vec<String> = rows.iter().map(|row| format!("  {row}")).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("REGENERATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).expect("fixtures/ can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file stands in fixtures/");
    assert_eq!(golden, text, "{file} differs; REGENERATE=1 rewrites it where that is meant");
}

//! What stands in a configuration has its full effect or stops the start, on the binary itself:
//! each row is a file, and what `herenow` makes of it. An open channel is what nobody notices, so
//! no rule may be passed over in silence, however it is written.

mod objects;
mod places;

use std::process::Output;

/// A folder with a configuration; gone with this.
struct Folder(herenow_testing::Folder);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = herenow_testing::Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        Self(folder)
    }

    /// Runs `herenow` here: its exit code, what it prints, and what it complains of.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = herenow_testing::herenow(env!("CARGO_BIN_EXE_herenow"), arguments);
        command.current_dir(self.0.path());
        command.env("JWT_USER_SECRET", "x".repeat(32));
        let Output { status, stdout, stderr } = command.output().expect("the binary runs");
        let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
        (status.code(), text(stdout), text(stderr))
    }
}

const FILE: &str = "edgebase.config.ts";

/// Another file of the folder, for rows that import something.
const RULES: (&str, &str) = (
    "rules.ts",
    "export const subscribe = (auth) => auth?.role === 'admin';
     export const namespaces = { 'presence:*': { access: { subscribe } } };",
);

fn check(config: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::with(&[(FILE, config), RULES]);
    folder.run(&[&["check"], arguments].concat())
}

/// The file with these `namespaces`.
fn namespaces(text: &str) -> String {
    format!("export default defineConfig({{ realtime: {{ namespaces: {text} }} }});")
}

/// The file with one pattern that has this `access`.
fn access(text: &str) -> String {
    namespaces(&format!("{{ 'presence:*': {{ access: {text} }} }}"))
}

fn expect_refused(rows: &[(String, &str)]) {
    for (config, says) in rows {
        let (code, printed, said) = check(config, &[]);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{config}\n{said}");
        assert!(said.contains(says), "{says}\nis not in\n{said}\nfor\n{config}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// Each has one rule that grants admins alone.
fn expect_effective(rows: &[String]) {
    for config in rows {
        for (auth, answer) in [("user", "no"), ("admin", "yes")] {
            let auth = format!(r#"{{"id":"jane","role":"{auth}"}}"#);
            let (code, printed, said) = check(config, &["--as", &auth, "presence:x"]);
            assert_eq!((code, said.as_str()), (Some(0), ""), "{config}");
            let line = format!("subscribe  {answer}: the rule `subscribe` was asked");
            assert!(printed.contains(&line), "{printed}\nfor {auth} in\n{config}");
        }
    }
}

//! The configuration as an operator meets it: `herenow check`, SIGHUP, and a file that changes
//! under `herenow dev`. Nothing sleeps: what the process says or sends is waited for.

mod hostile;
mod process;

use herenow_client::raw::RawConnection;
use process::{CLOSED, Folder, PUBLIC, Running, herenow};
use serde_json::json;

const BROKEN: &str = "export default defineConfig({ realtime: { namespaces: {
    'presence:*': { access: { subscribe: false } } } } });";

const WITHOUT_EFFECT: &str = "export default defineConfig({ realtime: { namespaces: {
    'secret-*': { access: { subscribe: () => false } } } } });";

async fn expect_lost(observer: &mut RawConnection) {
    let told = observer.next_message().await;
    assert_eq!((&told["type"], &told["channel"]), (&json!("unsubscribed"), &json!("presence:x")));
}

#[tokio::test]
async fn a_changed_file_is_taken_over_under_dev_and_a_broken_one_is_not() {
    let folder = Folder::with(PUBLIC);
    let running = Running::dev(&folder);
    let mut observer = running.observer().await;
    folder.write(BROKEN);
    let said = running.wait_for("stays in force");
    assert!(
        said.contains("should be a function") && said.contains("edgebase.config.ts:2:31"),
        "{said}"
    );
    observer.send(json!({"type": "ping"})).await;
    assert_eq!(observer.next_message().await["type"], "pong");
    folder.write(CLOSED);
    running.wait_for("new rules are in force");
    expect_lost(&mut observer).await;
}

#[tokio::test]
async fn sighup_reads_the_file_again_and_names_what_needs_a_start() {
    let folder = Folder::with(PUBLIC);
    let running = Running::serve(&folder);
    let mut observer = running.observer().await;
    for (broken, says) in [(BROKEN, "should be a function"), (WITHOUT_EFFECT, "no channel can")] {
        folder.write(broken);
        running.hang_up();
        let said = running.wait_for("stays in force");
        assert!(said.contains(says), "{said}");
    }
    folder.write(&CLOSED.replace("namespaces", "presenceTTL: 61000, namespaces"));
    running.hang_up();
    let said = running.wait_for("at the next start");
    assert!(said.contains("presenceTTL"), "{said}");
    expect_lost(&mut observer).await;
    folder.write("export default {};");
    running.hang_up();
    running.wait_for("no rules: every authenticated user may subscribe and track everywhere");
}

#[test]
fn check_says_what_holds_and_who_decides() {
    let folder = Folder::with(
        "export default defineConfig({ realtime: { maxMembers: 7, namespaces: {
            'presence:*': { access: { subscribe: (auth) => auth !== null } },
            'presence:game-*': { presenceTTL: 90000, access: { track: (auth) => auth.role === 'player' } },
            'presence:broken': { access: { subscribe: (auth) => auth.team.id === 7 } },
        } } });",
    );
    let check = |arguments: &[&str]| {
        let mut command = herenow(folder.path(), &["check"]);
        let output = command.args(arguments).output().expect("the binary runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let said = check(&[]);
    for line in [
        "  presence:broken  rule           as subscribe   7           60000        0",
        "  presence:game-*  authenticated  rule           7           90000        0",
        "  presence:*       rule           as subscribe   7           60000        0",
        "  (all others)     authenticated  authenticated  7           60000        0",
        "  maxMembers                    7 members",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\nis not in\n{said}");
    }
    let said = check(&["--as", r#"{"id":"jane"}"#, "presence:game-1"]);
    assert!(
        said.starts_with(
            "presence:game-1 for \"jane\"\n  pattern    presence:game-*\n  \
         subscribe  yes: no rule decides, and the user is authenticated\n  \
         track      no: the rule `track` was asked; it returned false\n"
        ),
        "{said}"
    );
    let said = check(&["--as", r#"{"id":"jane","role":"player"}"#, "presence:game-1"]);
    assert!(
        said.contains("track      yes: the rule `track` was asked; it returned true"),
        "{said}"
    );
    let said = check(&["--as", r#"{"id":"jane"}"#, "presence:broken"]);
    assert!(
        said.contains("no: the rule `subscribe` was asked; it threw at edgebase.config.ts:4:"),
        "{said}"
    );
    let said = check(&["presence:lobby"]);
    assert!(said.contains("for an unauthenticated connection"), "{said}");
    assert!(
        said.contains("subscribe  no: the rule `subscribe` was asked; it returned false"),
        "{said}"
    );
    assert!(said.contains("track      no: an unauthenticated connection may not track"), "{said}");
}

#[test]
fn check_refuses_what_a_server_would_refuse() {
    let folder = Folder::with(BROKEN);
    for arguments in [&["check"][..], &["dev", "--port", "0"]] {
        let output = herenow(folder.path(), arguments).output().expect("the binary runs");
        // `check` has done what it was asked to do; `dev` has not.
        let code = if arguments[0] == "check" { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(
            said.contains("edgebase.config.ts:2:31: `namespaces['presence:*'].access.subscribe`"),
            "{said}"
        );
    }
    for (arguments, says) in [
        (["--as", "jane", "presence:x"], "write a JSON object with an id"),
        (["--as", r#"{"id":"jane"}"#, "lobby"], "a channel is written presence:<name>"),
    ] {
        let mut command = herenow(folder.path(), &["check"]);
        let output = command.args(arguments).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains(says), "{said}");
    }
}

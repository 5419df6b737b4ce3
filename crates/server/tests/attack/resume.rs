//! A resume with a token that has lost a right: the channel is never shown, however the answer of
//! the rule and the resume race.

use serde_json::json;

use crate::server::{Setup, token_of};
use crate::socket::{Socket, Width, auth, text, track};

const TRIES: usize = 40;

/// It takes its time, so that whatever is sent before the rule has answered is sent.
const RULES: &str = "{ subscribe: (auth) => {
    const end = Date.now() + 5;
    while (Date.now() < end) {}
    return auth !== null && auth.role === 'staff';
} }";

// P7.9
#[test]
fn a_resume_with_a_token_that_has_lost_the_right_never_shows_the_channel() {
    let server = Setup::default().set("HERENOW_DISCONNECT_GRACE_MS", 60_000).access(RULES).start();
    let staff = |user: &str| token_of(json!({"sub": user, "role": "staff"}));
    let first = [auth(&staff("hidden")), track("secret", r#"{"place":"hidden"}"#)].concat();
    let mut hidden = Socket::open(server.addr, Width::Usual, &first).expect("it is let in");
    hidden.until("presence_sync");
    let mut shown = Vec::new();
    for n in 0..TRIES {
        let user = format!("user-{n}");
        let first = [auth(&staff(&user)), track("secret", "{}")].concat();
        let mut before = Socket::open(server.addr, Width::Usual, &first).expect("it is let in");
        let resume = resume_of(&before.until("auth_success"));
        before.until("presence_sync");
        drop(before);
        let lost = token_of(json!({"sub": user, "role": "guest"}));
        let claim = text(&format!(r#"{{"type":"auth","token":"{lost}","resume":"{resume}"}}"#));
        let mut after = Socket::open(server.addr, Width::Usual, &claim).expect("it is let in");
        // The rule's answer ends the subscription, and says so.
        loop {
            let said = after.next_text().expect("the rule's answer comes");
            if said.contains("CHANNEL_ACCESS_DENIED") {
                break;
            }
            if said.contains("hidden") || said.contains("presence_sync") {
                shown.push((n, said));
            }
        }
    }
    assert!(shown.is_empty(), "{} of {TRIES} tries show it: {:?}", shown.len(), shown[0]);
}

fn resume_of(signed_in: &str) -> String {
    let resume = signed_in.split_once(r#""resume":""#).and_then(|(_, rest)| rest.split_once('"'));
    resume.expect("it may be resumed").0.to_owned()
}

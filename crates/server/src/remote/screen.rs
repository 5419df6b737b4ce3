//! The list of a channel in a terminal, rewritten in place. Knows what stands on the screen; when it is
//! written, `watch.rs` decides.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::events::Event;
use super::shown;
use super::table::Table;

/// See the module.
pub struct Screen {
    channel: String,
    /// By user and connection, so that a member stays in its place whatever it shows.
    members: BTreeMap<(String, String), Value>,
    /// What happened last, for people.
    last: String,
    /// How many lines were written and stand above the cursor.
    written: usize,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

const COLUMNS: [&str; 3] = ["userId", "connectionId", "state"];
/// The lines beside those of members: the heading, the names of columns, how many are left out, the last
/// event, and the one where the cursor stands.
const OTHER_LINES: usize = 5;
/// A line that is too long is cut by the terminal instead of going on in the next one.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const CLEAR_LINE: &str = "\x1b[2K";
const CLEAR_BELOW: &str = "\x1b[J";

impl Screen {
    pub fn new(channel: &str) -> Self {
        let channel = shown(channel);
        Self { channel, members: BTreeMap::new(), last: String::new(), written: 0 }
    }

    /// Folds an event into the list.
    pub fn hear(&mut self, Event { kind, data }: Event) {
        let user = data["userId"].as_str().map(shown).unwrap_or_default();
        self.last = match &*kind {
            "presence_sync" => {
                let all = data["presences"].as_array().into_iter().flatten();
                self.members = all.map(|member| (key(member), member.clone())).collect();
                // With its prefix, however the command named it.
                self.channel = data["channel"].as_str().map_or(self.channel.clone(), shown);
                String::new()
            }
            "presence_join" => format!("{user} joined"),
            "presence_update" => format!("{user} changed"),
            "presence_leave" => {
                let reason = data["reason"].as_str().map(shown).unwrap_or_default();
                format!("{user} left ({reason})")
            }
            _ => return,
        };
        match &*kind {
            "presence_sync" => {}
            "presence_leave" => drop(self.members.remove(&key(&data))),
            _ => drop(self.members.insert(key(&data), data)),
        }
    }

    /// What was written stays, and the list begins anew below it.
    pub fn leave_behind(&mut self) {
        self.written = 0;
    }

    /// What to write, in one piece, so that the list stands where it stood.
    pub fn draw(&mut self, size: Size) -> String {
        let lines = self.lines(size);
        let mut text = String::from(NO_WRAP);
        if self.written > 0 {
            let _ = write!(text, "\x1b[{}A\r", self.written);
        }
        for line in &lines {
            let line: String = line.chars().take(size.columns).collect();
            let _ = write!(text, "{CLEAR_LINE}{line}\r\n");
        }
        text.push_str(CLEAR_BELOW);
        text.push_str(WRAP);
        self.written = lines.len();
        text
    }

    fn lines(&self, size: Size) -> Vec<String> {
        let room = size.rows.saturating_sub(OTHER_LINES).max(1);
        let mut users: Vec<&String> = self.members.keys().map(|(user, _)| user).collect();
        // The keys stand in the order of users.
        users.dedup();
        let counts = format!("members: {}, users: {}", self.members.len(), users.len());
        let mut lines = vec![format!("{}  {counts}", self.channel)];
        let mut table = Table::new(&COLUMNS);
        self.members.values().take(room).for_each(|member| table.push(member));
        lines.extend(table.to_string().lines().map(str::to_owned));
        if self.members.len() > room {
            lines.push(format!("and {} more", self.members.len() - room));
        }
        lines.push(self.last.clone());
        lines
    }
}

/// An event as one line for people, or several if it is a list.
pub fn lines_of(time: &str, Event { kind, data }: &Event) -> Vec<String> {
    let line = |what: &str, member: &Value| {
        let cell = |name: &str| match &member[name] {
            Value::String(text) => shown(text),
            Value::Null => String::new(),
            other => shown(&other.to_string()),
        };
        let parts = [cell("userId"), cell("connectionId"), cell("state")];
        format!("{time}  {what:<17}  {}", parts.join("  ")).trim_end().to_owned()
    };
    match &**kind {
        "presence_sync" => {
            let all = data["presences"].as_array().map_or(&[][..], Vec::as_slice);
            let head = line("list", &json!({"userId": format!("members: {}", all.len())}));
            std::iter::once(head).chain(all.iter().map(|member| line("here", member))).collect()
        }
        "presence_join" => vec![line("joined", data)],
        "presence_update" => vec![line("changed", data)],
        "presence_leave" => {
            let reason = data["reason"].as_str().map(shown).unwrap_or_default();
            // What it showed last is of no use any more.
            let who = json!({"userId": data["userId"], "connectionId": data["connectionId"]});
            vec![line(&format!("left ({reason})"), &who)]
        }
        _ => Vec::new(),
    }
}

fn key(member: &Value) -> (String, String) {
    let text = |name: &str| member[name].as_str().unwrap_or_default().to_owned();
    (text("userId"), text("connectionId"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: Value) -> Event {
        Event { kind: kind.to_owned(), data }
    }

    fn member(user: &str, connection: &str, n: u32) -> Value {
        json!({"userId": user, "connectionId": connection, "state": {"n": n}})
    }

    const SIZE: Size = Size { columns: 80, rows: 24 };

    #[test]
    fn a_member_stays_in_its_line_and_the_list_is_written_over_itself() {
        let mut screen = Screen::new("presence:a");
        let presences = [member("joe", "c2", 0), member("jane", "c1", 0)];
        screen.hear(event("presence_sync", json!({"presences": presences})));
        let wanted = [
            "presence:a  members: 2, users: 2",
            "userId  connectionId  state",
            "jane    c1            {\"n\":0}",
            "joe     c2            {\"n\":0}",
            "",
        ];
        assert_eq!(screen.lines(SIZE), wanted);
        assert!(!screen.draw(SIZE).contains("A\r"), "nothing stands there yet");
        screen.hear(event("presence_update", member("jane", "c1", 1)));
        assert_eq!(
            screen.lines(SIZE)[2..],
            ["jane    c1            {\"n\":1}", wanted[3], "jane changed"]
        );
        assert!(screen.draw(SIZE).starts_with("\x1b[?7l\x1b[5A\r\x1b[2Kpresence:a"));
        let left = json!({"userId": "joe", "connectionId": "c2", "reason": "timeout"});
        screen.hear(event("presence_leave", left));
        assert_eq!(screen.lines(SIZE)[3..], ["joe left (timeout)"]);
        screen.draw(SIZE);
        screen.leave_behind();
        assert!(!screen.draw(SIZE).contains("A\r"), "what stands there stays");
    }

    #[test]
    fn a_list_never_has_more_lines_than_the_terminal_and_no_line_more_columns() {
        let mut screen = Screen::new("presence:a");
        let all: Vec<Value> = (0..50).map(|n| member(&format!("user-{n}"), "c", n)).collect();
        screen.hear(event("presence_sync", json!({"presences": all})));
        let small = Size { columns: 10, rows: 8 };
        let lines = screen.lines(small);
        assert_eq!((lines.len(), &*lines[5]), (7, "and 47 more"));
        let text = screen.draw(small);
        let plain = text.replace(CLEAR_LINE, "").replace(NO_WRAP, "");
        let longest = plain.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(longest <= Some(10 + CLEAR_BELOW.len() + WRAP.len()), "{plain:?}");
    }

    #[test]
    fn an_event_is_a_line_and_obeys_no_control_character() {
        let time = "T";
        let list = event("presence_sync", json!({"presences": [member("jane", "c1", 0)]}));
        assert_eq!(
            lines_of(time, &list),
            ["T  list               members: 1", "T  here               jane  c1  {\"n\":0}"]
        );
        let joined = event("presence_join", member("\u{1b}[31m", "c2", 1));
        let wanted = "T  joined             \u{fffd}[31m  c2  {\"n\":1}";
        assert_eq!(lines_of(time, &joined), [wanted]);
        let left = json!({"userId": "jane", "connectionId": "c1", "reason": "leave"});
        assert_eq!(
            lines_of(time, &event("presence_leave", left)),
            ["T  left (leave)       jane  c1"]
        );
    }
}

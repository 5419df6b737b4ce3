//! `herenow channels`, `who`, `where`, `watch`, `explain` and `kick`: asks a running server over its HTTP API, and writes
//! what it says as a table or as JSON. Knows paths and columns; what a server may be asked stands in
//! its OpenAPI document.

mod connection;
mod error;
mod events;
mod origin;
mod screen;
mod table;
mod watch;

use std::io::{self, Write};

use serde_json::{Value, json};

use self::connection::{Connection, runtime};
pub use self::error::RemoteError;
pub use self::origin::Origin;
pub use self::table::Table;
pub use self::watch::watch;
use crate::cli::{Channels, Explain, Kick, Remote, Where, Who};

/// Items of one page. A page of the largest states has a megabyte.
const PAGE: usize = 1000;

/// A list of the API, as a command walks it.
struct List<'a> {
    path: String,
    /// The field that holds the items of a page.
    items: &'a str,
}

pub fn channels(command: &Channels) -> Result<(), RemoteError> {
    let prefix = encoded(&command.prefix);
    let list = List { path: format!("/channels?prefix={prefix}&limit={PAGE}"), items: "channels" };
    let columns = ["channel", "users", "connections", "subscribers"];
    let mut out = Output::new(&command.remote, &columns);
    list.each(&command.remote, |channel| out.row(channel.clone()))?;
    out.end()?;
    Ok(())
}

pub fn who(command: &Who) -> Result<(), RemoteError> {
    let channel = encoded(&command.channel);
    let list =
        List { path: format!("/channels/{channel}/presence?limit={PAGE}"), items: "presences" };
    let mut out = Output::new(&command.remote, &["userId", "connectionId", "since", "state"]);
    list.each(&command.remote, |member| out.row(member.clone()))?;
    match out.end()? {
        0 => Err(RemoteError::Nobody(format!("{} has no members", shown(&command.channel)))),
        _ => Ok(()),
    }
}

pub fn find(command: &Where) -> Result<(), RemoteError> {
    let user = encoded(&command.user);
    let list = List { path: format!("/users/{user}?limit={PAGE}"), items: "channels" };
    let mut out = Output::new(&command.remote, &["channel", "connectionId", "since", "state"]);
    list.each(&command.remote, |place| {
        let presences = place["presences"].as_array().into_iter().flatten();
        presences.cloned().try_for_each(|mut presence| {
            presence["channel"] = place["channel"].clone();
            out.row(presence)
        })
    })?;
    match out.end()? {
        0 => Err(RemoteError::Nobody(format!("{} is in no channel", shown(&command.user)))),
        _ => Ok(()),
    }
}

pub fn explain(command: &Explain) -> Result<(), RemoteError> {
    let (channel, user) = (encoded(&command.channel), encoded(&command.user));
    let connection = Connection::to(&command.remote)?;
    let path = format!("/explain?channel={channel}&userId={user}");
    let answer = runtime()?.block_on(connection.get(&path))?;
    if command.remote.json {
        writeln!(io::stdout(), "{answer}")?;
    } else {
        let text = |value: &Value| shown(value.as_str().unwrap_or_default());
        writeln!(io::stdout(), "{}", text(&answer["summary"]))?;
        for event in answer["events"].as_array().into_iter().flatten() {
            writeln!(io::stdout(), "- {}", text(&event["sentence"]))?;
        }
        let since = text(&answer["completeSince"]);
        writeln!(io::stdout(), "The records begin at {since}.")?;
    }
    Ok(())
}

pub fn kick(command: &Kick) -> Result<(), RemoteError> {
    let path = format!("/channels/{}/kick", encoded(&command.channel));
    let for_ms = command.time.saturating_mul(1000);
    let body = json!({"userId": command.user, "forMs": for_ms});
    let connection = Connection::to(&command.remote)?;
    let answer = runtime()?.block_on(connection.post(&path, &body))?;
    let connections = answer["connections"].as_u64().unwrap_or_default();
    let (channel, user) = (shown(&command.channel), shown(&command.user));
    if command.remote.json {
        writeln!(io::stdout(), "{answer}")?;
    } else if connections > 0 {
        let kept_out = format!("kept out of {channel} for {} s", command.time);
        writeln!(io::stdout(), "{user} is {kept_out}; connections removed: {connections}")?;
    }
    match connections {
        0 => Err(RemoteError::Nobody(format!(
            "{user} was not in {channel}, and is kept out for {} s",
            command.time
        ))),
        _ => Ok(()),
    }
}

impl List<'_> {
    /// Reads page after page.
    fn each(
        &self,
        remote: &Remote,
        mut item: impl FnMut(&Value) -> io::Result<()>,
    ) -> Result<(), RemoteError> {
        let (connection, runtime) = (Connection::to(remote)?, runtime()?);
        let mut path = self.path.clone();
        loop {
            let page = runtime.block_on(connection.get(&path))?;
            page[self.items].as_array().into_iter().flatten().try_for_each(&mut item)?;
            let Some(next) = page["next"].as_str() else { return Ok(()) };
            path = format!("{}&cursor={}", self.path, encoded(next));
        }
    }
}

/// Where the rows of an answer go.
enum Output<'a> {
    Json { rows: usize },
    Table(Table<'a>),
}

impl<'a> Output<'a> {
    fn new(remote: &Remote, columns: &'a [&'a str]) -> Self {
        if remote.json { Self::Json { rows: 0 } } else { Self::Table(Table::new(columns)) }
    }

    /// JSON is written at once; a table when the widths of its columns are known.
    fn row(&mut self, row: Value) -> io::Result<()> {
        match self {
            Self::Json { rows } => {
                *rows += 1;
                writeln!(io::stdout(), "{row}")
            }
            Self::Table(table) => {
                table.push(&row);
                Ok(())
            }
        }
    }

    /// How many rows there were.
    fn end(self) -> io::Result<usize> {
        match self {
            Self::Json { rows } => Ok(rows),
            Self::Table(table) => {
                write!(io::stdout(), "{table}")?;
                Ok(table.len())
            }
        }
    }
}

/// As a part of a path or a query.
fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Text that others have chosen, fit for a terminal, which obeys control characters.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

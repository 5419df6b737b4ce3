//! What is made from the words of the command line: completions for shells, and manual pages. A
//! package installs both; who builds from source makes them with the same commands.

use std::fmt;
use std::io::{self, Write};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Cli, NAME};

/// Why there is no manual page.
#[derive(Debug)]
pub enum ManualError {
    /// No command has this name. These have a page.
    NoSuchCommand(Vec<String>),
    /// The output was closed.
    Write(io::Error),
}

/// Writes the completions for `shell`.
pub fn completions(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    // The generator panics where it cannot write, as into a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), NAME, &mut script);
    out.write_all(&script)
}

/// The command without what it hides, which the generators of completions would show.
fn shown(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    let only_shown = Command::new(command.get_name().to_owned())
        .about(about)
        .args(arguments)
        .subcommands(commands.map(shown));
    match command.get_version() {
        Some(version) => only_shown.version(version.to_owned()),
        None => only_shown,
    }
}

/// Writes the manual page of the command `of`, or of all of them.
pub fn manual(of: Option<&str>, out: &mut impl Write) -> Result<(), ManualError> {
    let mut all = Cli::command();
    // Gives each command its whole name, such as herenow-serve.
    all.build();
    let shown: Vec<_> = all.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    let page = match of {
        None => &all,
        Some(name) => shown.iter().find(|command| command.get_name() == name).ok_or_else(|| {
            ManualError::NoSuchCommand(shown.iter().map(|it| it.get_name().to_owned()).collect())
        })?,
    };
    Man::new(page.clone()).render(out).map_err(ManualError::Write)
}

impl fmt::Display for ManualError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCommand(commands) => {
                write!(f, "there is no such command; choose one of {}", commands.join(", "))
            }
            Self::Write(error) => write!(f, "the page could not be written: {error}"),
        }
    }
}

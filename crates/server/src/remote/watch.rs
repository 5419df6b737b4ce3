//! `herenow watch`: follows a channel until it is interrupted, over an event stream that it opens again
//! when it breaks.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use herenow_server::clock;
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep, sleep_until};

use super::connection::{Connection, runtime};
use super::encoded;
use super::error::RemoteError;
use super::events::{Event, EventReader};
use super::screen::{Screen, Size, lines_of};
use crate::cli::Watch;

/// How events are shown.
enum View {
    /// One JSON object a line.
    Json,
    /// One line an event.
    Lines,
    Screen(Drawn),
}

/// A screen, and when it is written.
struct Drawn {
    screen: Screen,
    drawn_at: Option<Instant>,
    is_changed: bool,
}

/// How long to wait before the stream is opened again.
struct Backoff(Duration);

/// A list that changes more often is hard to read.
const DRAW_EVERY: Duration = Duration::from_millis(300);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of a terminal that does not say.
const USUAL_SIZE: Size = Size { columns: 80, rows: 24 };

pub fn watch(command: &Watch) -> Result<(), RemoteError> {
    let mut view = View::new(command);
    let ended = runtime()?.block_on(async {
        tokio::select! {
            ended = follow(command, &mut view) => ended.map(|never| match never {}),
            _ = ctrl_c() => Ok(()),
        }
    });
    match ended {
        // Who reads it has read enough.
        Err(RemoteError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

/// Opens the stream again and again, once it was open.
async fn follow(command: &Watch, view: &mut View) -> Result<Infallible, RemoteError> {
    let path = format!("/channels/{}/events", encoded(&command.channel));
    let mut backoff = Backoff(FIRST_PAUSE);
    let mut was_open = false;
    loop {
        // The file of the key may have another first line by now.
        let why = match Connection::to(&command.remote)?.stream(&path).await {
            Ok(body) => {
                was_open = true;
                show(EventReader::new(body), view, &mut backoff).await?
            }
            Err(error) if !was_open || error.is_final() => return Err(error),
            Err(error) => error.to_string(),
        };
        let pause = backoff.next();
        view.interrupt()?;
        let again = format!("retrying in {:.1} s", pause.as_secs_f64());
        let _ = writeln!(io::stderr(), "herenow: {why}; {again}");
        sleep(pause).await;
    }
}

/// Shows a stream to its end. Returns why it has ended.
async fn show(
    mut events: EventReader,
    view: &mut View,
    backoff: &mut Backoff,
) -> Result<String, RemoteError> {
    loop {
        tokio::select! {
            event = events.next() => match event {
                Ok(Some(event)) => {
                    *backoff = Backoff(FIRST_PAUSE);
                    view.hear(event)?;
                }
                Ok(None) => return Ok("the server has ended the stream".into()),
                Err(error) => return Ok(format!("the stream is broken: {error}")),
            },
            () = view.draw_due() => view.draw()?,
        }
    }
}

impl View {
    fn new(command: &Watch) -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|name| name == "dumb");
        match (command.remote.json, io::stdout().is_terminal() && !is_dumb) {
            (true, _) => Self::Json,
            (false, false) => Self::Lines,
            (false, true) => {
                let screen = Screen::new(&command.channel);
                Self::Screen(Drawn { screen, drawn_at: None, is_changed: false })
            }
        }
    }

    fn hear(&mut self, event: Event) -> io::Result<()> {
        match self {
            Self::Json => writeln!(io::stdout(), "{}", event.data),
            Self::Lines => {
                let now = i64::try_from(clock::unix_ms()).unwrap_or_default();
                let now = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
                let lines = lines_of(&format!("{now:.3}"), &event);
                lines.iter().try_for_each(|line| writeln!(io::stdout(), "{line}"))
            }
            Self::Screen(drawn) => {
                drawn.screen.hear(event);
                drawn.is_changed = true;
                Ok(())
            }
        }
    }

    /// Returns when the screen is to be written.
    async fn draw_due(&self) {
        let Self::Screen(Drawn { drawn_at, is_changed: true, .. }) = self else {
            return std::future::pending().await;
        };
        if let Some(drawn_at) = drawn_at {
            sleep_until(*drawn_at + DRAW_EVERY).await;
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let Self::Screen(drawn) = self else { return Ok(()) };
        drawn.is_changed = false;
        drawn.drawn_at = Some(Instant::now());
        let mut out = io::stdout().lock();
        out.write_all(drawn.screen.draw(size()).as_bytes())?;
        out.flush()
    }

    /// Something else is to be written.
    fn interrupt(&mut self) -> io::Result<()> {
        if let Self::Screen(Drawn { is_changed: true, .. }) = self {
            self.draw()?;
        }
        if let Self::Screen(drawn) = self {
            drawn.screen.leave_behind();
        }
        Ok(())
    }
}

impl Backoff {
    /// Between half and the whole of a pause that doubles: not all come back at once.
    fn next(&mut self) -> Duration {
        let mut random = [0];
        // Without randomness the pause is the shortest.
        let _ = getrandom::fill(&mut random);
        let pause = self.0.mul_f64(0.5 + f64::from(random[0]) / 512.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(USUAL_SIZE, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

//! `herenow-bench`: starts presence servers, loads them and tells what they cost.
//!
//! Beside this project's server it measures yardsticks in the same run: rivals that
//! speak the same protocol, and a floor that only writes. Figures move with the
//! machine; what holds are their ratios. Linux only: it reads the kernel's books.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::floor::{Floor, Writing};
use crate::run::Plan;
use crate::scenarios::Effort;
use crate::server::{Places, Server};

mod audit;
mod crowd;
mod curves;
mod driver;
mod floor;
mod frames;
mod guests;
mod histogram;
mod inbound;
mod ledger;
mod measure;
mod messages;
mod plot;
mod process;
mod projection;
mod report;
mod run;
mod scenarios;
mod server;
mod steady;
mod targets;

/// Measures presence servers side by side, each on one core, driven from another.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios and prints a table.
    Run(RunArgs),
    /// Sweeps flush delay against rate and draws the curves.
    Sweep(CurveArgs),
    /// Draws how cost grows with members, with update rate and with channels.
    Growth(CurveArgs),
    /// Runs at half load for minutes and draws the server's memory.
    Steady {
        #[arg(long, default_value_t = 10)]
        minutes: usize,
        #[arg(long, default_value = "herenow")]
        server: Server,
        /// The chart.
        #[arg(long, default_value = "steady.svg")]
        out: PathBuf,
        #[command(flatten)]
        places: PlaceArgs,
    },
    /// The yardstick server that only writes; the bench starts it itself.
    Floor {
        #[arg(long)]
        port: u16,
        /// each, turn, or a delay in milliseconds
        #[arg(long)]
        writing: Writing,
    },
}

#[derive(Args)]
struct RunArgs {
    /// Scenarios to run, all by default: idle, connect, quiet, busy, hot, full, storm,
    /// churn, herd, audience, counting, friends, slow-reader.
    scenarios: Vec<String>,
    /// Only cases whose name begins like this, for example "1 x 100,".
    #[arg(long, default_value = "")]
    case: String,
    /// The sizes and times of the documentation instead of the few minutes' form.
    #[arg(long)]
    full: bool,
    /// herenow, herenow@LOOPS (fan-out at so many times the load), herenow@unix, herenow@webhooks
    /// (hot alone: with a dead webhook), herenow@before (another build, see --before), bun, node-ws, floor, floor@turn or floor@MS.
    #[arg(long, value_delimiter = ',', default_value = "herenow,herenow@webhooks,bun,floor")]
    servers: Vec<Server>,
    /// Runs of each case on each server, instead of each case's own number.
    #[arg(long)]
    runs: Option<usize>,
    /// How often to do a run again in which other processes took a tenth of a core or more.
    #[arg(long, default_value_t = 0)]
    repeats: usize,
    /// Writes all numbers, those of single runs included, to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    places: PlaceArgs,
}

#[derive(Args)]
struct CurveArgs {
    /// The folder for the charts and curves.json.
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
    /// Runs of each point.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Which servers growth compares.
    #[arg(long, value_delimiter = ',', default_value = "herenow,bun,floor")]
    servers: Vec<Server>,
    #[command(flatten)]
    places: PlaceArgs,
}

#[derive(Args)]
struct PlaceArgs {
    /// The server's binary, by default the one beside this program.
    #[arg(long)]
    herenow: Option<PathBuf>,
    /// Another build of the server, which herenow@before stands for.
    #[arg(long)]
    before: Option<PathBuf>,
    /// The folder of the rivals, with their packages installed.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/rivals"))]
    rivals: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::Sweep(args) => curves(&curves::sweep(), args),
        Command::Growth(args) => curves(&curves::growth(&args.servers), args),
        Command::Steady { minutes: minutes @ 1.., server, out, places } => places
            .into_places(&[server])
            .and_then(|places| steady::run(server, &places, (minutes, &out)))
            .map(|line| println!("{line}")),
        Command::Steady { .. } => Err("a steady run takes at least one minute".to_owned()),
        Command::Floor { port, writing } => Floor::listen(port, writing)
            .and_then(|floor| {
                eprintln!("the floor listens at {}", floor.address()?);
                floor.run()
            })
            .map_err(|error| format!("the floor ended: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herenow-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: RunArgs) -> Result<(), String> {
    let effort = if args.full { Effort::Full } else { Effort::Short };
    let mut cases = scenarios::cases(effort);
    for name in &args.scenarios {
        if !cases.iter().any(|case| case.scenario == name) {
            return Err(format!("there is no scenario {name}; --help lists them"));
        }
    }
    cases.retain(|case| {
        (args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == case.scenario))
            && case.name.starts_with(&args.case)
    });
    let places = args.places.into_places(&args.servers)?;
    let (runs, repeats) = (args.runs, args.repeats);
    let plan = Plan { cases, servers: args.servers, places, runs, repeats };
    let rows = plan.run(|line| eprintln!("{line}"))?;
    let verdicts = targets::verdicts(&rows);
    print!("{}", report::text(&rows, &verdicts));
    for line in projection::lines(&rows) {
        println!("{line}");
    }
    if let Some(path) = args.json {
        let mut found = report::json(&rows, &verdicts);
        found["rivals"] = plan.places.rival_versions();
        let text = format!("{found:#}\n");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match rows.iter().find(|row| row.server.starts_with("herenow") && !row.failures.is_empty()) {
        // A rival that fails is a finding; this project's own server has to be fixed.
        Some(row) => Err(format!("{} failed {} {}", row.server, row.scenario, row.case)),
        None => Ok(()),
    }
}

fn curves(points: &[curves::Point], args: CurveArgs) -> Result<(), String> {
    let places = args.places.into_places(&args.servers)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("{}: {error}", args.out.display()))?;
    curves::draw(points, &places, (args.runs, &args.out), |line| eprintln!("{line}"))
}

impl PlaceArgs {
    /// Where the programs are, once those that `servers` need are installed.
    fn into_places(self, servers: &[Server]) -> Result<Places, String> {
        let herenow = match self.herenow {
            Some(path) => path,
            None => std::env::current_exe()
                .map_err(|error| format!("cannot find the folder of this program: {error}"))?
                .with_file_name("herenow"),
        };
        let places = Places { herenow, before: self.before, rivals: self.rivals };
        if servers.iter().any(|server| server.is_rival()) {
            places.install_rivals()?;
        }
        Ok(places)
    }
}

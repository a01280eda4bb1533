//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Pictures and spoken audio for a whole list, from web services, onto disk.
#[derive(Debug, Parser)]
#[command(name = "media", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

const EXAMPLES: &str = "\
Try it without keys or money, against simulated services:
  media init my-deck && cd my-deck
  media run --simulate --out demo

For real:
  export RUNWARE_API_KEY=... FORVO_API_KEY=...
  media check                                          do the keys work?
  media plan                                           what, how long, what it costs; sends nothing
  media run                                            do it; the same command again resumes
  media run other.csv --recipe other.json              another list

Exit codes:
  0 everything asked for is there
  1 finished; some failed, are unknown, or are gone
  2 usage, configuration or list: nothing was sent
  3 stopped: a person must act (key, permission, credit, cap)
  4 not finished: the same command later
  130, 143 interrupted";

/// An amount of dollars.
fn dollars(text: &str) -> Result<media_core::Usd, String> {
    let amount = text.parse().ok().and_then(media_core::Usd::from_dollars);
    amount.ok_or_else(|| "write an amount of US dollars, such as 2.50".to_owned())
}

/// A length of time.
fn time(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time such as 90s, 30m or 5h".to_owned())
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The configuration folder [default: MEDIA_CONFIG_DIR, then ./config]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    /// Read NAME=VALUE lines (keys, mostly) from this file; the environment wins
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Logging {
    /// Say more: -v what happens, -vv every call
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors, and how a run ended that did not end well
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Write the log as JSON lines to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a project folder: configuration, an example list and its recipe
    Init(Init),
    /// Make every file of a list; the same command again makes what is missing
    Run(Run),
    /// Say what a run would do, how long it takes and what it costs; no network, no keys; exit code 3 where a budget does not allow it
    Plan(Plan),
    /// Say what the ledger knows: what is done, failed, may have been billed; or all about one job
    Status(Status),
    /// Ask again for what failed; with --unknown, send again what may have been billed
    Retry(Retry),
    /// Fetch what was paid for and never delivered, and buy nothing; with a LIST also what a lost ledger no longer knows
    Rescue(Rescue),
    /// End remote batches early; what is done by then is delivered by the next run, the rest is not billed
    Cancel(Cancel),
    /// Make files anew: those named, or those whose row, settings or file changed; the old file is kept aside
    Redo(Redo),
    /// Put an earlier take of a file back in its place
    Pick(Pick),
    /// Protect files from every redo
    Keep(Keep),
    /// Write out results, or the failed rows of a list with why they failed
    Export(Export),
    /// Write a page with every picture and sound, costs, times and failures
    Report(Report),
    /// List the recordings of a word, in our order and with why (one counted call)
    Voices(Voices),
    /// Ask each service, for nothing, whether its key works
    Check(Check),
    /// List the providers: built in, configured, what they can do
    Providers(Providers),
    /// Check media files: whole, valid, and what their names say
    Verify(Verify),
    /// Show the configuration as it is understood, or its JSON Schema
    Config(Config),
    /// Run the simulator of the services as a server
    Sim(Sim),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The folder to write; must not exist or be empty
    pub(crate) dir: PathBuf,
}

/// A list and how to read it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListArgs {
    /// The list: CSV, TSV or JSON lines [default: `list` in media.json, with its `recipe`]
    pub(crate) list: Option<PathBuf>,
    /// The recipe that turns the list's columns into files
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Only the files that come from this provider; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// An output folder and its ledger.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The output folder [default: `out` in media.json]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The ledger of what was bought [default: .media/ledger.sqlite in the output folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
}

/// Whether the services are simulated.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SimulateArgs {
    /// Talk to simulated services inside the program: no keys, no money; the same code otherwise
    #[arg(long)]
    pub(crate) simulate: bool,
    /// With --simulate: the scenario (limits, latency, faults) as JSON
    #[arg(long, value_name = "FILE", requires = "simulate")]
    pub(crate) scenario: Option<PathBuf>,
}

/// What may be spent.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct BudgetArgs {
    /// Begin nothing that would cost more than this with this ledger, all runs together (US dollars) [default: budget.total_usd in media.json]
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(crate) max_cost: Option<media_core::Usd>,
    /// Begin nothing that would cost more than this in this run (US dollars)
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(crate) max_run_cost: Option<media_core::Usd>,
}

/// Whether files are made in remote batches.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct BatchArgs {
    /// Have files made in remote batches where the provider has them: cheaper, within a day
    #[arg(long)]
    pub(crate) batch_api: bool,
    /// With --batch-api: leave when all is handed over (exit code 4); media run --batch-api later fetches it
    // A simulated service ends with the run, and its batches with it.
    #[arg(long, requires = "batch_api", conflicts_with = "simulate")]
    pub(crate) no_wait: bool,
}

/// How files are made, by whichever command.
#[derive(Debug, clap::Args)]
pub(crate) struct Making {
    #[command(flatten)]
    pub(crate) simulate: SimulateArgs,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    #[command(flatten)]
    pub(crate) batches: BatchArgs,
    /// Calls in flight at once at each provider [default: the configuration's]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<std::num::NonZeroUsize>,
    /// Print one line of JSON per result on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(flatten)]
    pub(crate) making: Making,
    /// Where a budget does not allow all of it, make the files that still fit
    #[arg(long)]
    pub(crate) up_to_cap: bool,
    /// Take files that are there as they are, though the ledger knows of nothing, and buy what is missing
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Take no new work after this time, such as 5h; what was sent is finished
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) stop_after: Option<std::time::Duration>,
    /// When a daily quota is used up, wait until it is there again and go on, until all is made
    #[arg(long)]
    pub(crate) wait_for_quota: bool,
    /// Make at most so many files
    #[arg(long, value_name = "N")]
    pub(crate) max_items: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(flatten)]
    pub(crate) simulate: SimulateArgs,
    /// As for media run: have files made in remote batches
    #[arg(long)]
    pub(crate) batch_api: bool,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// The job to tell all about
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Print the totals, or the job, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Retry {
    /// The jobs to ask for again [default: all]
    pub(crate) ids: Vec<String>,
    /// Send again, as the ledger has it, what was sent and got no answer; it may be billed a second time
    #[arg(long)]
    pub(crate) unknown: bool,
    /// With --unknown: give it up and send nothing; the next run makes the rows as they are then
    #[arg(long, requires = "unknown")]
    pub(crate) give_up: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) making: Making,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rescue {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(flatten)]
    pub(crate) simulate: SimulateArgs,
    /// Print one line of JSON per result on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "changed", "missing", "settings"]))]
pub(crate) struct Redo {
    /// The jobs to make anew, whatever they are
    #[arg(conflicts_with_all = ["changed", "missing", "settings"])]
    pub(crate) ids: Vec<String>,
    /// Those whose rows were changed after their files were made
    #[arg(long)]
    pub(crate) changed: bool,
    /// Those whose files were made and are gone
    #[arg(long)]
    pub(crate) missing: bool,
    /// Those that were made with another configuration
    #[arg(long)]
    pub(crate) settings: bool,
    /// The list [default: the one that the folder was last made from; where that is gone, the rows as the ledger has them]
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// The recipe of that list
    #[arg(long, value_name = "FILE", requires = "list")]
    pub(crate) recipe: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) making: Making,
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Cancel {
    /// The batches, by the keys that media status shows [default: all]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pick {
    /// The job
    pub(crate) id: String,
    /// The number of the take, as media status ID tells
    pub(crate) take: u32,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
    /// The jobs whose files are protected
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    /// Lift the protection
    #[arg(long)]
    pub(crate) off: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(subcommand)]
    pub(crate) what: ExportWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportWhat {
    /// The last result of every job, one line of JSON each
    Results {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// The rows that failed, in the columns of the list, with _why and _next: mend them and run that file
    Failed {
        #[command(flatten)]
        list: ListArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// The page to write [default: report.html in the output folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Put thumbnails and sounds into the page itself, to hand it on alone; takes longer, and the page is larger
    #[arg(long)]
    pub(crate) embed: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Voices {
    /// The word, as a list would give it
    pub(crate) word: String,
    /// Its language: a BCP 47 tag such as es or pt-BR
    #[arg(long, value_name = "TAG")]
    pub(crate) language: String,
    /// The instance to ask [default: the only one that has recordings to choose from]
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    #[command(flatten)]
    pub(crate) simulate: SimulateArgs,
    /// Print them as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The instances to ask [default: all that are configured]
    pub(crate) providers: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Providers {
    /// Print them as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Files, or folders to look through
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) what: ConfigWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigWhat {
    /// Every value after files, variables and flags, and where it was read
    Show,
    /// The JSON Schema of a file: media, recipe, openai, runware, forvo, ...
    Schema {
        /// Which file
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// The loopback address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8787")]
    pub(crate) listen: SocketAddr,
    /// The scenario as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
}

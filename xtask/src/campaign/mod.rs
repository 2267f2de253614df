//! `glare campaign`: plays generated stories, keeps what went wrong in them, and what they reached.

mod alone;
mod findings;
mod folder;
mod play;
mod queue;
mod schedule;
mod setup;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::arguments::minutes;
use crate::server_program::ServerFlags;
use reports::campaign::{Campaign, Store, StoryId, Summary};
use scenarios::Scenario;

pub(crate) use alone::{COMMAND as PLAY_ALONE, run as play_alone};
pub(crate) use queue::{WorkerArguments, worker};

/// Search for violations with generated stories: many scenarios that nobody wrote.
///
/// Each seed is a story: a topology, NATs, actors, and a schedule of troubles. For a while anything may go wrong; then
/// everything is repaired, and every promise must hold at the end. Ctrl-C ends a campaign early, and the same command
/// goes on with it. With --queue, `worker` plays the stories, on any number of machines. Exit codes: 0 no violation, 1 a
/// promise is broken, 2 wrong usage or an invalid file, 3 the server or the queue cannot be reached, 130 Ctrl-C.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    play: Play,
}

/// What is played.
#[derive(clap::Args)]
struct Play {
    /// Range of seeds to play; B is not included [default: 0..1000]
    #[arg(long, value_name = "A..B", conflicts_with = "minutes")]
    seeds: Option<crate::sim::Seeds>,
    /// Play for this many minutes, earlier calls included; every second story is a variation of one that reached
    /// something new
    #[arg(long, value_name = "N", value_parser = minutes)]
    minutes: Option<std::time::Duration>,
    /// What stories may contain: a shipped story profile's name, or a TOML file; may be repeated, and seeds take them in
    /// turn [default: roles, crowd, calls, outages and roaming; with --dialect, --server or --mutant one that fits]
    #[arg(long = "profile", value_name = "NAME|FILE")]
    profiles: Vec<String>,
    /// Dialect that all actors speak: a shipped dialect's name, or a TOML file [default: that of each actor's role]
    #[arg(long, value_name = "NAME|FILE")]
    dialect: Option<String>,
    #[command(flatten)]
    program: ServerFlags,
    /// Test the reference server with this planted defect, such as `mesh/targeted-to-all`; needs a checkout of Glare
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    mutant: Option<String>,
    /// Number of parallel runs [default: one per core]
    #[arg(long, value_name = "N", conflicts_with = "queue")]
    jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    queue: queue::Flags,
    /// Play each story twice; two runs that differ are a finding
    #[arg(long)]
    check_determinism: bool,
    /// End at the first violation
    #[arg(long)]
    fail_fast: bool,
    /// Print nothing but findings
    #[arg(long, short)]
    quiet: bool,
    /// Folder of the campaign; one that exists is continued
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print how many stories were played, what went wrong, and what was reached
    Status {
        /// Folder of the campaign
        dir: PathBuf,
    },
    /// Print the failures, grouped: the same oracle and the same kind of sentence are one finding
    Failures {
        /// Folder of the campaign
        dir: PathBuf,
    },
    /// Print which rare situations occurred in how many stories, and which in none
    Probes {
        /// Folder of the campaign
        dir: PathBuf,
    },
    /// Print a story as a scenario file
    Story {
        /// Folder of the campaign
        dir: PathBuf,
        /// The story: its seed, or `v7` for a varied one
        #[arg(value_name = "SEED|vN")]
        story: StoryId,
    },
    /// Write a few stories that together reach everything that the campaign has reached, as scenario files
    Corpus {
        /// Folder of the campaign
        dir: PathBuf,
        /// Folder for the scenario files
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
}

/// The stories of a campaign, to be played again.
pub(crate) struct Stories {
    store: Store,
    setup: setup::Setup,
    campaign: Campaign,
}

impl Stories {
    /// Reads the campaign in a folder.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) fn load(dir: &Path) -> anyhow::Result<Self> {
        let (store, campaign) = Campaign::load(dir)?;
        let setup = setup::Setup::of_plan(&campaign.plan)?;
        Ok(Self { store, setup, campaign })
    }

    /// The stories that came to their end, in the order in which they were played. The others have no events, and may end
    /// the process that plays them.
    pub(crate) fn finished(&self) -> impl Iterator<Item = StoryId> + '_ {
        self.campaign.stories.iter().filter(|(_, story)| story.hash.is_some()).map(|(id, _)| *id)
    }

    /// Number of stories that did not come to their end.
    pub(crate) fn unfinished(&self) -> usize {
        self.campaign.stories.len() - self.finished().count()
    }

    /// A story as a scenario.
    ///
    /// # Errors
    /// The bytes of a varied story were not kept.
    pub(crate) fn scenario(&self, id: StoryId) -> anyhow::Result<Scenario> {
        folder::scenario(&self.store, &self.setup, id)
    }
}

/// Plays a campaign, or prints what one has found.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // A panic inside a simulation is a finding; a damaged store makes its database panic, and that is reported too.
    std::panic::set_hook(Box::new(|_| {}));
    let width = reports::terminal_width();
    match arguments.command {
        None => return play::run(&arguments.play),
        Some(Command::Status { dir }) => out!("{}", Summary::load(&dir)?.status(width)),
        Some(Command::Failures { dir }) => out!("{}", Campaign::load(&dir)?.1.failures(&crate::program(), &dir)),
        Some(Command::Probes { dir }) => out!("{}", Campaign::load(&dir)?.1.probes_table(width)),
        Some(Command::Story { dir, story }) => {
            out!("{}", scenarios::write(&Stories::load(&dir)?.scenario(story)?));
        }
        Some(Command::Corpus { dir, into }) => folder::write_corpus(&dir, &into)?,
    }
    Ok(ExitCode::SUCCESS)
}

//! `glare worker`: plays the stories of campaigns that wait in a queue.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Context, Message};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use reports::campaign::{Plan, counted};
use tokio::sync::{RwLock, oneshot};

use super::link::{ACK_WAIT, Address, Link, PAUSE, Trouble, in_words, publish};
use super::play::subject_of_results;
use super::wire::{Head, Played, Results, Work, messages};
use crate::campaign::alone;
use crate::campaign::findings::result;
use crate::campaign::setup::Setup;
use crate::exit::{UNREACHABLE, USAGE, report_error};
use crate::interrupt::Interrupt;
use crate::pool;
use crate::progress::StatusLine;
use crate::sink::TOOL;

/// How long one request for work waits.
const ASK: Duration = Duration::from_secs(5);
/// How often it is checked whether the worker is to end.
const TICK: Duration = Duration::from_millis(100);
/// When work that this worker must not do is delivered again, hopefully to another one.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// Work that is delivered more often may be what ends its workers. It may also be work that others have left to this one:
/// then it only takes a little longer.
const DELIVERIES_MAX: i64 = 2;
/// Share of the longest message that results may have: their headers need a place, too.
const PAYLOAD_SHARE: usize = 2;
/// Setups that are kept, so that a profile is not read again for each message.
const SETUPS_MAX: usize = 16;

/// Play the stories of campaigns with --queue, on this machine.
///
/// Any number of workers share the work. Each plays the stories of all campaigns that are in the queue, whoever began
/// them. A worker may be killed at any time: its stories go to another one. If stories end two workers, each of them is
/// played in a process of its own, and one that ends that is a violation. A worker runs until Ctrl-C, or until there has
/// been no work for --idle. Exit codes: 0 it has ended, 2 wrong usage or a queue that cannot be used, 3 the queue cannot
/// be reached, 130 Ctrl-C.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// NATS server with JetStream in which the stories wait
    #[arg(long, value_name = "nats://HOST:PORT")]
    queue: Address,
    /// Time to wait for a queue that cannot be reached [default: none at the start, 30s later]
    #[arg(long, value_name = "TIME", value_parser = scenarios::time)]
    wait: Option<Duration>,
    /// Number of parallel runs [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// End when there has been no work for this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = scenarios::time)]
    idle: Option<Duration>,
    /// Also play campaigns with a server program: this runs the commands that they name
    #[arg(long)]
    allow_programs: bool,
    /// No progress line
    #[arg(long, short)]
    quiet: bool,
}

/// Stories to be played, and where their results go.
struct Delivery {
    work: Work,
    setup: Arc<Setup>,
    done: oneshot::Sender<anyhow::Result<Vec<Played>>>,
}

/// Plays stories until it is interrupted.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // A panic inside a simulation is a finding.
    std::panic::set_hook(Box::new(|_| {}));
    let interrupt = Interrupt::listen()?;
    let jobs = arguments.jobs.map_or_else(pool::cores, usize::from);
    let (to_play, deliveries) = mpsc::channel::<Delivery>();
    let start = crate::now();
    let mut line = StatusLine::new(!arguments.quiet);
    let mut played = 0;
    let status = |played: u64| {
        let rate = played as f64 / start.elapsed().as_secs_f64().max(1e-3);
        format!("{} played, {rate:.1} a second", counted(played as usize, "story"))
    };
    let ended = std::thread::scope(|scope| {
        let desk = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            anyhow::Ok(runtime.block_on(ask(arguments, &interrupt, jobs, to_play)))
        });
        let play = |delivery: &Delivery| {
            let Work { twice, stories, alone, plan, .. } = &delivery.work;
            let play = |story: &super::wire::Task| {
                let job = story.job();
                let result = match alone {
                    true => alone::result(plan, &job, *twice)?,
                    false => result(&job, job.scenario(&delivery.setup), *twice),
                };
                Ok(Played::of(job.id, result))
            };
            stories.iter().map(play).collect::<anyhow::Result<Vec<_>>>()
        };
        let Ok(()) = pool::for_each(deliveries, jobs, play, |delivery, results| {
            played += results.as_ref().map_or(0, Vec::len) as u64;
            line.say(|| status(played));
            // Nobody waits for them if the connection was given up.
            let _ = delivery.done.send(results);
            Ok::<(), std::convert::Infallible>(())
        });
        desk.join().expect("the desk does not panic")
    })?;
    line.finish();
    if !arguments.quiet {
        outln!("{}", status(played));
    }
    match ended {
        Ok(()) => Ok(interrupt.or(ExitCode::SUCCESS)),
        Err(trouble @ Trouble::Away(_)) => Ok(report_error(&trouble, UNREACHABLE)),
        Err(trouble @ Trouble::Unfit(_)) => Ok(report_error(&trouble, USAGE)),
    }
}

/// Asks for work, as much as can be played and one batch more, so that nobody waits for the network.
async fn ask(
    arguments: &Arguments,
    interrupt: &Interrupt,
    jobs: usize,
    to_play: mpsc::Sender<Delivery>,
) -> Result<(), Trouble> {
    let link = Link::open(&arguments.queue, arguments.wait, "glare worker").await?;
    let desk = Desk {
        arguments,
        interrupt,
        link: tokio::sync::Mutex::new(link),
        to_play,
        setups: RefCell::default(),
        said: RefCell::default(),
        place: RwLock::new(()),
        worked: RefCell::new(crate::now()),
    };
    let slots = (0..=jobs).map(|_| desk.slot());
    join_all(slots).await.into_iter().collect()
}

/// What the slots of a worker share.
struct Desk<'a> {
    arguments: &'a Arguments,
    interrupt: &'a Interrupt,
    link: tokio::sync::Mutex<Link>,
    to_play: mpsc::Sender<Delivery>,
    setups: RefCell<BTreeMap<String, Result<Arc<Setup>, String>>>,
    /// What was said once.
    said: RefCell<BTreeSet<String>>,
    /// Work that is played alone has this worker for itself. So what ends the worker meanwhile is that story, or somebody
    /// outside, and no other story is suspected.
    place: RwLock<()>,
    /// When there was work.
    worked: RefCell<Instant>,
}

impl Desk<'_> {
    fn is_over(&self) -> bool {
        self.interrupt.is_set() || self.arguments.idle.is_some_and(|idle| self.worked.borrow().elapsed() >= idle)
    }

    /// Gets one batch after the other.
    async fn slot(&self) -> Result<(), Trouble> {
        let mut consumer: Option<Consumer<pull::Config>> = None;
        while !self.is_over() {
            let asked = match &consumer {
                Some(consumer) => self.next(consumer).await,
                None => {
                    let made = self.link.lock().await.work().await;
                    made.map(|made| {
                        consumer = Some(made);
                        None
                    })
                }
            };
            let done = match asked {
                Ok(Some(message)) => self.work(message).await,
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            let mut link = self.link.lock().await;
            match done {
                Ok(()) if link.is_up() => link.works(),
                Ok(()) => link.endure("there is no connection").await?,
                Err(why) => {
                    consumer = None;
                    link.endure(&why).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits for work.
    async fn next(&self, consumer: &Consumer<pull::Config>) -> Result<Option<Message>, String> {
        let asked = consumer.batch().max_messages(1).expires(ASK).messages().await;
        let mut messages = asked.map_err(|error| in_words(&error))?;
        let is_over = async {
            while !self.is_over() {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            biased;
            message = messages.next() => message.transpose().map_err(|error| in_words(&*error)),
            () = is_over => Ok(None),
        }
    }

    /// Lets a batch be played, publishes its results, and only then acknowledges it.
    async fn work(&self, message: Message) -> Result<(), String> {
        let (mut work, setup) = match self.read(&message.payload) {
            Ok(read) => read,
            Err((why, answer)) => {
                if self.said.borrow_mut().insert(why.clone()) {
                    errln!("{why}");
                }
                return message.ack_with(answer).await.map_err(|error| in_words(&*error));
            }
        };
        let (context, payload_max) = {
            let link = self.link.lock().await;
            (link.context().clone(), link.payload_max())
        };
        work.alone |= message.info().is_ok_and(|info| info.delivered > DELIVERIES_MAX);
        if work.alone && work.stories.len() > 1 {
            for single in work.divided() {
                publish(&context, &single).await?;
            }
            return message.ack().await.map_err(|error| in_words(&*error));
        }
        // Held to the end.
        let mut places = (None, None);
        let mut place = async || match work.alone {
            true => places.0 = Some(self.place.write().await),
            false => places.1 = Some(self.place.read().await),
        };
        while tokio::time::timeout(ACK_WAIT / 4, place()).await.is_err() {
            drop(message.ack_with(AckKind::Progress).await);
        }
        if let ([story], true) = (work.stories.as_slice(), work.alone) {
            let begun = Results { twice: work.twice, stories: Vec::new(), begun: Some(story.id) };
            let json = serde_json::to_vec(&begun).expect("results have a JSON form");
            store(&context, &work.campaign, json).await?;
        }
        let (campaign, twice) = (work.campaign.clone(), work.twice);
        let (done, mut results) = oneshot::channel();
        if self.to_play.send(Delivery { work, setup, done }).is_err() {
            return Ok(());
        }
        let played = loop {
            *self.worked.borrow_mut() = crate::now();
            match tokio::time::timeout(ACK_WAIT / 4, &mut results).await {
                Ok(Ok(Ok(played))) => break played,
                Ok(Ok(Err(error))) => {
                    errln!("{error:#}");
                    return message.ack_with(AckKind::Nak(Some(ELSEWHERE))).await.map_err(|error| in_words(&*error));
                }
                // The threads are gone.
                Ok(Err(_)) => return Ok(()),
                // Without a connection, the batch goes to another worker, too: then its results are there twice.
                Err(_) => drop(message.ack_with(AckKind::Progress).await),
            }
        };
        *self.worked.borrow_mut() = crate::now();
        for json in messages(twice, played, payload_max / PAYLOAD_SHARE) {
            store(&context, &campaign, json).await?;
        }
        message.ack().await.map_err(|error| in_words(&*error))
    }

    /// Reads a message. If this worker must not play it: why, and what to answer.
    fn read(&self, payload: &[u8]) -> Result<(Work, Arc<Setup>), (String, AckKind)> {
        let no_work = |error: serde_json::Error| (format!("something in the queue is no work: {error}"), AckKind::Term);
        let head: Head = serde_json::from_slice(payload).map_err(no_work)?;
        let tool = head.plan.tool;
        let elsewhere = |why: String| (why, AckKind::Nak(Some(ELSEWHERE)));
        if tool != TOOL {
            return Err(elsewhere(format!("a campaign of {tool} is left to workers of that version: this is {TOOL}")));
        }
        let work: Work = serde_json::from_slice(payload).map_err(no_work)?;
        if !work.is_sound() {
            return Err(("something in the queue is no work: a profile is missing".to_owned(), AckKind::Term));
        }
        if let Some(program) = work.plan.program.as_ref().filter(|_| !self.arguments.allow_programs) {
            let command = reports::command_line("", program.run.iter().cloned());
            return Err(elsewhere(format!(
                "a campaign runs the server program `{}`, and is left to workers with --allow-programs",
                command.trim_start()
            )));
        }
        let setup = self.setup(&work.plan).map_err(|why| {
            elsewhere(format!("a campaign is left to other workers, because here it cannot be played: {why}"))
        })?;
        Ok((work, setup))
    }

    fn setup(&self, plan: &Plan) -> Result<Arc<Setup>, String> {
        let key = serde_json::to_string(plan).expect("a plan has a JSON form");
        let mut setups = self.setups.borrow_mut();
        if let Some(setup) = setups.get(&key) {
            return setup.clone();
        }
        if setups.len() >= SETUPS_MAX {
            setups.clear();
        }
        let setup = Setup::checked(plan).map(Arc::new).map_err(|error| format!("{error:#}"));
        setups.entry(key).or_insert(setup).clone()
    }
}

/// Puts a message into the stream of results.
async fn store(context: &Context, campaign: &str, json: Vec<u8>) -> Result<(), String> {
    let stored = match context.publish(subject_of_results(campaign), json.into()).await {
        Ok(sent) => sent.await,
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        tokio::time::sleep(PAUSE).await;
        return Err(in_words(&error));
    }
    Ok(())
}

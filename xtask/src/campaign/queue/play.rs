//! The side of the campaign: publishes stories as work, and takes their results in the order of the stories.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::Acker;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use reports::campaign::{Store, StoryId};
use tokio::runtime::Runtime;

use super::link::{Flags, Link, PAUSE, RESULTS, Trouble, WORK, publish};
use super::wire::{Results, Task, Work, subject_of_work};
use crate::campaign::findings;
use crate::campaign::play::{Running, Stop};
use crate::campaign::schedule::Job;
use crate::sink::cannot_write;

/// Stories of one message: a worker is busy with them for a fraction of a second, which is long compared with a message.
const BATCH: usize = 8;
/// Stories that are published before their results are there: enough for a thousand workers.
const AHEAD_MAX: usize = 16_384;
/// Batches that are published at once.
const AT_ONCE: usize = 128;
/// Results that are asked for at once.
const RESULTS_AT_ONCE: usize = 64;
/// How long to wait for results before what is due is stored, and before Ctrl-C is noticed.
const TICK: Duration = Duration::from_millis(500);
/// After so long without a result, everything is published again that is not in the queue.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A story that so many workers began to play in a process of its own, and of which none has given a result, is given up:
/// it takes its workers with it, for example because the machine has no memory left for them.
const BEGUN_MAX: usize = 4;
/// The file that one campaign at a time has locked.
const LOCK_FILE: &str = "queue.lock";

/// The queue of one campaign.
pub(in crate::campaign) struct Queue {
    runtime: Runtime,
    desk: Desk,
    /// Locked as long as this exists.
    _lock: File,
}

/// What a campaign has of its queue, between the rounds of stories as well.
struct Desk {
    link: Link,
    /// The name of the campaign in the queue.
    name: String,
    results: Option<Consumer<pull::Config>>,
    /// The number of the connection over which that consumer was made.
    connection: u64,
    /// Results whose turn has not come.
    early: BTreeMap<StoryId, findings::Result>,
    /// The results that the store does not have yet, each with the stories of its message.
    held: Vec<(Vec<StoryId>, Acker)>,
    /// How often workers have begun a story in a process of its own.
    begun: BTreeMap<StoryId, usize>,
    last_result: Instant,
    /// Whether it was said that nothing comes.
    has_said: bool,
}

impl Queue {
    /// Connects to the queue for the campaign in a folder; `None` if there are no such flags. The inner error is about the
    /// queue.
    ///
    /// # Errors
    /// Another program plays the same campaign, or the folder cannot be written.
    pub(in crate::campaign) fn open(
        flags: &Flags,
        dir: &Path,
        store: &Store,
    ) -> anyhow::Result<Option<Result<Self, Trouble>>> {
        let Some(address) = &flags.queue else { return Ok(None) };
        let lock = lock(dir)?;
        // A copy of a folder is another campaign.
        let place = dir.canonicalize().with_context(|| cannot_write(dir))?;
        let id = store.number("queue", crate::random()?)? ^ sim::hash::digest(place.as_os_str().as_encoded_bytes());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let link = runtime.block_on(Link::open(address, flags.wait, "glare campaign"));
        let queue = link.map(|link| {
            let desk = Desk {
                link,
                name: format!("{id:016x}"),
                results: None,
                connection: 0,
                early: BTreeMap::new(),
                held: Vec::new(),
                begun: BTreeMap::new(),
                last_result: crate::now(),
                has_said: false,
            };
            Self { runtime, desk, _lock: lock }
        });
        Ok(Some(queue))
    }

    /// Lets workers play stories until all are played or `is_over`.
    pub(in crate::campaign) fn play(
        &mut self,
        running: &mut Running<'_>,
        stories: impl Iterator<Item = Job>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), Stop> {
        let Self { runtime, desk, .. } = self;
        desk.last_result = crate::now();
        let mut playing = Playing { desk, running, due: VecDeque::new() };
        runtime.block_on(playing.run(stories.fuse(), is_over))
    }

    /// Removes work from the queue that nobody has begun, and what is left of a campaign that has ended.
    pub(in crate::campaign) fn close(&mut self, has_ended: bool) {
        let Self { runtime, desk: Desk { link, name, .. }, .. } = self;
        if !link.is_up() {
            return;
        }
        runtime.block_on(async {
            link.remove(WORK, &format!("glare.work.{name}.>")).await;
            if let (true, Ok(results)) = (has_ended, link.stream(RESULTS).await) {
                let _ = results.delete_consumer(name).await;
                link.remove(RESULTS, &subject_of_results(name)).await;
            }
            link.flush().await;
        });
    }
}

/// The lock of a folder: two programs would take each other's results.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = File::create(&path).with_context(|| cannot_write(dir))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another `campaign --queue` is playing {}: wait for it, or end it", dir.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

pub(super) fn subject_of_results(campaign: &str) -> String {
    format!("glare.results.{campaign}")
}

/// A campaign whose stories are played by workers.
struct Playing<'a, 'b> {
    desk: &'a mut Desk,
    running: &'a mut Running<'b>,
    /// The stories that were published and not yet taken, in order.
    due: VecDeque<Job>,
}

impl Playing<'_, '_> {
    async fn run(&mut self, mut stories: impl Iterator<Item = Job>, is_over: &dyn Fn() -> bool) -> Result<(), Stop> {
        while !is_over() {
            // After a new connection, results may have got lost on their way, and work with the server's files.
            let is_new = self.desk.results.is_none() || self.desk.connection != self.desk.link.connections();
            if is_new || self.is_silent() {
                if let Err(why) = self.begin().await {
                    self.endure(&why).await?;
                    continue;
                }
                // What workers have played for an earlier call.
                while is_new && self.receive(true).await? > 0 {}
            }
            let (new, are_all) = self.next(&mut stories);
            if let Err(why) = self.publish(&new).await {
                // All that is due is published again.
                self.desk.results = None;
                self.endure(&why).await?;
                continue;
            }
            self.take()?;
            if self.due.is_empty() && are_all {
                break;
            }
            self.receive(false).await?;
            if self.desk.link.is_up() {
                self.desk.link.works();
            } else {
                self.endure("there is no connection").await?;
            }
        }
        self.store().await
    }

    /// Makes the consumer of the results, and publishes again what is due.
    async fn begin(&mut self) -> Result<(), String> {
        let desk = &mut *self.desk;
        desk.results = None;
        // A new consumer delivers again what is not acknowledged.
        desk.begun.clear();
        desk.connection = desk.link.connections();
        desk.last_result = crate::now();
        let results = desk.link.results(&desk.name, &subject_of_results(&desk.name)).await?;
        let due: Vec<_> = self.due.iter().filter(|job| !desk.early.contains_key(&job.id)).map(Task::of).collect();
        self.publish(&due).await?;
        if !due.is_empty() {
            self.desk.link.mend_work().await?;
        }
        self.desk.results = Some(results);
        Ok(())
    }

    /// The next stories, and whether there are no more. Those whose results are there need no worker.
    fn next(&mut self, stories: &mut impl Iterator<Item = Job>) -> (Vec<Task>, bool) {
        let mut new = Vec::new();
        while self.due.len() < AHEAD_MAX && new.len() < BATCH * AT_ONCE {
            let Some(job) = stories.next() else { return (new, true) };
            if !self.desk.early.contains_key(&job.id) {
                new.push(Task::of(&job));
            }
            self.due.push_back(job);
        }
        (new, false)
    }

    /// Publishes stories in batches. A batch that waits in the queue already is not published twice.
    async fn publish(&self, stories: &[Task]) -> Result<(), String> {
        for batches in stories.chunks(BATCH * AT_ONCE) {
            let published = join_all(batches.chunks(BATCH).map(|batch| self.publish_batch(batch))).await;
            published.into_iter().collect::<Result<(), String>>()?;
        }
        Ok(())
    }

    async fn publish_batch(&self, stories: &[Task]) -> Result<(), String> {
        let work = Work {
            campaign: self.desk.name.clone(),
            plan: self.running.setup.plan.clone(),
            twice: self.running.arguments.check_determinism,
            alone: false,
            stories: stories.to_vec(),
        };
        publish(self.desk.link.context(), &work).await
    }

    /// Receives results for a moment, or those that are there. Returns the number of messages.
    async fn receive(&mut self, only_there: bool) -> Result<usize, Stop> {
        let consumer = self.desk.results.as_ref().expect("it was made before");
        let asked = if only_there {
            consumer.fetch().max_messages(RESULTS_AT_ONCE).messages().await
        } else {
            consumer.batch().max_messages(RESULTS_AT_ONCE).expires(TICK).messages().await
        };
        let Ok(mut messages) = asked else {
            tokio::time::sleep(PAUSE).await;
            return Ok(0);
        };
        let mut count = 0;
        // The queue ends a request that is over; this is for one that got lost.
        while let Ok(Some(Ok(message))) = tokio::time::timeout(TICK * 2, messages.next()).await {
            count += 1;
            self.accept(message).await;
            self.take()?;
            // Nobody must wait for the end of the request.
            if self.due.is_empty() && !only_there {
                break;
            }
        }
        if self.running.is_store_due() {
            self.store().await?;
        }
        Ok(count)
    }

    async fn accept(&mut self, message: Message) {
        let (desk, twice) = (&mut *self.desk, self.running.arguments.check_determinism);
        desk.last_result = crate::now();
        let (message, acker) = message.split();
        match serde_json::from_slice::<Results>(&message.payload) {
            Ok(results) if (results.twice || !twice) && results.are_sound() => {
                desk.held.push((results.stories.iter().map(|played| played.id).chain(results.begun).collect(), acker));
                for played in results.stories {
                    if !self.running.reached.played.contains(&played.id) {
                        desk.early.insert(played.id, played.result());
                    }
                }
                if let Some(id) = results.begun {
                    self.note_begun(id).await;
                }
            }
            // Of an earlier call that needed less, or of something that is no worker.
            _ => drop(acker.ack().await),
        }
    }

    /// A worker has begun a story in a process of its own. Nothing is heard of some workers after that.
    async fn note_begun(&mut self, id: StoryId) {
        let (desk, twice) = (&mut *self.desk, self.running.arguments.check_determinism);
        let count = desk.begun.entry(id).or_default();
        *count += 1;
        if *count < BEGUN_MAX || desk.early.contains_key(&id) || self.running.reached.played.contains(&id) {
            return;
        }
        let message = format!("no worker that has begun to play it has given a result, {count} times");
        desk.early.insert(id, findings::unplayed(&message));
        desk.link.remove(WORK, &subject_of_work(&desk.name, [id], twice)).await;
    }

    /// Takes the results whose turn has come.
    fn take(&mut self) -> Result<(), Stop> {
        while let Some(result) = self.due.front().and_then(|job| self.desk.early.remove(&job.id)) {
            let job = self.due.pop_front().expect("the front is there");
            self.running.take(job, result)?;
        }
        Ok(())
    }

    /// Stores what was taken, and only then acknowledges it.
    async fn store(&mut self) -> Result<(), Stop> {
        self.running.store().map_err(Stop::Failed)?;
        let played: &BTreeSet<StoryId> = &self.running.reached.played;
        let is_stored = |(ids, _): &(Vec<StoryId>, Acker)| ids.iter().all(|id| played.contains(id));
        let (stored, held): (Vec<_>, _) = std::mem::take(&mut self.desk.held).into_iter().partition(is_stored);
        self.desk.held = held;
        for (_, acker) in &stored {
            // An acknowledgement that gets lost has the result delivered again, and dropped then.
            let _ = acker.ack().await;
        }
        Ok(())
    }

    /// Whether nothing has come for so long that something must be wrong. Says so once.
    fn is_silent(&mut self) -> bool {
        let is_silent = self.desk.last_result.elapsed() >= SILENCE_MAX;
        if is_silent && !self.desk.has_said {
            self.desk.has_said = true;
            let (seconds, waiting) = (SILENCE_MAX.as_secs(), self.due.len());
            let worker = format!("{} worker --queue {}", crate::program(), self.desk.link.address());
            errln!("no result for {seconds} s, {waiting} stories wait: does a `{worker}` of this version run?");
        }
        is_silent
    }

    async fn endure(&mut self, why: &str) -> Result<(), Stop> {
        if self.running.is_store_due() {
            self.store().await?;
        }
        let endured = self.desk.link.endure(why).await;
        endured.map_err(|trouble| Stop::Unreachable(format!("{trouble}; the same command goes on")))
    }
}

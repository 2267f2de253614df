//! `glare campaign --queue` and `glare worker`, with a real NATS server: whatever is killed, the store has what one program
//! alone would have stored.

// Other programs in real time, outside of every simulation.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use reports::campaign::{Campaign, Story, StoryId};

use crate::campaign::{deadly, deaths, folder, short};
use crate::installed::debian;
use crate::serve::free_port;
use crate::server::PATIENCE;
use crate::{glare, program};

#[test]
fn workers_give_what_one_program_gives() {
    let Some(nats) = Nats::start("same") else { return };
    let profile = short("queue-same-profile");
    let _workers = [nats.worker(&["--jobs", "1"]), nats.worker(&["--jobs", "2"])];
    let more = ["--profile", &profile, "--profile", "roles", "--seeds", "0..50", "--check-determinism"];
    let [alone, shared] = ["same-alone", "same-shared"].map(folder);
    let run = glare(&[&["campaign", "--out", &alone], &more[..]].concat());
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    let campaign = nats.campaign(&shared, &more);
    // Another campaign in the same queue, and one in the same folder.
    let other = folder("same-other");
    let others = nats.campaign(&other, &["--profile", &profile, "--seeds", "100..120"]);
    let run = ended(campaign);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(said(&run).starts_with("PASS  50 stories"), "{}", said(&run));
    assert_eq!(stored(&alone), stored(&shared));
    assert_eq!(ended(others).status.code(), Some(0));
    assert_eq!(stored(&other).0.len(), 20);
    assert_eq!(nats.messages(), [0, 0], "nothing is left in the queue");
    // It was played by both ways, so each can go on with it.
    let rest = [&["campaign", "--out", &shared], &more[..4], &["--seeds", "0..52"]].concat();
    assert!(glare(&rest).out().starts_with("PASS  52 stories"));
}

#[test]
fn a_guided_campaign_plays_the_same_stories_with_workers() {
    let Some(nats) = Nats::start("guided") else { return };
    let profile = short("queue-guided-profile");
    let _worker = nats.worker(&["--jobs", "2"]);
    let [alone, shared] = ["guided-alone", "guided-shared"].map(folder);
    let more = ["--profile", &profile, "--minutes", "0.05"];
    assert_eq!(glare(&[&["campaign", "--out", &alone], &more[..]].concat()).code(), 0);
    let run = ended(nats.campaign(&shared, &more));
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let [(alone, _), (shared, _)] = [&alone, &shared].map(|dir| stored(dir));
    let both = alone.len().min(shared.len());
    assert!(both > 64, "{} and {} stories are more than a round", alone.len(), shared.len());
    assert_eq!(alone[..both], shared[..both]);
}

#[test]
fn what_is_killed_loses_nothing_and_doubles_nothing() {
    let Some(mut nats) = Nats::start("killed") else { return };
    let [alone, shared] = ["killed-alone", "killed-shared"].map(folder);
    let more = ["--profile", "calls", "--seeds", "0..300"];
    assert_eq!(glare(&[&["campaign", "--out", &alone], &more[..]].concat()).code(), 0);
    let mut campaign = nats.campaign(&shared, &more);
    let mut worker = nats.worker(&["--jobs", "1"]);
    until("a worker's results are stored", || count(&shared) > 0);
    worker.kill();
    // Nobody plays stories now, so the campaign cannot end, however slow the rest of the machine is.
    assert!((1..300).contains(&count(&shared)));
    let second = glare(&[&["campaign", "--out", &shared, "--queue", &nats.url()], &more[..]].concat());
    assert!(second.code() == 2 && second.err().contains("another `campaign --queue` is playing"), "{}", second.err());
    assert!(!campaign.has_ended());
    campaign.kill();
    let mut campaign = nats.campaign(&shared, &more);
    let delivered = nats.delivered();
    let _worker = nats.worker(&["--jobs", "1"]);
    until("another worker has work", || nats.delivered() != delivered);
    nats.kill();
    assert!(!campaign.has_ended());
    nats.begin();
    let run = ended(campaign);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(said(&run).starts_with("PASS  300 stories"), "{}", said(&run));
    assert_eq!(stored(&alone), stored(&shared));
    // A story that was played twice may leave a result behind.
    assert_eq!(nats.messages()[0], 0, "no work is left in the queue");
}

#[test]
fn a_queue_that_forgets_everything_gets_it_again() {
    let Some(mut nats) = Nats::start("forgets") else { return };
    let profile = short("queue-forgets-profile");
    let shared = folder("forgets-shared");
    let campaign = nats.campaign(&shared, &["--profile", &profile, "--seeds", "0..40"]);
    until("work waits", || nats.messages()[0] == 5);
    nats.kill();
    fs::remove_dir_all(&nats.dir).expect("it is there");
    nats.begin();
    let _worker = nats.worker(&["--jobs", "1"]);
    let run = ended(campaign);
    assert!(said(&run).starts_with("PASS  40 stories"), "{}", said(&run));
}

#[test]
fn a_queue_that_goes_away_for_good_ends_the_campaign_which_goes_on_without() {
    let Some(mut nats) = Nats::start("away") else { return };
    let [alone, shared] = ["away-alone", "away-shared"].map(folder);
    let more = ["--profile", "calls", "--seeds", "0..150"];
    let campaign = nats.campaign(&shared, &[&more[..], &["--wait", "2s"]].concat());
    let worker = nats.worker(&["--jobs", "1", "--wait", "2s"]);
    until("results are stored", || count(&shared) > 0);
    nats.kill();
    let run = ended(campaign);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let why = String::from_utf8_lossy(&run.stderr).into_owned();
    let address = nats.url();
    assert!(why.contains(&format!("the queue at {address} has not worked for 2 s")), "{why}");
    assert!(why.contains("the same command goes on"), "{why}");
    let run = ended(worker);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let before = count(&shared);
    assert!((1..150).contains(&before), "{before}");
    let rest = glare(&[&["campaign", "--out", &shared], &more[..]].concat());
    assert!(rest.out().starts_with("PASS  150 stories"), "{}{}", rest.out(), rest.err());
    assert_eq!(glare(&[&["campaign", "--out", &alone], &more[..]].concat()).code(), 0);
    assert_eq!(stored(&alone), stored(&shared));
}

#[test]
fn what_is_wrong_with_a_queue_is_said() {
    let dir = folder("queue-wrong");
    let nobody = format!("nats://me:secret@127.0.0.1:{}", free_port());
    for (words, code, says) in [
        (&["campaign", "--out", &dir, "--queue", &nobody][..], 3, "cannot be reached"),
        (&["worker", "--queue", &nobody], 3, "is `nats-server -js` running?"),
        (&["worker"], 2, "--queue"),
        (&["worker", "--queue", "http://127.0.0.1:4222"], 2, "such as `nats://127.0.0.1:4222`"),
        (&["worker", "--queue", "nats://"], 2, "such as `nats://127.0.0.1:4222`"),
        (&["campaign", "--out", &dir, "--wait", "1s"], 2, "--queue"),
        (&["campaign", "--out", &dir, "--queue", &nobody, "--jobs", "2"], 2, "cannot be used with"),
        (&["worker", "--queue", &nobody, "--idle", "soon"], 2, "soon"),
    ] {
        let run = glare(words);
        assert_eq!(run.code(), code, "{words:?}: {}{}", run.out(), run.err());
        assert!(run.err().contains(says), "{words:?}: {}", run.err());
        assert!(!run.err().contains("secret"), "{words:?}: {}", run.err());
    }
    let Some(plain) = Nats::start_with("plain", &[]) else { return };
    let run = glare(&["worker", "--queue", &plain.url()]);
    assert!(run.code() == 2 && run.err().contains("start it with `nats-server -js`"), "{}", run.err());
    let Some(closed) = Nats::start_with("closed", &["-js", "--user", "me", "--pass", "secret"]) else { return };
    let run = glare(&["worker", "--queue", &closed.url()]);
    assert!(run.code() == 2 && run.err().contains("refuses this client"), "{}", run.err());
    let url = closed.url().replace("//", "//me:secret@");
    let run = glare(&["worker", "--queue", &url, "--idle", "300ms"]);
    assert!(run.code() == 0 && run.out().starts_with("0 stories played"), "{}{}", run.out(), run.err());
}

#[test]
fn a_worker_runs_the_programs_of_a_campaign_only_if_it_is_told_so() {
    let Some(nats) = Nats::start("programs") else { return };
    let dir = folder("queue-programs");
    let mut campaign = nats.campaign(&dir, &["--server", "true", "--seeds", "0..3"]);
    let careful = ended(nats.worker(&["--idle", "4s"]));
    let why = String::from_utf8_lossy(&careful.stderr).into_owned();
    let says = "a campaign runs the server program `true`, and is left to workers with --allow-programs";
    assert_eq!(why.matches(says).count(), 1, "{why}");
    assert!(!campaign.has_ended());
    let _worker = nats.worker(&["--allow-programs"]);
    let run = ended(campaign);
    let why = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(3) && why.contains("the server program cannot be reached"), "{why}");
}

#[test]
fn ctrl_c_ends_both_and_what_is_no_work_stops_nobody() {
    let Some(nats) = Nats::start("ends") else { return };
    let dir = folder("queue-ends");
    let more = ["--profile", "calls", "--seeds", "0..120"];
    nats.worker(&["--idle", "100ms"]).wait(); // makes the streams
    nats.publish("glare.work.x.y", "nonsense");
    const UNSOUND: &str = concat!(
        r#"{"campaign":"x","plan":{"tool":"glare "#,
        env!("CARGO_PKG_VERSION"),
        r#"","profiles":[],"dialect":null,"program":null,"mutant":null,"guided":false},"twice":false,"stories":[]}"#
    );
    nats.publish("glare.work.x.z", UNSOUND);
    let campaign = nats.campaign(&dir, &more);
    let worker = nats.worker(&["--jobs", "1"]);
    until("results are stored", || count(&dir) > 0);
    campaign.signal("INT");
    let run = ended(campaign);
    let why = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.code() == Some(130) && why.contains("interrupted: the same command goes on"), "{why}");
    assert!((1..120).contains(&count(&dir)));
    worker.signal("INT");
    let run = ended(worker);
    assert_eq!(run.status.code(), Some(130), "{}", said(&run));
    let why = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(why.contains("is no work: expected") && why.contains("is no work: a profile is missing"), "{why}");
    assert_eq!(nats.messages()[0], 0, "what nobody has begun is taken back");
    let _worker = nats.worker(&["--jobs", "2"]);
    let rest = ended(nats.campaign(&dir, &more));
    assert!(said(&rest).starts_with("PASS  120 stories"), "{}", said(&rest));
}

#[test]
fn a_story_that_kills_its_workers_is_a_violation_and_the_campaign_goes_on() {
    let Some(nats) = Nats::start("deadly") else { return };
    nats.deliver_again_after(Duration::from_secs(2));
    let shared = folder("queue-deadly");
    let more = deadly("queue-deadly", false);
    let mut more: Vec<_> = more.iter().map(String::as_str).collect();
    more.extend(["--seeds", "0..12"]);
    let (run, died) = nats.with_mortal_workers(&shared, &more);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let found = deaths(&shared, "it ends the process that plays it: SIGABRT");
    assert!(found.len() >= 2, "{}", said(&run));
    assert_eq!(count(&shared), 12, "no other story is lost");
    // Two batches: two workers for each, at most. Then nobody dies any more.
    assert!((2..=4).contains(&died), "{died} workers");
    assert_eq!(nats.messages()[0], 0, "no work is left in the queue");
}

#[test]
fn a_story_that_takes_its_worker_with_it_whatever_plays_it_is_given_up() {
    let Some(nats) = Nats::start("taken") else { return };
    nats.deliver_again_after(Duration::from_secs(2));
    let shared = folder("queue-taken");
    let more = deadly("queue-taken", true);
    let mut more: Vec<_> = more.iter().map(String::as_str).collect();
    more.extend(["--seeds", "0..4"]);
    let (run, died) = nats.with_mortal_workers(&shared, &more);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let found = deaths(&shared, "no worker that has begun to play it has given a result, 4 times");
    assert!(!found.is_empty() && died >= 5, "{died} workers: {}", said(&run));
    assert_eq!(count(&shared), 4, "no other story is lost");
    assert_eq!(nats.messages()[0], 0, "no work is left in the queue");
}

// ---- the programs

/// A program of a test, which ends with the test.
pub(crate) struct Program(Option<Child>);

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not taken")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child().try_wait().expect("it is ours").is_some()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child().kill();
        self.wait();
    }

    fn wait(&mut self) {
        let _ = self.child().wait();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.0.as_ref().expect("it was not taken").id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for the end of a program.
pub(crate) fn ended(mut program: Program) -> Output {
    until("the program ends", || program.has_ended());
    program.0.take().expect("it was not taken").wait_with_output().expect("it has ended")
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < 4 * PATIENCE, "{what}");
        sleep(Duration::from_millis(50));
    }
}

/// All that the store of a folder has, but the time.
fn stored(dir: &str) -> (Vec<(StoryId, Story)>, u64) {
    let (_, campaign) = Campaign::load(Path::new(dir)).unwrap_or_else(|wrong| panic!("{wrong}"));
    (campaign.stories, campaign.situations)
}

/// How many stories the store of a folder has; none if there is no store yet.
fn count(dir: &str) -> usize {
    Campaign::load(Path::new(dir)).map_or(0, |(_, campaign)| campaign.stories.len())
}

/// A NATS server with a folder of its own.
pub(crate) struct Nats {
    file: PathBuf,
    port: u16,
    dir: PathBuf,
    more: Vec<String>,
    server: Option<Program>,
}

impl Nats {
    pub(crate) fn start(name: &str) -> Option<Self> {
        Self::start_with(name, &["-js"])
    }

    /// `None` if NATS cannot be installed.
    fn start_with(name: &str, more: &[&str]) -> Option<Self> {
        let file = debian("nats-server", "nats-server")?;
        let dir = PathBuf::from(folder(&format!("nats-{name}")));
        let more = more.iter().map(|&word| word.to_owned()).collect();
        let mut nats = Self { file, port: free_port(), dir, more, server: None };
        nats.begin();
        Some(nats)
    }

    /// Starts it, or starts it again with the same files.
    fn begin(&mut self) {
        let mut command = Command::new(&self.file);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]).arg(&self.dir).args(&self.more);
        command.args(["-l", "/dev/null"]);
        self.server = Some(Program::start(&mut command));
        until("NATS listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// `kill -9`
    fn kill(&mut self) {
        self.server.as_mut().expect("it runs").kill();
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn worker(&self, more: &[&str]) -> Program {
        Program::start(program().args(["worker", "--queue", &self.url()]).args(more))
    }

    fn campaign(&self, dir: &str, more: &[&str]) -> Program {
        Program::start(program().args(["campaign", "--out", dir, "--queue", &self.url()]).args(more))
    }

    /// Plays a campaign with a worker in whose place another one comes when it dies. Returns how many have died.
    fn with_mortal_workers(&self, dir: &str, more: &[&str]) -> (Output, usize) {
        let mut campaign = self.campaign(dir, more);
        let start = || self.worker(&["--jobs", "1", "--allow-programs"]);
        let (mut worker, mut died) = (start(), 0);
        until("the campaign ends", || {
            if worker.has_ended() {
                died += 1;
                worker = start();
            }
            campaign.has_ended()
        });
        (ended(campaign), died)
    }

    /// Lets a worker that says nothing be dead after this time, and not after that which workers ask for.
    fn deliver_again_after(&self, time: Duration) {
        self.worker(&["--idle", "100ms"]).wait(); // makes the stream, and the consumer
        self.ask(async |jetstream| {
            let stream = jetstream.get_stream("glare-work").await.expect("a worker has made it");
            let config = async_nats::jetstream::consumer::pull::Config {
                durable_name: Some("workers".to_owned()),
                ack_wait: time,
                ..Default::default()
            };
            stream.delete_consumer("workers").await.expect("a worker has made it");
            stream.create_consumer(config).await.expect("NATS allows it");
        });
    }

    fn publish(&self, subject: &'static str, text: &'static str) {
        self.ask(async |jetstream| {
            jetstream.publish(subject, text.into()).await.expect("it is sent").await.expect("it is stored");
        });
    }

    /// How many messages the streams of work and of results have.
    fn messages(&self) -> [u64; 2] {
        self.ask(async |jetstream| {
            let mut counts = [0; 2];
            for (name, count) in ["glare-work", "glare-results"].into_iter().zip(&mut counts) {
                if let Ok(stream) = jetstream.get_stream(name).await {
                    *count = stream.cached_info().state.messages;
                }
            }
            counts
        })
    }

    /// How many times work was given to workers; `None` while nobody has made their consumer.
    fn delivered(&self) -> Option<u64> {
        self.ask(async |jetstream| {
            let stream = jetstream.get_stream("glare-work").await.ok()?;
            let mut workers: PullConsumer = stream.get_consumer("workers").await.ok()?;
            Some(workers.info().await.ok()?.delivered.consumer_sequence)
        })
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(async_nats::jetstream::Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = async_nats::connect(self.url()).await.expect("NATS listens");
            question(async_nats::jetstream::new(client)).await
        })
    }
}

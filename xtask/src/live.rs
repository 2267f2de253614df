//! `glare conformance --url … --scenario …`

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context;
use conformance::Target;
use reports::model::{self, Opening, Suite};
use reports::{Live, Writer};
use sim::live::{Endpoint, Script, Speech, Upstream};
use sim::run::{Crash, Outcome};

/// The server cannot be reached.
const UNREACHABLE: u8 = 3;
/// Bad usage, or a bad file.
const USAGE: u8 = 2;
/// Every shipped scenario that can be played.
const ALL: &str = "all";

/// What is played instead of asking cases.
#[derive(clap::Args)]
pub(crate) struct Scenarios {
    /// Plays scenarios in real time instead of asking cases: names, TOML files, or `all` that can be played
    #[arg(long = "scenario", value_name = "NAME|FILE", num_args = 1.., requires = "url",
        conflicts_with_all = ["cases", "groups", "level", "slow", "known", "requirements", "list", "stun", "turn", "deadline", "sim", "record", "repeat"])]
    scenarios: Vec<String>,
    /// Seconds between the server's pings: whoever is gone without a word is to be noticed within four of them and five seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, requires = "scenarios",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    heartbeat: u32,
}

/// Against which server, and where to tell of it.
pub(crate) struct Setting<'a> {
    pub(crate) target: Target,
    pub(crate) dialect: &'a str,
    pub(crate) seed: u64,
    /// Scenarios at the same time.
    pub(crate) jobs: usize,
    pub(crate) out: Option<&'a Path>,
    /// Whether programs read what is printed.
    pub(crate) json: bool,
}

/// A scenario that is going to be played.
struct Part {
    called: String,
    script: Script,
    seed: u64,
    remarks: Vec<String>,
}

type Played = (Result<Outcome, Crash>, Duration);

impl Scenarios {
    /// Whether scenarios are to be played.
    pub(crate) fn asks(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// Plays them and prints what was found.
    pub(crate) fn run(&self, setting: &Setting<'_>) -> anyhow::Result<ExitCode> {
        let Some(speech) = Speech::named(setting.dialect) else {
            let spoken: Vec<_> = Speech::names().collect();
            return Ok(refuse(&format!(
                "--scenario: the clients of scenarios speak {}, not `{}`; any dialect file can be asked cases: leave --scenario out",
                spoken.join(", "),
                setting.dialect
            )));
        };
        let parts = match self.parts(speech, setting.seed)? {
            Ok(parts) => parts,
            Err(refused) => return Ok(refuse(&refused)),
        };
        let target = match self.target(setting, speech) {
            Ok(target) => target,
            Err(error) => return Ok(refuse(&error)),
        };
        if let Err(tried) = target.reach() {
            let unreachable = conformance::Unreachable { url: setting.target.shown(), tried: vec![tried] };
            return Ok(crate::conformance::refuse(&unreachable, UNREACHABLE));
        }
        // Where everybody meets everybody, two scenarios would.
        let jobs = if speech.is_one_room() { 1 } else { setting.jobs };
        announce(&parts, jobs);
        let mut sink = Sink::open(setting, &parts, self.again(setting, &parts))?;
        let start = now();
        let mut passed = 0;
        let mut is_first = true;
        play(&parts, &target, jobs, |part, (played, wall)| {
            if !std::mem::take(&mut is_first) && !setting.json {
                anstream::println!();
            }
            passed += usize::from(played.as_ref().is_ok_and(Outcome::passed));
            sink.take(&self.again(setting, [part]), part, setting, (played, wall))
        })?;
        sink.close(start.elapsed())?;
        if parts.len() > 1 && !setting.json {
            anstream::println!("\n{passed} of {} scenarios pass", parts.len());
        }
        Ok(if passed == parts.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The scenarios as they can be played, or why one of those that were named cannot be.
    fn parts(&self, speech: Speech, seed: u64) -> anyhow::Result<Result<Vec<Part>, String>> {
        let mut parts = Vec::new();
        let mut refused = Vec::new();
        for called in &self.scenarios {
            if called == ALL {
                for shipped in scenarios::shipped() {
                    match Part::of(shipped.name, speech, seed, parts.len())? {
                        Ok(part) => parts.push(part),
                        Err(why) => anstream::eprintln!("left out: {why}"),
                    }
                }
                continue;
            }
            match Part::of(called, speech, seed, parts.len())? {
                Ok(part) => parts.push(part),
                Err(why) => refused.push(why),
            }
        }
        Ok(match (refused.is_empty(), parts.is_empty()) {
            (false, _) => Err(refused.join("\n")),
            (true, true) => Err("no shipped scenario can be played here".to_owned()),
            (true, false) => Ok(parts),
        })
    }

    fn target(&self, setting: &Setting<'_>, speech: Speech) -> Result<sim::live::Target, String> {
        let target = &setting.target;
        let mut upstream = Upstream::new(target.host(), target.port());
        if let Some(config) = target.tls_config()? {
            upstream = upstream.with_tls(config)?;
        }
        let endpoint = Endpoint::of_url(target.url(), target.headers().to_vec());
        let endpoint = Arc::new(endpoint.ok_or("the URL has no host: write ws://HOST:PORT/PATH")?);
        let heartbeat = Duration::from_secs(self.heartbeat.into());
        Ok(sim::live::Target { upstream, endpoint, speech, heartbeat })
    }

    /// The command that plays scenarios again. Secrets stay out of it.
    fn again<'p>(&self, setting: &Setting<'_>, parts: impl IntoIterator<Item = &'p Part>) -> String {
        let target = &setting.target;
        let mut words = vec!["conformance".to_owned(), "--url".to_owned(), target.shown()];
        if setting.dialect != "mesh" {
            words.extend(["--dialect".to_owned(), setting.dialect.to_owned()]);
        }
        if target.is_insecure() {
            words.push("--insecure".to_owned());
        }
        if !target.headers().is_empty() {
            words.extend(["--header", "…"].map(str::to_owned));
        }
        if self.heartbeat != 20 {
            words.extend(["--heartbeat".to_owned(), self.heartbeat.to_string()]);
        }
        words.push("--scenario".to_owned());
        words.extend(parts.into_iter().map(|part| part.called.clone()));
        reports::command_line(&crate::program(), words)
    }
}

impl Part {
    /// The scenario of that name as it can be played, the how-manieth of those that are, or why it cannot be.
    fn of(called: &str, speech: Speech, seed: u64, number: usize) -> anyhow::Result<Result<Self, String>> {
        // Its own: scenarios that are played at the same time must not meet.
        let seed = seed.wrapping_add(number as u64);
        let script = match Script::of(&scenarios::load(called)?, speech, seed) {
            Ok(script) => script,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let mut remarks = Vec::new();
        if !script.absent.is_empty() {
            remarks.push(format!("Not there: {}, who speak another dialect.", script.absent.join(", ")));
        }
        if !script.unasked.is_empty() {
            let probes = script.unasked.join(", ");
            remarks.push(format!("Not asked: {probes}, which only a simulated network brings about."));
        }
        Ok(Ok(Self { called: called.to_owned(), script, seed, remarks }))
    }

    fn seconds(&self) -> f64 {
        self.script.scenario.duration.as_secs_f64()
    }
}

/// Says how long it will take: nothing can be hurried.
fn announce(parts: &[Part], jobs: usize) {
    let each: Vec<_> =
        parts.iter().map(|part| format!("{} ({} s)", part.script.scenario.name, part.seconds())).collect();
    // As the threads take them: each the next.
    let mut busy = vec![0.0f64; jobs.min(parts.len()).max(1)];
    for part in parts {
        let first = busy.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("there is a thread");
        *first += part.seconds();
    }
    let longest = busy.iter().copied().fold(0.0, f64::max);
    anstream::eprintln!("plays in real time, {longest} s: {}", each.join(", "));
}

/// Plays all, some at the same time, and hands over what came of each, in their order.
fn play(
    parts: &[Part],
    target: &sim::live::Target,
    jobs: usize,
    mut take: impl FnMut(&Part, Played) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (results, rest) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(parts.len()) {
            let (results, next) = (results.clone(), &next);
            scope.spawn(move || {
                while let Some((number, part)) = Some(next.fetch_add(1, Relaxed)).and_then(|n| Some((n, parts.get(n)?)))
                {
                    let start = now();
                    let played = sim::live::run(&part.script, target, part.seed);
                    if results.send((number, (played, start.elapsed()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        let mut waiting = std::collections::BTreeMap::new();
        let mut due = 0;
        for (number, played) in rest {
            waiting.insert(number, played);
            while let Some(played) = waiting.remove(&due) {
                take(&parts[due], played)?;
                due += 1;
            }
        }
        Ok(())
    })
}

/// Where what was played is told of.
struct Sink {
    dir: Option<(PathBuf, Writer<io::BufWriter<std::fs::File>>)>,
    stdout: Option<Writer<io::Stdout>>,
}

impl Sink {
    /// `command` is not the arguments as they were given: a header may be a secret.
    fn open(setting: &Setting<'_>, parts: &[Part], command: String) -> anyhow::Result<Self> {
        let names: Vec<_> = parts.iter().map(|part| part.script.scenario.name.as_str()).collect();
        let opening = Opening {
            version: model::VERSION,
            suite: Suite::Conformance,
            name: format!("{}: {}", setting.dialect, names.join(", ")),
            tool: crate::TOOL.to_owned(),
            target: setting.target.shown(),
            command,
            started_ms: crate::unix_ms(),
        };
        let dir = setting.out.map(|dir| {
            let writer = Writer::create(dir, &opening).with_context(|| format!("cannot write to {}", dir.display()));
            writer.map(|writer| (dir.to_owned(), writer))
        });
        let stdout = setting.json.then(|| Writer::new(io::stdout(), &opening));
        Ok(Self { dir: dir.transpose()?, stdout: stdout.transpose()? })
    }

    fn take(&mut self, again: &str, part: &Part, setting: &Setting<'_>, (played, wall): Played) -> anyhow::Result<()> {
        let scenario = &part.script.scenario;
        let (url, remarks) = (&*setting.target.shown(), &part.remarks[..]);
        let live = Live { scenario, called: &part.called, played: played.as_ref(), url, remarks, again };
        if !setting.json {
            anstream::print!("{}", live.text(reports::terminal_width()));
        }
        let mut events = None;
        if let Some((dir, _)) = &self.dir {
            let folder = live.write(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
            events = played.is_ok().then(|| format!("{}/events.jsonl", folder.display()));
        }
        let case = live.case(wall, events);
        if let Some(stdout) = &mut self.stdout {
            stdout.case(case.clone())?;
        }
        if let Some((dir, writer)) = &mut self.dir {
            writer.case(case).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        Ok(())
    }

    fn close(self, wall: Duration) -> anyhow::Result<()> {
        if let Some(stdout) = self.stdout {
            stdout.close(wall)?;
        }
        if let Some((dir, writer)) = self.dir {
            writer.close(wall).with_context(|| format!("cannot write to {}", dir.display()))?;
        }
        Ok(())
    }
}

fn refuse(why: &str) -> ExitCode {
    anstream::eprintln!("{}error{}: {why}", crate::RED.render(), crate::RED.render_reset());
    ExitCode::from(USAGE)
}

#[allow(clippy::disallowed_methods)] // the time that a person waits, on a real network
fn now() -> Instant {
    Instant::now()
}

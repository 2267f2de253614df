//! `glare ask`: questions over the events of stored runs.

mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use reports::campaign::{FILE, StoryId};

use self::query::{Answers, Event, Pattern, Query, at, field};
use crate::campaign::Stories;
use crate::exit::NOTHING;
use crate::pool;

/// Answers that are printed of one run.
const SHOWN_MAX: usize = 20;
/// How deep folders are searched for runs.
const DEPTH_MAX: usize = 8;
/// Fields that stand before the others.
const FIRST: [&str; 4] = ["at", "node", "layer", "event"];

/// Find events in stored runs, and events that others precede or follow.
///
/// For example, `closed of X not preceded by channel-open of X within 60s` finds connections that were closed and had not
/// been open shortly before. The runs are those that `sim --out` has written into the folder; the stories of a campaign
/// are played again. Exit codes: 0 the question is answered, 2 wrong usage or an invalid file, 4 there is no run, or no
/// run has such an event.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder with runs, or of a campaign
    dir: PathBuf,
    /// The question: `EVENT`, or `EVENT [not] preceded by EVENT [within TIME]`, or the same with `followed by`. An EVENT is
    /// the name of an event, and may have `of NODE` and `KEY=VALUE`. A word in capitals stands for any value, the same
    /// one each time
    #[arg(value_name = "QUERY")]
    query: Query,
    /// Number of runs that are read or played at once [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
}

/// Where the events of a run are.
enum Source {
    File(PathBuf),
    Story(StoryId),
}

/// What a run has.
struct Asked {
    answers: Answers,
    /// The events that are shown.
    shown: Vec<String>,
    /// What there is of the names and keys in the question.
    seen: BTreeSet<String>,
    /// Names of events, if one in the question is missing.
    names: BTreeSet<String>,
}

/// Answers a question.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    std::panic::set_hook(Box::new(|_| {}));
    let Arguments { dir, query, jobs } = arguments;
    let mut sources = Vec::new();
    find(dir, DEPTH_MAX, &mut sources).with_context(|| format!("cannot read {}", dir.display()))?;
    let stories = dir.join(FILE).exists().then(|| Stories::load(dir)).transpose()?;
    sources.extend(stories.iter().flat_map(|stories| stories.finished().map(Source::Story)));
    let unfinished = stories.as_ref().map_or(0, Stories::unfinished);
    if unfinished > 0 {
        errln!("{}", not_asked(unfinished));
    }
    if sources.is_empty() {
        errln!("there is no run in {}: `sim --out DIR` writes one, and `campaign --out DIR` many", dir.display());
        return Ok(ExitCode::from(NOTHING));
    }
    let (runs, mut with, mut all, mut open, mut lost) = (sources.len(), 0, 0, 0, 0);
    let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
    let work =
        |source: &Source| events(source, stories.as_ref()).map(|events| events.map(|events| ask(query, &events)));
    pool::for_each_in_order(sources, jobs.map_or_else(pool::cores, usize::from), work, |source, asked| {
        let Some(asked) = asked? else {
            lost += 1;
            return Ok(());
        };
        let count = asked.answers.found.len();
        open += asked.answers.open;
        seen.extend(asked.seen);
        names.extend(asked.names);
        if count > 0 {
            (with, all) = (with + 1, all + count);
            match source {
                Source::File(file) => outln!("{}", file.parent().unwrap_or(dir).display()),
                Source::Story(story) => outln!("story {story}"),
            }
            asked.shown.iter().for_each(|line| outln!("  {line}"));
            if count > asked.shown.len() {
                outln!("  … and {} more", count - asked.shown.len());
            }
        }
        anyhow::Ok(())
    })?;
    outln!("{all} events in {with} of {} runs", runs - lost);
    if open > 0 {
        errln!("{open} more are too close to the end of their run to be judged");
    }
    if lost > 0 {
        errln!("{lost} stories cannot be played again: their bytes were not kept, or they do not finish");
    }
    Ok(said_of_missing(query, &seen, &names))
}

fn not_asked(count: usize) -> String {
    let stories = if count == 1 { "story was" } else { "stories were" };
    format!(
        "{count} {stories} not asked: a story that crashed has no events, and playing it again may end this program"
    )
}

/// Says which words of the question no run has. A misspelt one must not look like an answer.
fn said_of_missing(query: &Query, seen: &BTreeSet<String>, names: &BTreeSet<String>) -> ExitCode {
    let other = query.relation.as_ref().map(|relation| &relation.other);
    let mut code = ExitCode::SUCCESS;
    for pattern in [Some(&query.about), other].into_iter().flatten() {
        let Pattern { name, fields } = pattern;
        if !seen.contains(name) {
            let near = names.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
            let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
            errln!("no run has an event, message or layer `{name}`{near}");
            code = ExitCode::from(NOTHING);
            continue;
        }
        for (key, _) in fields.iter().filter(|(key, _)| !seen.contains(&format!("{name} {key}"))) {
            errln!("no `{name}` has a field `{key}`");
            code = ExitCode::from(NOTHING);
        }
    }
    code
}

/// The runs in a folder, in the order of their names.
fn find(dir: &Path, depth: usize, found: &mut Vec<Source>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            find(&path, depth - 1, found)?;
        } else if kind.is_file() && entry.file_name() == "events.jsonl" {
            found.push(Source::File(path));
        }
    }
    Ok(())
}

/// The events of a run; `None` if a story cannot be played again.
fn events(source: &Source, stories: Option<&Stories>) -> anyhow::Result<Option<Vec<Event>>> {
    match source {
        Source::File(file) => read(file).map(Some),
        Source::Story(story) => {
            let Ok(scenario) = stories.expect("it has the story").scenario(*story) else { return Ok(None) };
            let Ok(outcome) = sim::run::run(&Arc::new(scenario), story.seed()) else { return Ok(None) };
            let line = |event| serde_json::from_str(&outcome.record.json_line(event));
            let events = outcome.record.events.iter().map(line).collect::<Result<_, _>>();
            Ok(Some(events.expect("the record writes JSON objects")))
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Event>> {
    let lines =
        BufReader::new(fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?).lines();
    let mut events = Vec::new();
    for (number, line) in lines.enumerate() {
        let line = line.with_context(|| format!("cannot read {}", file.display()))?;
        match serde_json::from_str(&line) {
            Ok(event) => events.push(event),
            Err(error) => bail!("{}:{}: not an event: {error}", file.display(), number + 1),
        }
    }
    Ok(events)
}

fn ask(query: &Query, events: &[Event]) -> Asked {
    let answers = query.answers(events);
    let shown = answers.found.iter().take(SHOWN_MAX).map(|index| in_words(&events[*index])).collect();
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    let other = query.relation.as_ref().map(|relation| &relation.other);
    for pattern in [Some(&query.about), other].into_iter().flatten() {
        let named = events.iter().filter(|event| pattern.is_named(event));
        for event in named {
            let keys = pattern.fields.iter().filter(|(key, _)| field(event, key).is_some());
            seen.extend(keys.map(|(key, _)| format!("{} {key}", pattern.name)));
            seen.insert(pattern.name.clone());
        }
        if !seen.contains(&pattern.name) {
            let keys = ["event", "message", "layer"];
            names.extend(events.iter().flat_map(|event| keys.iter().filter_map(|key| field(event, key))));
        }
    }
    Asked { answers, shown, seen, names }
}

/// An event on one line.
fn in_words(event: &Event) -> String {
    let name = field(event, "event").or_else(|| field(event, "layer")).unwrap_or_default();
    let rest: BTreeMap<_, _> = event.iter().filter(|(key, _)| !FIRST.contains(&key.as_str())).collect();
    let rest: String = rest.keys().map(|key| format!(" {key}={}", field(event, key).unwrap_or_default())).collect();
    let line = format!("{:.3} s  {}  {name}{rest}", at(event), field(event, "node").unwrap_or_default());
    line.split(char::is_control).collect::<Vec<_>>().join(" ")
}

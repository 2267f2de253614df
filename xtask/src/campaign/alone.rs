//! A story in a process of its own. Some stories end the process that plays them: a library overflows the stack or aborts,
//! or the memory is not enough. In a process of its own such a story is a violation like any other.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;

use anyhow::Context as _;
use reports::campaign::{Plan, StoryId};

use super::findings::{self, Result};
use super::queue::{Played, Results, Task, Work};
use super::schedule::Job;
use super::setup::Setup;
use crate::sink::cannot_write;

/// The command that plays a story from its standard input. No person needs it.
pub(crate) const COMMAND: &str = "play-alone";
/// How often a process must end before that is the story's fault: somebody else may have killed one.
const ATTEMPTS: usize = 2;

/// Plays a story in a process of its own.
///
/// # Errors
/// No process can be started.
pub(super) fn result(plan: &Plan, job: &Job, twice: bool) -> anyhow::Result<Result> {
    let (plan, stories) = (plan.clone(), vec![Task::of(job)]);
    let work = Work { campaign: String::new(), plan, twice, alone: true, stories };
    let json = serde_json::to_vec(&work).expect("work has a JSON form");
    let mut end = String::new();
    for _ in 0..ATTEMPTS {
        match attempt(&json)? {
            Ok(result) => return Ok(result),
            Err(how) => end = how,
        }
    }
    Ok(findings::unplayed(&format!("it ends the process that plays it: {end}")))
}

/// Plays a story. The inner error says how the process ended.
fn attempt(work: &[u8]) -> anyhow::Result<std::result::Result<Result, String>> {
    // This very program, even if its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is for the campaign, not for the story.
    command.process_group(0);
    let mut child = command.spawn().context("cannot start a process for a single story")?;
    // If it has ended already, its status says so.
    let _ = child.stdin.take().expect("it is piped").write_all(work);
    let output = child.wait_with_output().context("cannot wait for the process of a single story")?;
    let played = serde_json::from_slice::<Results>(&output.stdout).ok().and_then(|mut results| results.stories.pop());
    Ok(match played {
        Some(played) if output.status.success() => Ok(played.result()),
        _ => Err(in_words(output.status, &String::from_utf8_lossy(&output.stderr))),
    })
}

/// How a process ended, and its last words.
fn in_words(status: ExitStatus, said: &str) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(4), _) => "SIGILL".to_owned(),
        (Some(6), _) => "SIGABRT".to_owned(),
        (Some(7), _) => "SIGBUS".to_owned(),
        (Some(8), _) => "SIGFPE".to_owned(),
        (Some(9), _) => "SIGKILL, as if the memory were not enough".to_owned(),
        (Some(11), _) => "SIGSEGV".to_owned(),
        (Some(other), _) => format!("signal {other}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    };
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{how}: {}", last.trim()),
        None => how,
    }
}

/// The command: plays what it is given, and prints the result.
///
/// # Errors
/// The input is no work.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    // A panic inside a simulation is a finding.
    std::panic::set_hook(Box::new(|_| {}));
    let mut json = Vec::new();
    io::stdin().lock().read_to_end(&mut json)?;
    let work: Work = serde_json::from_slice(&json).context("the input is no work")?;
    let setup = Setup::of_plan(&work.plan)?;
    let play = |story: &Task| {
        let job = story.job();
        Played::of(job.id, findings::result(&job, job.scenario(&setup), work.twice))
    };
    let results = Results { twice: work.twice, stories: work.stories.iter().map(play).collect(), begun: None };
    out!("{}", serde_json::to_string(&results).expect("results have a JSON form"));
    Ok(ExitCode::SUCCESS)
}

/// The file beside a campaign's store with the stories that are being played: if the program dies, they are those that may
/// have ended it.
const FILE: &str = "playing";
/// Bytes of a story in that file.
const LINE: usize = 24;

/// The stories that are being played.
pub(super) struct Playing {
    path: PathBuf,
    file: File,
    places: Mutex<Vec<Option<StoryId>>>,
}

impl Playing {
    /// Begins to note stories. Returns also those that an earlier program played when it died.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn begin(dir: &Path) -> anyhow::Result<(Self, Vec<StoryId>)> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let suspects: Vec<StoryId> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| cannot_write(dir))?;
        file.set_len((suspects.len() * LINE) as u64).with_context(|| cannot_write(dir))?;
        let playing = Self { path, file, places: Mutex::new(suspects.iter().copied().map(Some).collect()) };
        for (place, suspect) in suspects.iter().enumerate() {
            playing.write(place, Some(*suspect));
        }
        Ok((playing, suspects))
    }

    /// Notes a story while `play` plays it. A suspect is noted already, and stays so until its result is stored: else it
    /// would end the next call, if another story ends this one.
    pub(super) fn note<T>(&self, story: StoryId, play: impl FnOnce() -> T) -> T {
        if self.places().contains(&Some(story)) {
            return play();
        }
        {
            let mut places = self.places();
            let place = places.iter().position(Option::is_none).unwrap_or(places.len());
            if place == places.len() {
                places.push(None);
            }
            places[place] = Some(story);
            self.write(place, Some(story));
        }
        let played = play();
        self.forget(story);
        played
    }

    /// Removes a story.
    pub(super) fn forget(&self, story: StoryId) {
        let mut places = self.places();
        if let Some(place) = places.iter().position(|place| *place == Some(story)) {
            places[place] = None;
            self.write(place, None);
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Vec<Option<StoryId>>> {
        self.places.lock().expect("nothing panics while it holds them")
    }

    /// Without its note, a story that ends the program is found one call later. So a full disk is no error here.
    fn write(&self, place: usize, story: Option<StoryId>) {
        let story = story.map_or_else(String::new, |story| story.to_string());
        let line = format!("{story:width$}\n", width = LINE - 1);
        let _ = self.file.write_all_at(line.as_bytes(), (place * LINE) as u64);
    }

    /// Nothing is being played any more.
    pub(super) fn end(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_said_in_words() {
        let ended = |status, said| in_words(ExitStatus::from_raw(status), said);
        assert_eq!(ended(6, "\nthread 'sim' overflowed\nfatal error\n\n"), "SIGABRT: fatal error");
        assert_eq!(ended(9, ""), "SIGKILL, as if the memory were not enough");
        assert_eq!(ended(0x0200, "glare: it is no work"), "exit code 2: glare: it is no work");
        assert_eq!(ended(31, ""), "signal 31");
    }

    #[test]
    fn what_is_played_is_noted_until_it_is_over() {
        let dir = std::env::temp_dir().join(format!("glare-playing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a scratch folder");
        let (first, none) = Playing::begin(&dir).expect("it can be written");
        assert!(none.is_empty());
        let [a, b, c] = [StoryId::Seed(3), StoryId::Varied(u64::MAX), StoryId::Seed(5)];
        first.note(a, || {});
        let noted = first.note(b, || first.note(c, || Playing::begin(&dir).expect("it is there").1));
        assert_eq!(noted, [b, c]);
        // A suspect that was not played stays one.
        let (second, suspects) = Playing::begin(&dir).expect("it is there");
        assert!(suspects.is_empty(), "all are over: {suspects:?}");
        second.write(0, Some(a));
        let (third, suspects) = Playing::begin(&dir).expect("it is there");
        assert_eq!(suspects, [a]);
        third.note(c, || {});
        assert_eq!(Playing::begin(&dir).expect("it is there").1, [a]);
        third.note(a, || {});
        assert_eq!(Playing::begin(&dir).expect("it is there").1, [a]);
        third.forget(a);
        assert!(Playing::begin(&dir).expect("it is there").1.is_empty());
        third.end();
        assert!(!dir.join(FILE).exists());
        let _ = std::fs::remove_dir_all(&dir);
    }
}

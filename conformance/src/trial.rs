//! A live trial of a dialect: two clients meet and signal, and the trial shows how each message was understood.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cx::Cx;
use crate::dial::Dial;
use crate::dialect::file::Framing;
use crate::dialect::{Dialect, Meaning, shipped};
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::net::Net;
use crate::target::{Target, Unreachable};
use crate::transcript::{Line, LineKind, Log, Transcript};
use crate::words::cut;

/// Limit for the whole trial.
const LIMIT: Duration = Duration::from_secs(15);

/// How long a server may take to answer a message of a trial.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of lines of an exchange that show in which protocol it is.
const EXCHANGE_LINES_MAX: usize = 12;

/// The result of a trial.
#[derive(Clone, Debug)]
pub struct Trial {
    dialect: Arc<Dialect>,
    transcript: Transcript,
    failed: Option<String>,
}

/// Two clients connect, join and signal to each other as the dialect says.
///
/// # Errors
/// No connection of the dialect's kind can be opened.
pub async fn trial(dial: impl Dial, target: &Target, dialect: &Arc<Dialect>, seed: u64) -> Result<Trial, Unreachable> {
    let net = Net { dial: Arc::new(dial), target: target.clone(), patience: PATIENCE, opening: Opening::default() };
    let env = Env::new(net, dialect, Duration::from_millis(20), seed);
    let log = Log::new();
    let cx = Cx::new(Arc::new(env), log.clone());
    let room = cx.room();
    let unreachable = |why| Unreachable { url: target.shown(), tried: vec![why] };
    let role = cx.file().roles.as_ref().map(|roles| roles.offers.clone());
    match cx.connect_as("probe", &room, role.as_deref()).await {
        Err(stop) => return Err(unreachable(stop.into_why())),
        Ok(probe) => probe.close().await,
    }
    let meeting = async {
        let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await
    };
    let failed = match timeout(LIMIT, meeting).await {
        Ok(Ok(())) => None,
        Ok(Err(stop)) => Some(stop.into_why()),
        Err(_) => Some(format!("two clients could not signal to each other within {} s", LIMIT.as_secs())),
    };
    let mut transcript = log.snapshot().0;
    transcript.redact(&target.secrets());
    Ok(Trial { dialect: Arc::clone(dialect), transcript, failed })
}

/// The shipped dialect, apart from `asked`, in which two clients can signal to each other on this server: at the
/// target's own path, or at the one that is usual for the dialect.
pub async fn fitting(dial: impl Dial, target: &Target, asked: &str, seed: u64) -> Option<Fit> {
    let mut trials = JoinSet::new();
    let names = shipped().filter(|name| *name != asked);
    for (number, name) in names.enumerate() {
        let Ok(dialect) = Dialect::load(name) else { continue };
        // The command of an adapter says nothing about the server.
        if dialect.file.connection.framing == Framing::Adapter {
            continue;
        }
        let usual = target.at(&Target::path_of(dialect.example()));
        let targets = if usual == *target { vec![usual] } else { vec![target.clone(), usual] };
        let (dial, dialect) = (dial.clone(), Arc::new(dialect));
        trials.spawn(async move {
            for target in targets {
                let trial = trial(dial.clone(), &target, &dialect, seed).await;
                if trial.is_ok_and(|trial| trial.works()) {
                    return Some((number, Fit { dialect: name, url: target.shown() }));
                }
            }
            None
        });
    }
    let mut found = Vec::new();
    while let Some(trial) = trials.join_next().await {
        found.extend(trial.ok().flatten());
    }
    // Several dialects may be alike. The first one in order is the answer in every run.
    found.into_iter().min_by_key(|(number, _)| *number).map(|(_, fit)| fit)
}

/// A dialect that fits a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its name.
    pub dialect: &'static str,
    /// The URL at which it fits, without the values of its query, which may be secret.
    pub url: String,
}

impl Trial {
    /// Whether the server has answered, and none of its messages is one of the dialect.
    pub fn is_foreign(&self) -> bool {
        let mut heard = self.transcript.lines.iter().filter(|line| line.kind == LineKind::Hears).peekable();
        !self.works() && heard.peek().is_some() && heard.all(|line| self.meaning(&line.text) == Meaning::Other)
    }

    /// Whether the server has sent a message of the dialect.
    pub fn is_understood(&self) -> bool {
        let mut heard = self.transcript.lines.iter().filter(|line| line.kind == LineKind::Hears);
        heard.any(|line| self.meaning(&line.text) != Meaning::Other)
    }

    /// The first messages that were sent and received.
    pub fn exchange(&self) -> String {
        let mut out = String::new();
        for line in self.transcript.lines.iter().take(EXCHANGE_LINES_MAX) {
            let _ = writeln!(out, "  {}", self.shown(line));
        }
        out
    }

    fn shown(&self, line: &Line) -> String {
        let name = self.transcript.clients.get(line.client).map_or("?", String::as_str);
        let arrow = match line.kind {
            LineKind::Sends => "→",
            LineKind::Hears => "←",
            LineKind::Note => "·",
        };
        format!("{name:<6} {arrow} {}", cut(&line.text, 160))
    }

    fn meaning(&self, text: &str) -> Meaning {
        // For Socket.IO, skip the packet type before the list.
        let message = text.find(['{', '[']).map_or(text, |at| &text[at..]);
        match self.dialect.read(text) {
            event if event.what == Meaning::Other => self.dialect.read(message).what,
            event => event.what,
        }
    }

    /// Whether two clients can signal to each other.
    pub fn works(&self) -> bool {
        self.failed.is_none()
    }

    /// The messages that were sent and received, and how each was understood.
    pub fn text(&self) -> String {
        let mut out = "\n  A trial: two clients join and signal to each other.\n\n".to_owned();
        for line in self.transcript.lines.iter().take(60) {
            let _ = writeln!(out, "  {}", self.shown(line));
            if line.kind == LineKind::Hears {
                let meaning = match &self.meaning(&line.text) {
                    Meaning::Is(name) => format!("`{}`", name.name()),
                    Meaning::Broken(name, why) => format!("`{}` {why}: not as the dialect declares", name.name()),
                    Meaning::Other => "no message of the dialect".to_owned(),
                };
                let _ = writeln!(out, "  {:<6}   is {meaning}", "");
            }
        }
        let verdict = match &self.failed {
            None => "It works: each receives the other's signals.".to_owned(),
            Some(why) => format!("It does not work: {why}."),
        };
        let _ = writeln!(out, "\n  {verdict}");
        out
    }
}

//! A live trial of a dialect: two clients meet and signal, and the trial shows how each message was understood.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cx::Cx;
use crate::dial::Dial;
use crate::dialect::{Dialect, Meaning};
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::net::Net;
use crate::target::{Target, Unreachable};
use crate::transcript::{LineKind, Log, Transcript};
use crate::words::cut;

/// Limit for the whole trial.
const LIMIT: Duration = Duration::from_secs(15);

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
    let net = Net {
        dial: Arc::new(dial),
        target: target.clone(),
        patience: Duration::from_secs(3),
        opening: Opening::default(),
    };
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
    Ok(Trial { dialect: Arc::clone(dialect), transcript: log.snapshot().0, failed })
}

impl Trial {
    /// Whether two clients can signal to each other.
    pub fn works(&self) -> bool {
        self.failed.is_none()
    }

    /// The messages that were sent and received, and how each was understood.
    pub fn text(&self) -> String {
        let mut out = "\n  A trial: two clients join and signal to each other.\n\n".to_owned();
        for line in self.transcript.lines.iter().take(60) {
            let name = self.transcript.clients.get(line.client).map_or("?", String::as_str);
            let arrow = match line.kind {
                LineKind::Sends => "→",
                LineKind::Hears => "←",
                LineKind::Note => "·",
            };
            let text = cut(&line.text, 160);
            let _ = writeln!(out, "  {name:<6} {arrow} {text}");
            if line.kind == LineKind::Hears {
                // For Socket.IO, skip the packet type before the list.
                let message = line.text.find(['{', '[']).map_or(line.text.as_str(), |at| &line.text[at..]);
                let event = match self.dialect.read(&line.text) {
                    event if event.what == Meaning::Other => self.dialect.read(message),
                    event => event,
                };
                let meaning = match &event.what {
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

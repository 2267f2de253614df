//! What a case is, and what it has to work with.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::client::Peer;
use crate::dial::DynDial;
use crate::target::Target;
use crate::transcript::Log;

/// One question to a server. Its slug never changes meaning once released.
pub struct Case {
    /// `group/name`, stable.
    pub slug: &'static str,
    /// How binding the rule is.
    pub level: Level,
    /// The rule in one sentence.
    pub asks: &'static str,
    /// Where a public specification says so; empty for a rule of the dialect alone.
    pub citations: &'static [Citation],
    /// Slugs of cases without which this one says nothing.
    pub needs: &'static [&'static str],
    /// Whether it could hurt other cases that run at the same time: it sends what a server might die of.
    pub alone: bool,
    pub(crate) run: Run,
}

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A public specification says MUST.
    Must,
    /// A public specification says SHOULD.
    Should,
    /// The dialect declares it.
    Declared,
}

/// A sentence of a public specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Citation {
    /// Document and section: `RFC 6455 §5.1`.
    pub section: &'static str,
    /// Where to read it.
    pub url: &'static str,
    /// The sentence, as it stands there.
    pub quote: &'static str,
}

/// A case's function.
pub(crate) type Run = for<'a> fn(&'a mut Cx) -> Running<'a>;
/// What it returns.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;

/// Why a case ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server breaks the rule.
    Fail { why: String, line: Option<usize> },
    /// It did not come to the question.
    Setup(String),
}

impl Stop {
    pub(crate) fn fail(why: impl Into<String>) -> Self {
        Self::Fail { why: why.into(), line: None }
    }

    /// A failure that a line of the transcript shows.
    pub(crate) fn at(why: impl Into<String>, line: usize) -> Self {
        Self::Fail { why: why.into(), line: Some(line) }
    }
}

impl Case {
    /// A case that needs nothing and may run beside others.
    pub(crate) const fn new(slug: &'static str, level: Level, asks: &'static str, run: Run) -> Self {
        Self { slug, level, asks, citations: &[], needs: &[], alone: false, run }
    }

    pub(crate) const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn cites(mut self, citations: &'static [Citation]) -> Self {
        self.citations = citations;
        self
    }

    pub(crate) const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Declared => "declared",
        })
    }
}

/// What all cases of a run share.
pub(crate) struct Env {
    pub(crate) dial: Arc<dyn DynDial>,
    pub(crate) target: Target,
    /// How long to wait for the next message that must come.
    pub(crate) patience: Duration,
    /// Makes room names unlike those of other runs on the same server.
    pub(crate) seed: u64,
    pub(crate) fresh: AtomicUsize,
}

/// What one case has to work with: it makes clients, rooms and words, and keeps the log.
pub(crate) struct Cx {
    pub(crate) env: Arc<Env>,
    pub(crate) log: Log,
}

impl Cx {
    /// A room that nobody else uses: at most 40 characters.
    pub(crate) fn room(&self) -> String {
        format!("glare-{:08x}-{}", self.env.seed as u32, self.env.fresh.fetch_add(1, Relaxed))
    }

    /// A word that nobody else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh.fetch_add(1, Relaxed))
    }

    /// Something worth telling that is no failure.
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        self.log.remark(remark.into());
    }

    /// A client that is connected and has not joined.
    pub(crate) async fn connect(&self, name: &str) -> Result<Peer, Stop> {
        Peer::connect(&self.env, &self.log, name)
            .await
            .map_err(|why| Stop::Setup(format!("{name} cannot connect: {why}")))
    }

    /// A client in a room.
    pub(crate) async fn join(&self, name: &str, room: &str) -> Result<Peer, Stop> {
        let mut peer = self.connect(name).await?;
        peer.join(room, None).await.map_err(|stop| match stop {
            Stop::Fail { why, .. } | Stop::Setup(why) => Stop::Setup(why),
        })?;
        Ok(peer)
    }

    /// Several clients in one room, in this order.
    pub(crate) async fn members<const N: usize>(&self, room: &str, names: [&str; N]) -> Result<[Peer; N], Stop> {
        let mut peers = Vec::with_capacity(N);
        for name in names {
            peers.push(self.join(name, room).await?);
        }
        let Ok(peers) = <[Peer; N]>::try_from(peers) else { unreachable!("there is one for each name") };
        Ok(peers)
    }

    /// Everything that `from` sent before is dealt with and on its way: `from` says something to its room, and each of
    /// `to`, members of it, hears that.
    pub(crate) async fn fence(&self, from: &mut Peer, to: &mut [&mut Peer]) -> Result<(), Stop> {
        let word = self.word("sentinel");
        from.say(&word);
        for peer in to {
            let what = format!("{}'s sentinel, a plain signal to its room", from.name);
            peer.until(&what, |message| message.says(&word)).await?;
        }
        Ok(())
    }
}

//! What a case is, and what it has to work with.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::Peer;
use crate::dial::DynDial;
use crate::dialect::file::{File, Framing, JoinAnswer, Reaction};
use crate::dialect::shape::Values;
use crate::dialect::{Act, Dialect, EventName, Feature, Id, Kind, Operation};
use crate::framing::End;
use crate::framing::adapter::Adapter;
use crate::recording::Did;
use crate::target::{Target, human};
use crate::transcript::{Log, What};

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
    /// Whether others may not run at the same time: it sends what a server might die of, or they would hide what it looks for.
    pub alone: bool,
    /// Whether it has to wait out a lifetime: asked only with `--slow`.
    pub slow: bool,
    /// What a dialect must have for it.
    pub(crate) requires: &'static [Feature],
    pub(crate) body: Body,
}

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A public specification says MUST.
    Must,
    /// A public specification says SHOULD.
    Should,
    /// A public specification says MAY, or it is worth knowing.
    May,
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

/// A case's function, by whom it asks.
pub(crate) enum Body {
    /// A signaling server.
    Signaling(Run),
    /// A STUN or TURN server.
    Network(crate::stun::Run),
}

/// A function that asks a signaling server.
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
    /// The dialect, or the server, has nothing that could be asked about.
    Unsupported(String),
}

impl Stop {
    pub(crate) fn fail(why: impl Into<String>) -> Self {
        Self::Fail { why: why.into(), line: None }
    }

    /// A failure that a line of the transcript shows.
    pub(crate) fn at(why: impl Into<String>, line: usize) -> Self {
        Self::Fail { why: why.into(), line: Some(line) }
    }

    /// The same with other words for a failure.
    pub(crate) fn reworded(self, reword: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Fail { why, line } => Self::Fail { why: reword(why), line },
            other => other,
        }
    }

    /// What is a failure elsewhere is here only why the question cannot be put.
    pub(crate) fn into_setup(self) -> Self {
        match self {
            Self::Fail { why, .. } => Self::Setup(why),
            other => other,
        }
    }
}

impl Level {
    /// Whether it binds at least like another. What the dialect declares binds like a MUST.
    pub(crate) fn binds_like(self, other: Self) -> bool {
        let rank = |level| match level {
            Self::Must | Self::Declared => 2,
            Self::Should => 1,
            Self::May => 0,
        };
        rank(self) >= rank(other)
    }
}

impl Case {
    /// The part of the slug before the slash.
    pub fn group(&self) -> &'static str {
        self.slug.split('/').next().unwrap_or_default()
    }

    /// A case that needs nothing and may run beside others.
    pub(crate) const fn new(slug: &'static str, level: Level, asks: &'static str, run: Run) -> Self {
        Self::of(slug, level, asks, Body::Signaling(run))
    }

    /// The same, for a STUN or TURN server.
    pub(crate) const fn network(slug: &'static str, level: Level, asks: &'static str, run: crate::stun::Run) -> Self {
        Self::of(slug, level, asks, Body::Network(run))
    }

    const fn of(slug: &'static str, level: Level, asks: &'static str, body: Body) -> Self {
        Self { slug, level, asks, citations: &[], needs: &[], alone: false, slow: false, requires: &[], body }
    }

    pub(crate) const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn cites(mut self, citations: &'static [Citation]) -> Self {
        self.citations = citations;
        self
    }

    pub(crate) const fn requires(mut self, requires: &'static [Feature]) -> Self {
        self.requires = requires;
        self
    }

    pub(crate) const fn slow(mut self) -> Self {
        self.slow = true;
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
            Self::May => "may",
            Self::Declared => "declared",
        })
    }
}

/// What all cases of a run share.
pub(crate) struct Env {
    pub(crate) dial: Arc<dyn DynDial>,
    pub(crate) target: Target,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) adapter: Adapter,
    /// How long to wait for the next message that must come.
    pub(crate) patience: Duration,
    /// Time from a message to its answer.
    pub(crate) round_trip: Duration,
    /// Makes names unlike those of other runs on the same server.
    pub(crate) seed: u64,
    /// Whether what goes over the wire is kept.
    pub(crate) keep: bool,
    pub(crate) fresh: AtomicUsize,
}

/// What one case has to work with: it makes clients, rooms and words, and keeps the log.
pub(crate) struct Cx {
    pub(crate) env: Arc<Env>,
    pub(crate) log: Log,
    kept: Mutex<Vec<Peer>>,
}

impl Cx {
    pub(crate) fn new(env: Arc<Env>, log: Log) -> Self {
        Self { env, log, kept: Mutex::default() }
    }

    /// A room that nobody else uses: at most 40 characters.
    pub(crate) fn room(&self) -> String {
        format!("glare-{:08x}-{}", self.env.seed as u32, self.env.fresh.fetch_add(1, Relaxed))
    }

    /// A word that nobody else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh.fetch_add(1, Relaxed))
    }

    /// What the dialect says.
    pub(crate) fn file(&self) -> &File {
        &self.env.dialect.file
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.env.dialect.lacks(feature).is_none()
    }

    /// Something worth telling that is no failure.
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        self.log.remark(remark.into());
    }

    /// The server does another thing than is declared or asked, which is allowed.
    pub(crate) fn acceptable(&self, choice: impl Into<String>) {
        self.log.choice(choice.into());
    }

    /// The server does what it declares, and that is not good.
    pub(crate) fn quality(&self, finding: impl Into<String>) {
        self.log.quality(finding.into());
    }

    /// Notes what the server made of something that is not right, if that is not what is declared. All of it is allowed.
    pub(crate) fn reaction(&self, what: &str, declared: Reaction, told: bool, closed: Option<&End>) {
        let with = match closed {
            Some(End::Closed(Some(code))) => format!("closes the connection with {code}"),
            Some(_) => "ends the connection without a close code".to_owned(),
            None if told => "is answered with an error".to_owned(),
            None => "is ignored without an error".to_owned(),
        };
        let as_declared = match declared {
            Reaction::Any | Reaction::Obeyed => true,
            Reaction::Error => told && closed.is_none(),
            Reaction::Ignored => !told && closed.is_none(),
            Reaction::Closed => closed.is_some(),
        };
        if !as_declared {
            self.acceptable(format!("{what} {with}"));
        }
    }

    /// A line of the transcript, for what is no dialect.
    pub(crate) fn note(&self, who: &str, text: &str) {
        let client = self.log.named(who);
        self.log.push(client, What::Note, text);
        self.log.keep(client, || Did::Note(text.to_owned()));
    }

    /// Keeps a client's connection open to the end of the case.
    pub(crate) fn keep(&self, peer: Peer) {
        self.kept.lock().expect("no panic").push(peer);
    }

    /// Whether members have names beside their ids.
    pub(crate) fn names(&self) -> bool {
        self.env.dialect.shape(Operation::Join).is_some_and(|join| join.has("name"))
    }

    /// Whether notices of who leaves name the client, and not its role.
    pub(crate) fn tells_ids(&self) -> bool {
        let mut left = self.env.dialect.patterns().iter().filter(|pattern| pattern.event == EventName::MemberLeft);
        left.all(|pattern| pattern.shape.has("id"))
    }

    /// Whether clients show a token.
    pub(crate) fn uses_token(&self) -> bool {
        self.env.dialect.url_has("token")
    }

    /// What the dialect calls the key that says who sent something.
    pub(crate) fn sender_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let patterns = self.env.dialect.patterns().iter();
        for pattern in patterns.filter(|pattern| pattern.event == EventName::Signal) {
            pattern.shape.keys_of("from", &mut names);
        }
        names
    }

    /// Of Socket.IO: the events that clients send.
    pub(crate) fn event_names(&self) -> Vec<String> {
        let dialect = &self.env.dialect;
        let nobody = Id::of("nobody-here");
        let act = |kind| Act { kind: Some(kind), to: Some(&nobody), data: Some("{}"), ..Act::default() };
        let name = |kind| {
            let operation = dialect.signal_operation(kind)?;
            let message = dialect.render(operation, &act(kind), &Values::new()).ok()?;
            let list: Vec<serde_json::Value> = serde_json::from_str(&message).ok()?;
            list.first()?.as_str().map(str::to_owned)
        };
        Kind::ALL.into_iter().filter_map(name).collect()
    }

    /// All that was sent to a client before has arrived, though nobody can signal to it: it asks for a pong, or is told of
    /// somebody who comes.
    pub(crate) async fn fence_alone(&self, peer: &mut Peer) -> Result<(), Stop> {
        if self.env.dialect.hears(EventName::Pong) && peer.act(Operation::Ping, &Act::default()).is_ok() {
            return peer.until("a pong", |event| event.is(EventName::Pong)).await.map(drop);
        }
        let newcomer = self.join("newcomer", &peer.room).await?;
        let who = newcomer.who();
        peer.until("that somebody came", |event| event.is_joined(&who)).await.map(drop)
    }

    /// The same server, for somebody who does not show the user's headers.
    pub(crate) fn without_credentials(&self) -> Arc<Env> {
        let env = &self.env;
        Arc::new(Env {
            dial: Arc::clone(&env.dial),
            target: env.target.without_headers(),
            dialect: Arc::clone(&env.dialect),
            adapter: Adapter::default(),
            fresh: AtomicUsize::new(env.fresh.fetch_add(1_000, Relaxed)),
            ..**env
        })
    }

    /// A client that is connected, for a room, and has not joined by message.
    pub(crate) async fn connect(&self, name: &str, room: &str) -> Result<Peer, Stop> {
        self.connect_as(name, room, None).await
    }

    pub(crate) async fn connect_as(&self, name: &str, room: &str, seat: Option<&str>) -> Result<Peer, Stop> {
        Peer::connect(&self.env, &self.log, name, room, seat)
            .await
            .map_err(|why| Stop::Setup(format!("{name} cannot connect: {why}")))
    }

    /// A client in a room. The first of a case has the role that offers, if there are roles.
    pub(crate) async fn join(&self, name: &str, room: &str) -> Result<Peer, Stop> {
        let role = self.file().roles.as_ref().map(|roles| roles.offers.as_str());
        self.join_as(name, room, role).await
    }

    /// A client with a role in a room.
    pub(crate) async fn join_as(&self, name: &str, room: &str, role: Option<&str>) -> Result<Peer, Stop> {
        let mut peer = self.connect_as(name, room, role).await?;
        peer.join(room, None).await.map_err(Stop::into_setup)?;
        Ok(peer)
    }

    /// Several clients in one room, in this order, who can signal to each other.
    pub(crate) async fn members<const N: usize>(&self, room: &str, names: [&str; N]) -> Result<[Peer; N], Stop> {
        let peers = self.gather(room, &names).await?;
        let Ok(peers) = <[Peer; N]>::try_from(peers) else { unreachable!("there is one for each name") };
        Ok(peers)
    }

    /// The same for any number of clients.
    pub(crate) async fn gather(&self, room: &str, names: &[&str]) -> Result<Vec<Peer>, Stop> {
        let mut peers: Vec<Peer> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let roles = self.file().roles.as_ref();
            let role = roles.map(|roles| if index == 0 { roles.offers.as_str() } else { roles.answers.as_str() });
            let mut newcomer = self.join_as(name, room, role).await?;
            for other in &mut peers {
                self.settle(other, &mut newcomer).await.map_err(Stop::into_setup)?;
            }
            peers.push(newcomer);
        }
        Ok(peers)
    }

    /// Both can signal to each other from now on, whatever the dialect asks for that.
    pub(crate) async fn settle(&self, a: &mut Peer, b: &mut Peer) -> Result<(), Stop> {
        let file = self.file();
        if file.calls.needed {
            a.calls(b).await?;
        }
        if !file.join.settles && file.join.answer != JoinAnswer::None {
            return Ok(());
        }
        self.tries(a, b).await?;
        self.tries(b, a).await
    }

    /// `from` says something to `to` again and again, until it is heard.
    async fn tries(&self, from: &Peer, to: &mut Peer) -> Result<(), Stop> {
        let pause = (self.env.round_trip * 2).max(Duration::from_millis(5));
        let word = self.word("settling");
        let what = format!("{}, who tries again and again whether it is heard", from.name);
        let id = to.id.clone();
        let again = async {
            loop {
                from.tell_id(&id, &word);
                tokio::time::sleep(pause).await;
            }
        };
        // Whatever else arrives, this must come in time.
        let never = format!("{} did not hear {what}, within {}", to.name, human(self.env.patience));
        let limit = self.env.patience;
        tokio::select! { biased;
            heard = tokio::time::timeout(limit, to.until(&what, |event| event.says(&word))) => match heard {
                Ok(heard) => heard.map(drop),
                Err(_) => Err(Stop::fail(never)),
            },
            () = again => unreachable!("it never ends"),
        }
    }

    /// Everything that `from` sent before is dealt with and on its way: `from` says something to each of `to`, who are
    /// reachable for it, and each hears that.
    pub(crate) async fn fence(&self, from: &mut Peer, to: &mut [&mut Peer]) -> Result<(), Stop> {
        let word = self.word("sentinel");
        if self.has(Feature::Broadcast) {
            from.say(&word);
        } else {
            to.iter().for_each(|peer| from.tell(peer, &word));
        }
        for peer in to {
            let what = format!("{}'s sentinel, a plain signal", from.name);
            peer.until(&what, |event| event.says(&word)).await?;
        }
        Ok(())
    }

    /// A fresh client can use the server: it is answered, or heard by another.
    pub(crate) async fn alive(&self) -> Result<(), Stop> {
        let room = self.room();
        if self.file().join.answer == JoinAnswer::None || self.env.dialect.file.connection.framing == Framing::SocketIo
        {
            return self.members(&room, ["alive?", "alive!"]).await.map(drop);
        }
        self.join("alive?", &room).await.map(drop)
    }
}

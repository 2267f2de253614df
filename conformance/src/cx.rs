//! What a case about signaling has to work with.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::Peer;
use crate::dialect::file::{File, Framing, JoinAnswer, Reaction};
use crate::dialect::shape::Values;
use crate::dialect::{Act, EventName, Feature, Id, Kind, Operation};
use crate::entry::{Did, HttpRequest, HttpResponse};
use crate::env::Env;
use crate::framing::error::TransportError;
use crate::framing::http::{Request, Response, fetch};
use crate::framing::link::End;
use crate::stop::{Running, Stop};
use crate::transcript::{LineKind, Log};
use crate::words::human;

/// The function of a case about signaling.
pub(crate) type CaseFn = for<'a> fn(&'a mut Cx) -> Running<'a>;

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
        format!("glare-{:08x}-{}", self.env.seed as u32, self.env.fresh())
    }

    /// A word that nobody else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh())
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

    /// Sends a request over plain HTTP; the transcript shows it and its answer.
    pub(crate) async fn fetch(&self, who: &str, request: &Request<'_>) -> Result<Response, TransportError> {
        let words = format!("{} {} {}", request.method, request.path, request.body.unwrap_or_default());
        self.fetch_as(who, request, &words, |response| format!(": {}", response.body)).await
    }

    /// The same with other words for the request, and for what the answer has beside its status.
    pub(crate) async fn fetch_as(
        &self,
        who: &str,
        request: &Request<'_>,
        words: &str,
        beside: impl Fn(&Response) -> String,
    ) -> Result<Response, TransportError> {
        let client = self.log.named(who);
        self.log.push(client, LineKind::Note, words);
        self.log.keep(client, || {
            let body = request.body.map(str::to_owned);
            Did::Request(HttpRequest { method: request.method.to_owned(), path: request.path.clone(), body })
        });
        let response = fetch(&self.env.net, request).await?;
        let words = format!("is answered HTTP {}{}", response.status, beside(&response));
        self.log.push(client, LineKind::Note, &words);
        self.log.keep(client, || Did::Response(HttpResponse { status: response.status, body: response.body.clone() }));
        Ok(response)
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
        Arc::new(self.env.anonymous())
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
        let never = format!("{} did not hear {what}, within {}", to.name, human(self.env.net.patience));
        let limit = self.env.net.patience;
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

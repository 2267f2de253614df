//! The context of a case for a signaling server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::Peer;
use crate::dialect::file::{File, Framing, JoinAnswer, Situation};
use crate::dialect::{EventName, Feature, Id, Operation};
use crate::entry::{Did, HttpRequest, HttpResponse};
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::cookies::Jar;
use crate::framing::error::TransportError;
use crate::framing::http::{Request, Response, fetch};
use crate::framing::link::End;
use crate::stop::{Running, Stop};
use crate::transcript::{LineKind, Log};
use crate::words::human;

/// The function of a case about signaling.
pub(crate) type CaseFn = for<'a> fn(&'a mut Cx) -> Running<'a>;

/// The context of one case: it makes clients, room names and words, and keeps the log.
pub(crate) struct Cx {
    pub(crate) env: Arc<Env>,
    pub(crate) log: Log,
    kept: Mutex<Vec<Peer>>,
    /// The cookies of each client that sends requests, by its name.
    cookies: Mutex<BTreeMap<String, Jar>>,
}

impl Cx {
    pub(crate) fn new(env: Arc<Env>, log: Log) -> Self {
        Self { env, log, kept: Mutex::default(), cookies: Mutex::default() }
    }

    /// A room name that nothing else uses, of at most 40 characters unless the dialect gives its form.
    pub(crate) fn room(&self) -> String {
        let any = |number| format!("glare-{:08x}-{number}", self.env.seed as u32);
        self.env.name(self.file().room.form.as_ref(), any)
    }

    /// An id that nobody has.
    pub(crate) fn nobody(&self, about: &str) -> Id {
        let any = |number| format!("{about}-{number}");
        Id::of(&self.env.name(self.file().identity.form.as_ref(), any))
    }

    /// Attempts at what the server permits only once it has noticed something.
    pub(crate) fn attempts(&self) -> Attempts {
        let pause = self.env.round_trip.max(Duration::from_millis(5));
        Attempts { limit: Instant::now() + self.env.net.patience, pause }
    }

    /// A word that nothing else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh())
    }

    /// The dialect file.
    pub(crate) fn file(&self) -> &File {
        &self.env.dialect.file
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.env.dialect.lacks(feature).is_none()
    }

    /// Notes an observation that is not a failure.
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        self.log.remark(remark.into());
    }

    /// Notes that the server does something other than declared or required, which is allowed.
    pub(crate) fn acceptable(&self, choice: impl Into<String>) {
        self.log.choice(choice.into());
    }

    /// Notes that the server does what its dialect declares, but that is bad practice.
    pub(crate) fn quality(&self, finding: impl Into<String>) {
        self.log.quality(finding.into());
    }

    /// Notes how the server reacted to an invalid message, if that is not as declared.
    ///
    /// # Errors
    /// The dialect promises the declared reaction. If it does not, every reaction is allowed.
    pub(crate) fn reaction(
        &self,
        what: &str,
        situation: Situation,
        notified: bool,
        closed: Option<&End>,
    ) -> Result<(), Stop> {
        let declares = &self.file().declares;
        if let (Some(End::Closed(Some(code))), Some(promised)) = (closed, self.file().close_codes.of(situation))
            && *code != promised
            && declares.binds(situation)
        {
            return Err(Stop::fail(format!(
                "{what} closes the connection with {code}; the dialect promises {promised}"
            )));
        }
        if declares.reaction(situation).is_met(notified, closed.is_some()) {
            return Ok(());
        }
        let with = match closed {
            Some(End::Closed(Some(code))) => format!("closes the connection with {code}"),
            Some(_) => "ends the connection without a close code".to_owned(),
            None if notified => "is answered with an error".to_owned(),
            None => "is ignored without an error".to_owned(),
        };
        if declares.binds(situation) {
            return Err(Stop::fail(format!("{what} {with}; {}", declares.reaction(situation).promised())));
        }
        self.acceptable(format!("{what} {with}"));
        Ok(())
    }

    /// Sends a request over plain HTTP; the transcript shows request and response.
    pub(crate) async fn fetch(&self, who: &str, request: &Request<'_>) -> Result<Response, TransportError> {
        let words = format!("{} {} {}", request.method, request.path, request.body.unwrap_or_default());
        self.fetch_as(who, request, &words, |response| format!(": {}", response.body)).await
    }

    /// Like [`fetch`](Self::fetch). The transcript shows `words` for the request, and `beside` after the status of the
    /// response.
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
        let response = fetch(&self.env.net, &self.cookies(who), request).await?;
        let words = format!("is answered HTTP {}{}", response.status, beside(&response));
        self.log.push(client, LineKind::Note, &words);
        self.log.keep(client, || Did::Response(HttpResponse { status: response.status, body: response.body.clone() }));
        Ok(response)
    }

    /// The cookies that the client with this name has received with its requests.
    pub(crate) fn cookies(&self, who: &str) -> Jar {
        self.cookies.lock().expect("no panic").entry(who.to_owned()).or_default().clone()
    }

    /// Keeps a client's connection open until the end of the case.
    pub(crate) fn keep(&self, peer: Peer) {
        self.kept.lock().expect("no panic").push(peer);
    }

    /// The role that answers, for a client that joins second. `None` if the dialect has no roles.
    pub(crate) fn answers(&self) -> Option<String> {
        self.file().roles.as_ref().map(|roles| roles.answers.clone())
    }

    /// Whether a room can have this many members.
    pub(crate) fn fits(&self, members: usize) -> bool {
        self.file().room.members_max.is_none_or(|max| max >= members)
    }

    /// Whether members have names as well as ids.
    pub(crate) fn names(&self) -> bool {
        self.env.dialect.shape(Operation::Join).is_some_and(|join| join.has("name"))
    }

    /// Whether notices of leaves give the client's id rather than its role.
    pub(crate) fn leave_notices_have_ids(&self) -> bool {
        let mut left = self.env.dialect.patterns().iter().filter(|pattern| pattern.event == EventName::MemberLeft);
        left.all(|pattern| pattern.shape.has("id"))
    }

    /// Whether clients send a token.
    pub(crate) fn uses_token(&self) -> bool {
        self.env.dialect.url_has("token")
    }

    /// The keys under which the dialect names the sender of a message.
    pub(crate) fn sender_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let patterns = self.env.dialect.patterns().iter();
        for pattern in patterns.filter(|pattern| pattern.event == EventName::Signal) {
            pattern.shape.keys_of("from", &mut names);
        }
        names
    }

    /// For Socket.IO: the names of the events that carry signals.
    pub(crate) fn event_names(&self) -> Vec<String> {
        self.env.dialect.event_names()
    }

    /// For Socket.IO: the name of an event that carries signals.
    pub(crate) fn event_name(&self) -> Result<String, Stop> {
        let why = || Stop::Unsupported("the dialect has no signal whose event the suite can name".to_owned());
        self.event_names().into_iter().next().ok_or_else(why)
    }

    /// The same server, for clients without the user's headers.
    pub(crate) fn without_credentials(&self) -> Arc<Env> {
        Arc::new(self.env.anonymous())
    }

    /// The same server, for clients that write the handshakes of their WebSockets in this way.
    pub(crate) fn opening(&self, opening: Opening) -> Arc<Env> {
        Arc::new(self.env.opening(opening))
    }

    /// Gives everything that follows the time that this many bytes need on a slow line.
    pub(crate) fn allow_time_for(&mut self, bytes: usize) {
        self.env = Arc::new(self.env.with_time_for(bytes));
    }

    /// A client that has connected for a room but not sent a join message.
    pub(crate) async fn connect(&self, name: &str, room: &str) -> Result<Peer, Stop> {
        self.connect_as(name, room, None).await
    }

    pub(crate) async fn connect_as(&self, name: &str, room: &str, role: Option<&str>) -> Result<Peer, Stop> {
        Peer::connect(&self.env, &self.log, name, room, role)
            .await
            .map_err(|why| Stop::Setup(format!("{name} cannot connect: {why}")))
    }

    /// A client in a room. If the dialect has roles, the first client of a case gets the role that offers.
    pub(crate) async fn join(&self, name: &str, room: &str) -> Result<Peer, Stop> {
        let role = self.file().roles.as_ref().map(|roles| roles.offers.as_str());
        self.join_as(name, room, role).await
    }

    /// A client in a room, with a role if one is given.
    pub(crate) async fn join_as(&self, name: &str, room: &str, role: Option<&str>) -> Result<Peer, Stop> {
        let mut peer = self.connect_as(name, room, role).await?;
        peer.join(room, None).await.map_err(Stop::into_setup)?;
        Ok(peer)
    }

    /// Whether a client that has connected is admitted to the room. Where nothing answers a join, a server refuses by an
    /// error or by closing the connection.
    pub(crate) async fn is_admitted(&self, peer: &mut Peer, room: &str) -> bool {
        let joined = peer.join(room, None).await.is_ok();
        let is_answered = !matches!(self.file().join.answer, JoinAnswer::None);
        joined && (is_answered || !peer.ended_soon().await)
    }

    /// Clients that joined one room in this order and can signal to each other.
    pub(crate) async fn members<const N: usize>(&self, room: &str, names: [&str; N]) -> Result<[Peer; N], Stop> {
        let peers = self.gather(room, &names).await?;
        let Ok(peers) = <[Peer; N]>::try_from(peers) else { unreachable!("there is one for each name") };
        Ok(peers)
    }

    /// Like [`members`](Self::members), for any number of clients.
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

    /// Does whatever the dialect requires before these two clients can signal to each other.
    pub(crate) async fn settle(&self, a: &mut Peer, b: &mut Peer) -> Result<(), Stop> {
        let file = self.file();
        if file.calls.needed {
            a.calls(b).await?;
        }
        if !file.join.settles && file.join.answer != JoinAnswer::None {
            return Ok(());
        }
        self.signal_until_received(a, b).await?;
        self.signal_until_received(b, a).await
    }

    /// `from` signals to `to` repeatedly until a signal arrives.
    async fn signal_until_received(&self, from: &Peer, to: &mut Peer) -> Result<(), Stop> {
        let pause = (self.env.round_trip * 2).max(Duration::from_millis(5));
        let word = self.word("settling");
        let what = format!("any of the repeated signals from {}", from.name);
        let id = to.id.clone();
        from.send_word_to(&id, &word);
        self.can_send()?;
        let again = async {
            loop {
                tokio::time::sleep(pause).await;
                from.send_word_to(&id, &word);
            }
        };
        // A deadline of its own, because other arrivals renew the patience of `until`.
        let never = format!("{} did not receive {what} within {}", to.name, human(self.env.net.patience));
        let limit = self.env.net.patience;
        let received = tokio::select! { biased;
            received = tokio::time::timeout(limit, to.until(&what, |event| event.has_word(&word))) => received,
            () = again => unreachable!("it never ends"),
        };
        match received {
            Ok(received) => received.map(drop),
            Err(_) if to.received_binary() => Err(to.binary_instead(never)),
            Err(_) => Err(Stop::fail(never)),
        }
    }

    /// Ends the case if a message that it needs could not be written: there is nothing to wait for.
    fn can_send(&self) -> Result<(), Stop> {
        self.log.unsupported().map_or(Ok(()), |why| Err(Stop::Unsupported(why)))
    }

    /// Waits until the server has handled and passed on everything that `from` sent before: `from` signals to each of
    /// `to`, and each receives that. All of `to` must be reachable for `from`.
    pub(crate) async fn fence(&self, from: &mut Peer, to: &mut [&mut Peer]) -> Result<(), Stop> {
        let word = self.word("sentinel");
        if self.has(Feature::Broadcast) {
            from.broadcast_word(&word);
        } else {
            to.iter().for_each(|peer| from.send_word(peer, &word));
        }
        self.can_send()?;
        for peer in to {
            let what = format!("{}'s sentinel, a plain signal", from.name);
            peer.until(&what, |event| event.has_word(&word)).await?;
        }
        Ok(())
    }

    /// Whether the connection of a second member ends, or carries no more signals, when the first one closes its own:
    /// some servers close a room with its first member.
    pub(crate) async fn first_member_takes_the_room_along(&self) -> Result<bool, Stop> {
        // Where no join is answered, a server may have counted the second one first: then only another try tells.
        let tries = if self.file().join.answer == JoinAnswer::None { 3 } else { 1 };
        for _ in 0..tries {
            if self.room_ends_with_its_first_member().await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One try of [`Cx::first_member_takes_the_room_along`], in a new room.
    async fn room_ends_with_its_first_member(&self) -> Result<bool, Stop> {
        let room = self.room();
        let [first, mut second] = self.members(&room, ["first", "second"]).await?;
        first.close().await;
        if second.ended_soon().await {
            return Ok(true);
        }
        let mut newcomer = self.join("newcomer", &room).await?;
        let meet = async {
            self.settle(&mut newcomer, &mut second).await?;
            self.fence(&mut newcomer, &mut [&mut second]).await
        };
        Ok(meet.await.is_err())
    }

    /// Checks that a new client can use the server: its join is answered, or it and another one can signal.
    pub(crate) async fn alive(&self) -> Result<(), Stop> {
        let room = self.room();
        if self.file().join.answer == JoinAnswer::None || self.env.dialect.file.connection.framing == Framing::SocketIo
        {
            return self.meet(&room).await;
        }
        let role = self.file().roles.as_ref().map(|roles| roles.offers.as_str());
        let mut peer = self.connect_as("probe", &room, role).await?;
        match peer.join(&room, None).await {
            Err(_) if peer.received_binary() => Ok(()),
            joined => joined.map(drop).map_err(Stop::into_setup),
        }
    }

    /// Two new clients signal to each other. Whatever the server sends one of them shows that it is alive, even if it
    /// is not what the dialect says.
    async fn meet(&self, room: &str) -> Result<(), Stop> {
        let roles = self.file().roles.as_ref();
        let (offers, answers) = roles.map(|roles| (roles.offers.as_str(), roles.answers.as_str())).unzip();
        let mut one = self.join_as("probe", room, offers).await?;
        let mut other = self.join_as("probe-2", room, answers).await?;
        match self.settle(&mut one, &mut other).await {
            Err(_) if one.received_binary() || other.received_binary() => Ok(()),
            settled => settled.map_err(Stop::into_setup),
        }
    }
}

/// Attempts with growing pauses, until the server has had enough time.
pub(crate) struct Attempts {
    limit: Instant,
    pause: Duration,
}

impl Attempts {
    /// Whether this was the last attempt.
    pub(crate) fn are_over(&self) -> bool {
        Instant::now() > self.limit
    }

    /// Waits until the next attempt.
    pub(crate) async fn pause(&mut self) {
        sleep(self.pause).await;
        self.pause *= 2;
    }
}

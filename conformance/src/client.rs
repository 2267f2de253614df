//! A client in a case: it speaks the dialect, remembers everything that it received, and never waits without a
//! deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::dialect::file::{Addressing, AssignedBy, Framing, JoinAnswer, JoinBy};
use crate::dialect::shape::{RenderError, Values};
use crate::dialect::{Act, Event, EventName, Id, Kind, Meaning, Member, Operation, Who, form};
use crate::env::Env;
use crate::framing::error::TransportError;
use crate::framing::link::{Command, End, Link, LinkEvent, Logged};
use crate::framing::wire::Wire;
use crate::stop::Stop;
use crate::target::Target;
use crate::transcript::{LineKind, Log};
use crate::words::human;

/// What is wrong where a message arrives in a binary frame.
pub(crate) const BINARY: &str = "it received a binary frame, and the messages of this dialect are text frames";

/// A client of one case.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Its id among the other clients, from its last join.
    pub(crate) id: Id,
    pub(crate) role: Option<String>,
    /// The room that it connected for, or last joined.
    pub(crate) room: String,
    /// The messages that it received and has looked at, in order.
    pub(crate) received: Vec<Received>,
    pub(crate) end: Option<End>,
    /// The transcript line that shows the end of the connection.
    end_line: usize,
    pongs: Vec<Bytes>,
    /// The transcript line of the last binary frame that arrived where text is expected.
    binary: Option<usize>,
    link: Link,
    env: Arc<Env>,
    log: Log,
    client: usize,
    /// Values of the variables that stay the same in all its messages.
    values: Values,
    /// The session with each other client, by its id; sessions are JSON.
    sessions: BTreeMap<Id, String>,
    /// The last roster, where joins and leaves are derived from rosters.
    roster: Option<BTreeSet<Id>>,
    /// The kind of signal to use when any will do.
    plain: Kind,
}

/// A message and the transcript line that shows it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: usize,
    pub(crate) event: Event,
    pub(crate) text: String,
    /// Whether a wait has already returned it.
    taken: bool,
}

impl Peer {
    /// Connects for a room, with a role if one is given.
    pub(crate) async fn connect(
        env: &Arc<Env>,
        log: &Log,
        name: &str,
        room: &str,
        role: Option<&str>,
    ) -> Result<Self, TransportError> {
        Self::connect_with(env, log, name, room, role, Self::first_values(env, name, room, role)).await
    }

    /// The values of a new client: its names, and where it goes.
    pub(crate) fn first_values(env: &Env, name: &str, room: &str, role: Option<&str>) -> Values {
        let any = |number: usize| {
            let fresh = format!("{name}-{:06x}-{number}", env.seed & 0xff_ffff);
            fresh.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
        };
        let token = env.name(None, any);
        let mut values = Values::from([("room".to_owned(), quoted(room)), ("token".to_owned(), quoted(&token))]);
        if let Some(role) = role {
            values.insert("role".to_owned(), quoted(role));
        }
        let assigned = env.dialect.file.identity.assigned_by;
        if matches!(assigned, AssignedBy::Client | AssignedBy::UserName) {
            let form = env.dialect.file.identity.form.as_ref();
            let id = if form.is_some() { env.name(form, any) } else { token };
            values.insert("self".to_owned(), quoted(&id));
        }
        values
    }

    /// Connects with the given values for the URL and the messages.
    pub(crate) async fn connect_with(
        env: &Arc<Env>,
        log: &Log,
        name: &str,
        room: &str,
        role: Option<&str>,
        values: Values,
    ) -> Result<Self, TransportError> {
        let client = log.client(name);
        let connected = env.connector.connect(log, client, &values).await;
        let link = connected.inspect_err(|why| {
            log.push(client, LineKind::Note, &format!("cannot connect: {why}"));
        })?;
        log.push(client, LineKind::Note, "is connected");
        let mut peer = Self::on(link, env, log, name, client);
        peer.id = values.get("self").map(|id| Id(id.clone())).unwrap_or_default();
        (peer.room, peer.role, peer.values) = (room.to_owned(), role.map(str::to_owned), values);
        // Without its greeting, the client cannot join, and reports that then.
        let _ = peer.is_greeted().await;
        Ok(peer)
    }

    /// A client on an open connection.
    pub(crate) fn on(link: Link, env: &Arc<Env>, log: &Log, name: &str, client: usize) -> Self {
        let file = &env.dialect.file;
        let first = if file.roles.is_some() { Kind::Candidate } else { Kind::Offer };
        let kinds = [first].into_iter().chain(Kind::ALL);
        let plain = kinds.into_iter().find(|kind| env.dialect.signal_operation(*kind).is_some()).unwrap_or(first);
        Self {
            name: name.to_owned(),
            id: Id::default(),
            role: None,
            room: String::new(),
            received: Vec::new(),
            end: None,
            end_line: 0,
            pongs: Vec::new(),
            binary: None,
            link,
            env: Arc::clone(env),
            log: log.clone(),
            client,
            values: Values::new(),
            sessions: BTreeMap::new(),
            roster: None,
            plain,
        }
    }

    pub(crate) fn who(&self) -> Who {
        Who { id: self.id.clone(), role: self.role.clone() }
    }

    /// Values of the variables that stay the same in all its messages.
    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// Learns the session that another client has with `id`.
    pub(crate) fn learn_session(&mut self, id: &Id, from: &Self) {
        if let Some(session) = from.sessions.get(id) {
            self.sessions.insert(id.clone(), session.clone());
        }
    }

    /// The kind of signal to use when any will do.
    pub(crate) fn plain_kind(&self) -> Kind {
        self.plain
    }

    /// Passes a command to the connection. If the connection has ended, that shows only when the client waits for an
    /// answer.
    pub(crate) fn command(&self, command: Command) {
        let _ = self.link.commands.send(command);
    }

    /// Waits until TCP has accepted everything sent before; returns whether it did so in time.
    pub(crate) async fn written(&self) -> bool {
        let (sender, reply) = oneshot::channel();
        self.command(Command::Written(sender));
        // Tasks of other framings than WebSocket never answer this command.
        timeout(self.env.net.patience, reply).await.is_ok()
    }

    pub(crate) fn send(&self, text: impl Into<String>) {
        self.command(Command::Text(text.into()));
    }

    /// Sends these messages in one write, so that the server may find them together.
    pub(crate) fn send_together(&self, texts: impl IntoIterator<Item = String>) {
        self.command(Command::Together(texts.into_iter().map(Command::Text).collect()));
    }

    /// Sends these messages and closes cleanly, all in one write. The end of the connection is still to come.
    pub(crate) fn send_and_close(&self, texts: impl IntoIterator<Item = String>) {
        let commands = texts.into_iter().map(Command::Text).chain([Command::Close(1000)]);
        self.command(Command::Together(commands.collect()));
    }

    /// Values of the variables in a message with these arguments, apart from the arguments themselves.
    pub(crate) fn values_for(&self, act: &Act<'_>) -> Values {
        let mut values = self.values.clone();
        if !self.id.is_empty() {
            values.insert("self".to_owned(), self.id.0.clone());
        }
        if let Some(to) = act.to {
            // If the dialect has sessions, an offer opens one, unless the other side's offer already did.
            let own = self.env.dialect.file.signals.sessions.then(|| self.own_session(to, act.room));
            if let Some(session) = self.sessions.get(to).cloned().or(own) {
                values.insert("session".to_owned(), session);
            }
        }
        if act.to.is_none() && act.data.is_some() && self.env.dialect.file.signals.sessions {
            // An offer without a receiver opens a session with whoever answers.
            let other = Id::of(&self.env.fresh().to_string());
            values.insert("session".to_owned(), self.own_session(&other, act.room));
        }
        values
    }

    /// The message that performs an operation.
    pub(crate) fn message(&self, operation: Operation, act: &Act<'_>) -> Result<String, Stop> {
        let mut values = self.values_for(act);
        if let Some(request) = self.env.dialect.request_of(operation, || self.env.fresh()) {
            values.insert("request".to_owned(), request);
        }
        let act = Act { role: act.role.or(self.role.as_deref()), ..act.clone() };
        let message = self.env.dialect.render(operation, &act, &values)?;
        Ok(self.env.dialect.asks_for_ack(operation, message, || self.env.fresh()))
    }

    /// The session that this client opens with another one, as JSON: the same each time.
    fn own_session(&self, to: &Id, room: &str) -> String {
        let Some(text) = &self.env.dialect.file.signals.session else {
            return quoted(&format!("{}-{to}", self.id));
        };
        let values = [("self", self.id.0.clone()), ("to", to.0.clone()), ("room", quoted(room))];
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        // The digits follow from the two ids: the client keeps no list of the sessions that it has opened.
        let pair = format!("{} {to}", self.id);
        let hash = pair.bytes().fold(self.env.seed, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        quoted(&form::with_values(&form::fill(text.get_ref(), hash >> 20, hash as usize), &values))
    }

    /// Performs an operation of the dialect.
    pub(crate) fn act(&self, operation: Operation, act: &Act<'_>) -> Result<(), Stop> {
        self.send(self.message(operation, act)?);
        Ok(())
    }

    /// The message for a signal. It is for `room`.
    pub(crate) fn signal_message(&self, kind: Kind, data: &str, to: Option<&Id>, room: &str) -> Result<String, Stop> {
        self.signal_with(kind, &Act { room, to, data: Some(data), ..Act::default() })
    }

    pub(crate) fn signal_with(&self, kind: Kind, act: &Act<'_>) -> Result<String, Stop> {
        let operation = self.env.dialect.signal_operation(kind);
        let operation = operation.ok_or(RenderError::NoMessage { operation: kind.operation().name() })?;
        self.message(operation, &Act { kind: Some(kind), ..act.clone() })
    }

    /// Sends a signal to one client, or to all in its room if `to` is `None`.
    pub(crate) fn signal(&self, kind: Kind, data: &str, to: Option<&Id>) -> Result<(), Stop> {
        self.send(self.signal_message(kind, data, to, &self.room)?);
        Ok(())
    }

    /// Sends a word to all in its room.
    pub(crate) fn broadcast_word(&self, word: &str) {
        self.must_send(self.signal(self.plain, &quoted(word), None));
    }

    /// Sends a word to one client in its room, or to all if the dialect has only broadcasts.
    pub(crate) fn send_word(&self, to: &Self, word: &str) {
        self.send_word_to(&to.id, word);
    }

    pub(crate) fn send_word_to(&self, to: &Id, word: &str) {
        let all = self.env.dialect.file.signals.addressing == Addressing::Broadcast || to.is_empty();
        self.must_send(self.signal(self.plain, &quoted(word), (!all).then_some(to)));
    }

    /// Notes it if a message that the case needs could not be written: then the case does not apply, whatever it finds.
    fn must_send(&self, sent: Result<(), Stop>) {
        if let Err(stop) = sent {
            self.log.cannot_send(stop.into_why());
        }
    }

    /// Waits for the server's greeting, if the dialect has one.
    async fn is_greeted(&mut self) -> Result<(), Stop> {
        if self.env.dialect.has_event(EventName::Greeting) && self.count(|event| event.is(EventName::Greeting)) == 0 {
            self.until("a greeting", |event| event.is(EventName::Greeting)).await?;
        }
        Ok(())
    }

    /// Joins, takes its id from the answer, and returns the other members if the server lists them.
    pub(crate) async fn join(&mut self, room: &str, name: Option<&str>) -> Result<Vec<Member>, Stop> {
        self.join_with(&Act { room, name, ..Act::default() }).await
    }

    /// Joins with these arguments, of which the room is one.
    pub(crate) async fn join_with(&mut self, act: &Act<'_>) -> Result<Vec<Member>, Stop> {
        self.is_greeted().await?;
        if self.env.dialect.file.join.by == JoinBy::Message {
            self.act(Operation::Join, act)?;
        }
        self.joined_with(act).await
    }

    /// The second half of [`join`](Self::join): waits for the answer, where the join itself is already sent.
    pub(crate) async fn joined(&mut self, room: &str) -> Result<Vec<Member>, Stop> {
        self.joined_with(&Act { room, ..Act::default() }).await
    }

    /// The second half of [`join_with`](Self::join_with).
    async fn joined_with(&mut self, act: &Act<'_>) -> Result<Vec<Member>, Stop> {
        let room = act.room;
        let join = self.env.dialect.file.join.by == JoinBy::Message;
        room.clone_into(&mut self.room);
        let answer = self.env.dialect.file.join.answer;
        let me = self.id.clone();
        let several = self.env.dialect.file.room.several;
        let is_answer = |event: &Event| match answer {
            JoinAnswer::Roster => {
                let listed = |members: &Vec<Member>| members.iter().any(|member| member.id == me);
                event.is(EventName::Roster) && event.members.as_ref().is_some_and(listed)
            }
            JoinAnswer::Pong => event.is(EventName::Pong),
            // The answer to a leave may look the same, but names another room.
            _ => event.is(EventName::Joined) && event.room.as_ref().is_none_or(|named| !several || named == room),
        };
        match answer {
            JoinAnswer::None => return Ok(Vec::new()),
            JoinAnswer::Pong => self.act(Operation::Ping, &Act::default())?,
            JoinAnswer::Echo => {
                let word = format!("here-{}", self.env.fresh());
                self.broadcast_word(&word);
                self.until("its own signal, which confirms the join", |event| event.has_word(&word)).await?;
                return Ok(Vec::new());
            }
            JoinAnswer::Joined | JoinAnswer::Roster => {}
        }
        let refused = Event::is_error;
        let broken = |event: &Event| matches!(event.what, Meaning::Broken(EventName::Joined | EventName::Roster, _));
        let what = if join { "an answer to its join" } else { "an answer to its connection" };
        let answers = |event: &Event| is_answer(event) || refused(event) || broken(event);
        let mut received = self.until(what, answers).await?;
        // Who comes first opens the room. If another client has done that meanwhile, it can be joined.
        for next in [Operation::Open, Operation::Join] {
            if refused(&received.event) && self.env.dialect.shape(Operation::Open).is_some() {
                // This refusal is a step of joining: no case may take it for an error.
                let step = self.received.iter_mut().find(|other| other.line == received.line);
                step.expect("it has arrived").event = Event::default();
                self.act(next, act)?;
                received = self.until(what, answers).await?;
            }
        }
        match &received.event.what {
            Meaning::Broken(event, why) => {
                return Err(Stop::at(
                    format!("{} is answered with `{}` {why}", self.name, event.name()),
                    received.line,
                ));
            }
            _ if refused(&received.event) => {
                let what = if join { "join" } else { "connection" };
                return Err(Stop::at(format!("{}'s {what} is refused", self.name), received.line));
            }
            _ => {}
        }
        if let (AssignedBy::Server, Some(id)) = (self.env.dialect.file.identity.assigned_by, received.event.id) {
            self.id = id;
        }
        let members = received.event.members.unwrap_or_default();
        // A roster lists this client too.
        let mine = |member: &Member| answer == JoinAnswer::Roster && member.id == self.id;
        Ok(members.into_iter().filter(|member| !mine(member)).collect())
    }

    /// Joins another room, ignoring errors that come first. When that join is answered, the server has handled
    /// everything that this client sent before.
    pub(crate) async fn moves_to(&mut self, room: &str) -> Result<(), Stop> {
        self.act(Operation::Join, &Act { room, ..Act::default() })?;
        let joined = self.until("an answer to its join", |event| event.is(EventName::Joined)).await?;
        room.clone_into(&mut self.room);
        if let (AssignedBy::Server, Some(id)) = (self.env.dialect.file.identity.assigned_by, joined.event.id) {
            self.id = id;
        }
        Ok(())
    }

    /// Leaves its room.
    pub(crate) fn leave(&self) {
        self.must_send(self.act(Operation::Leave, &Act { room: &self.room, ..Act::default() }));
    }

    /// Calls another client, which accepts.
    pub(crate) async fn calls(&mut self, other: &mut Self) -> Result<(), Stop> {
        self.act(Operation::Call, &Act { to: Some(&other.id), ..Act::default() })?;
        let (me, them) = (self.id.clone(), other.id.clone());
        let rings = format!("{}'s call", self.name);
        other.until(&rings, |event| event.is(EventName::Ringing) && event.from.as_ref() == Some(&me)).await?;
        other.act(Operation::Accept, &Act { to: Some(&me), ..Act::default() })?;
        let accepts = format!("{}'s acceptance", other.name);
        let answered = |event: &Event| {
            event.is(EventName::Answered)
                && event.accepted == Some(true)
                && event.from.as_ref().is_none_or(|from| *from == them)
        };
        self.until(&accepts, answered).await.map(drop)
    }

    /// Closes cleanly and waits for the end of the connection, with a deadline.
    pub(crate) async fn close(mut self) {
        self.command(Command::Close(1000));
        let _ = timeout(self.env.net.patience, self.ended()).await;
    }

    /// Gives up its connection for a measurement. Messages that it has not looked at yet are lost.
    pub(crate) async fn hand_over(self) -> Wire {
        let (taker, taken) = oneshot::channel();
        self.command(Command::HandOver(taker));
        // A task of another framing keeps its connection, and a task that has ended drops the request.
        match taken.await {
            Ok(socket) => Wire::of_socket(socket, &self.env.dialect),
            Err(_) => Wire::of_task(self.link, &self.env.dialect),
        }
    }

    /// Ends TCP without a close frame.
    pub(crate) fn hang_up(self) {
        self.log.push(self.client, LineKind::Note, "hangs up: TCP ends without a close frame");
    }

    /// Waits for a message that `wanted` accepts and no earlier wait returned, however many others arrive first. Each
    /// arrival restarts the patience: a slow server is not a failure.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Received, Stop> {
        self.until_received(what, |received| wanted(&received.event)).await
    }

    /// Like [`until`](Self::until), but `wanted` sees the message as received.
    pub(crate) async fn until_received(
        &mut self,
        what: &str,
        wanted: impl Fn(&Received) -> bool,
    ) -> Result<Received, Stop> {
        // What did not match once never will: a flood would take quadratic time if each message looked at all the
        // others again.
        let mut seen = 0;
        loop {
            if let Some(received) =
                self.received[seen..].iter_mut().find(|received| !received.taken && wanted(received))
            {
                received.taken = true;
                return Ok(received.clone());
            }
            seen = self.received.len();
            self.more(what).await?;
        }
    }

    /// Waits until a message matches, with a limit for the whole wait: for what may take longer than an answer.
    pub(crate) async fn until_within(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<(), Stop> {
        let waiting = async {
            while self.count(&wanted) == 0 && self.end.is_none() {
                let event = self.link.events.recv().await;
                self.take_in(event);
            }
        };
        let _ = timeout(limit, waiting).await;
        if self.count(wanted) > 0 {
            return Ok(());
        }
        Err(self.stop(format!("{} did not receive {what} within {}", self.name, human(limit))))
    }

    /// Waits for one more arrival of any kind.
    async fn more(&mut self, what: &str) -> Result<(), Stop> {
        if let Some(end) = &self.end {
            let how = match end {
                End::Closed(Some(code)) => format!("its connection was closed with {code}"),
                End::Closed(None) => "its connection was closed".to_owned(),
                End::Lost => "its connection was lost".to_owned(),
                End::Broken(why) => format!("the server broke the framing rules ({why})"),
                End::Flood => "the server flooded it".to_owned(),
            };
            return Err(Stop::at(format!("{} did not receive {what}: {how}", self.name), self.end_line));
        }
        match timeout(self.env.net.patience, self.link.events.recv()).await {
            Ok(event) => {
                self.take_in(event);
                Ok(())
            }
            Err(_) => {
                let why = format!("{} did not receive {what} within {}", self.name, human(self.env.net.patience));
                let broken = self.received.iter().rev().find_map(|received| match &received.event.what {
                    Meaning::Broken(event, lack) => Some((event, lack, received.line)),
                    _ => None,
                });
                Err(match broken {
                    None if self.binary.is_some() => self.binary_instead(why),
                    Some((event, lack, line)) => {
                        Stop::at(format!("{why}; it received `{}` {lack}", event.name()), line)
                    }
                    None => Stop::fail(why),
                })
            }
        }
    }

    fn take_in(&mut self, event: Option<Logged>) {
        let Some(Logged { line, event }) = event else {
            self.end = Some(End::Lost);
            return;
        };
        match event {
            LinkEvent::Text(text) => {
                let event = self.env.dialect.read(&text);
                if event.is(EventName::Ping) {
                    let _ = self.act(Operation::Pong, &Act::default());
                }
                if let Some(reply) = &event.reply {
                    self.send(reply.clone());
                }
                if let (Some(from), Some(session)) = (&event.from, &event.session) {
                    self.sessions.insert(from.clone(), session.clone());
                }
                self.take_values(&event);
                let members = event.members.clone().filter(|_| event.is(EventName::Roster));
                self.received.push(Received { line, event, text, taken: false });
                if let Some(members) = members.filter(|_| self.env.dialect.file.roster.differences) {
                    self.difference(line, members);
                }
            }
            LinkEvent::Pong(payload) => self.pongs.push(payload),
            LinkEvent::Binary => self.binary = Some(line),
            LinkEvent::End(end) => {
                self.end = Some(end);
                self.end_line = line;
            }
        }
    }

    /// Takes the values of a message that the client's own messages contain from here on.
    fn take_values(&mut self, event: &Event) {
        let given = self.env.dialect.file.identity.assigned_by == AssignedBy::Server;
        let id = event.id.as_ref().filter(|_| given && event.is(EventName::Greeting));
        let new = [("nonce", event.nonce.as_ref()), ("token", event.token.as_ref()), ("self", id.map(|id| &id.0))];
        let new: Vec<_> = new.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))).collect();
        if new.is_empty() {
            return;
        }
        self.id = id.unwrap_or(&self.id).clone();
        self.values.extend(new);
        if let Some(url) = self.env.dialect.post_url(self.env.net.target.url(), &self.values) {
            self.command(Command::PostTo(Target::path_of(&url)));
        }
    }

    /// Turns the difference to the last roster into notices of joins and leaves.
    fn difference(&mut self, line: usize, members: Vec<Member>) {
        let new: BTreeSet<Id> = members.into_iter().map(|member| member.id).collect();
        let Some(old) = self.roster.replace(new.clone()) else { return };
        let joined = new.difference(&old).map(|id| (EventName::MemberJoined, id));
        let changes = joined.chain(old.difference(&new).map(|id| (EventName::MemberLeft, id)));
        // A server may send its list to clients that have not joined yet, so this client's own join is not a notice.
        for (name, id) in changes.filter(|(_, id)| **id != self.id) {
            let event = Event { what: Meaning::Is(name), id: Some(id.clone()), ..Event::default() };
            self.received.push(Received { line, event, text: String::new(), taken: false });
        }
    }

    /// A failure because of a binary frame: what was to arrive may be in it.
    pub(crate) fn binary_instead(&self, why: String) -> Stop {
        let line = self.binary.unwrap_or_default();
        Stop::at(format!("{why}; {BINARY}"), line)
    }

    /// Whether a binary frame has arrived where text is expected.
    pub(crate) fn received_binary(&self) -> bool {
        self.binary.is_some()
    }

    /// Waits for the end of the connection, without a deadline.
    pub(crate) async fn ended(&mut self) -> End {
        loop {
            if let Some(end) = &self.end {
                return end.clone();
            }
            let event = self.link.events.recv().await;
            self.take_in(event);
        }
    }

    /// Waits for the end of the connection, at most as long as for a message.
    pub(crate) async fn ended_in_time(&mut self) -> Option<End> {
        timeout(self.env.net.patience, self.ended()).await.ok()
    }

    /// The reason of the close frame that ended the connection; empty if it gave none.
    pub(crate) fn close_reason(&self) -> Option<&str> {
        self.link.close_reason.get().map(String::as_str)
    }

    /// Whether the connection ends soon, or an error arrives: the server refused the client after the handshake.
    pub(crate) async fn ended_soon(&mut self) -> bool {
        let limit = (self.env.round_trip * 10).max(Duration::from_millis(200)).min(self.env.net.patience);
        let refused = async {
            while self.end.is_none() && self.count(Event::is_error) == 0 {
                let event = self.link.events.recv().await;
                self.take_in(event);
            }
        };
        timeout(limit, refused).await.is_ok()
    }

    /// A failure; it points to the end of the connection if that has ended.
    pub(crate) fn stop(&self, why: String) -> Stop {
        Stop::Fail { why, line: self.end.is_some().then_some(self.end_line) }
    }

    /// Checks that every error that this client has received since the message with the index `mark` gives this reason,
    /// if the dialect promises one.
    pub(crate) fn errors_give(&self, mark: usize, what: &str, reason: Option<&str>) -> Result<(), Stop> {
        let Some(reason) = reason else { return Ok(()) };
        let is_other =
            |received: &&Received| received.event.is_error() && received.event.reason.as_deref() != Some(reason);
        match self.received[mark..].iter().find(is_other) {
            Some(other) => Err(Stop::at(format!("{what} is answered with another error than `{reason}`"), other.line)),
            None => Ok(()),
        }
    }

    /// Waits for a pong with this payload.
    pub(crate) async fn until_pong(&mut self, payload: &[u8]) -> Result<(), Stop> {
        while !self.pongs.iter().any(|pong| pong == payload) {
            let what = format!("a pong with the payload {:?}", String::from_utf8_lossy(payload));
            self.more(&what).await?;
        }
        Ok(())
    }

    /// Reads everything that has arrived, without waiting.
    pub(crate) fn catch_up(&mut self) {
        while let Ok(event) = self.link.events.try_recv() {
            self.take_in(Some(event));
        }
    }

    /// How many of the messages received match.
    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.received.iter().filter(|received| wanted(&received.event)).count()
    }

    /// Fails if a message received matches. Call it after a sentinel has arrived.
    pub(crate) fn never_received(&self, why: &str, unwanted: impl Fn(&Event) -> bool) -> Result<(), Stop> {
        self.never_received_since(0, why, unwanted)
    }

    /// Like [`never_received`](Self::never_received), for messages after the first `mark`.
    pub(crate) fn never_received_since(
        &self,
        mark: usize,
        why: &str,
        unwanted: impl Fn(&Event) -> bool,
    ) -> Result<(), Stop> {
        match self.received[mark..].iter().find(|received| unwanted(&received.event)) {
            Some(received) => Err(Stop::at(format!("{} {why}", self.name), received.line)),
            None => Ok(()),
        }
    }

    /// Fails unless exactly one message received matches. Call it after a sentinel has arrived. `what` names the
    /// message.
    pub(crate) fn received_once(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<(), Stop> {
        let matching: Vec<_> = self.received.iter().filter(|received| wanted(&received.event)).collect();
        match matching[..] {
            [_] => Ok(()),
            [] => Err(Stop::fail(format!("{} did not receive {what}", self.name))),
            [_, second, ..] => {
                let times = matching.len();
                Err(Stop::at(format!("{} received {what} {times} times", self.name), second.line))
            }
        }
    }

    /// Whether it and the server agreed to compress messages.
    pub(crate) fn deflates(&self) -> bool {
        self.link.deflates
    }

    /// Whether messages go over the wire exactly as the suite writes them, without an adapter or another layer.
    pub(crate) fn is_framed_by_us(&self) -> bool {
        matches!(self.env.dialect.file.connection.framing, Framing::WebSocket | Framing::WebSocketBinary)
    }
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

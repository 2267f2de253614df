//! Writes a client's messages, and reads those of the server, by the file of its dialect. Without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dialect::file::Sender;
use dialect::shape::{plain, quote};
use dialect::{EventName, Kind, Operation, Reading, form};
use scenarios::{MediaKind, Role};

use crate::dialects::Spoken;
use crate::event::{ClientId, Member, Message, Refused, RoomName, SignalKind};
use crate::hash::digest;

/// The arguments of an operation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Args<'a> {
    pub(super) to: Option<&'a ClientId>,
    pub(super) kind: Option<SignalKind>,
    /// The payload: JSON, sent unchanged.
    pub(super) data: Option<&'a str>,
    /// The session, as JSON.
    pub(super) session: Option<&'a str>,
    pub(super) media: Option<(MediaKind, bool)>,
    /// The offers in a join: the payload and the session of each, as a JSON list.
    pub(super) offers: Option<&'a str>,
    /// How many these are.
    pub(super) wanted: Option<&'a str>,
}

/// What one client says and hears.
pub(super) struct Codec {
    spoken: Arc<Spoken>,
    room: RoomName,
    /// The values that stay the same in all its messages, by variable, as JSON.
    values: BTreeMap<&'static str, String>,
    /// The session with each other client, as JSON.
    sessions: BTreeMap<ClientId, String>,
    /// Ids that are not strings in JSON.
    numbers: BTreeSet<ClientId>,
    /// Number of messages that asked for an acknowledgement or a response.
    asked: usize,
}

impl Codec {
    /// A client with this name and role in a room. `life` differs between its lives.
    pub(super) fn new(spoken: Arc<Spoken>, name: &str, role: Role, room: &RoomName, life: u64) -> Self {
        let mut values = BTreeMap::from([
            ("room", quoted(&spoken.room_of(room))),
            ("name", quoted(name)),
            ("token", quoted(&format!("{:016x}", digest(format!("{room}/{name}/{life}").as_bytes())))),
        ]);
        if let Some(roles) = &spoken.file.file.roles {
            values.insert("role", quoted(if role == Role::Sender { &roles.offers } else { &roles.answers }));
        }
        if let Some(id) = spoken.id_of(name, room) {
            values.insert("self", quoted(&id));
        }
        let (sessions, numbers) = (BTreeMap::new(), BTreeSet::new());
        Self { spoken, room: room.clone(), values, sessions, numbers, asked: 0 }
    }

    pub(super) fn spoken(&self) -> &Arc<Spoken> {
        &self.spoken
    }

    pub(super) fn room(&self) -> &RoomName {
        &self.room
    }

    /// The keys of the dialect's file.
    pub(super) fn file(&self) -> &dialect::file::File {
        &self.spoken.file.file
    }

    pub(super) fn has(&self, operation: Operation) -> bool {
        self.spoken.file.shape(operation).is_some()
    }

    pub(super) fn hears(&self, event: EventName) -> bool {
        self.spoken.file.has_event(event)
    }

    /// Whether the dialect has a message for this.
    pub(super) fn speaks(&self, operation: Operation) -> bool {
        self.spoken.file.shape(operation).is_some()
    }

    /// The path and the query to connect to. `base` is the path of the server's URL, with its query.
    pub(super) fn path(&self, base: &str) -> String {
        let values = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.spoken.file.url(base, &values)
    }

    /// The path and the query to which messages are posted, if they are.
    pub(super) fn post_path(&self, base: &str) -> Option<String> {
        let values = self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.spoken.file.post_url(base, &values)
    }

    // ---- what it sends

    /// The message of an operation; `None` if the dialect has none, or not with these arguments.
    pub(super) fn write(&mut self, operation: Operation, args: &Args<'_>) -> Option<String> {
        let spoken = self.spoken.clone();
        let shape = spoken.file.shape(operation)?;
        let kind = args.kind.map(kind_of);
        let name = |name: Option<&str>| name.map(quoted);
        let kind_name = name(kind.and_then(|kind| spoken.file.kind_name(kind)));
        let field_name = name(kind.and_then(|kind| spoken.file.field_name(kind)));
        let to = args.to.map(|to| if self.numbers.contains(to) { to.to_string() } else { quoted(to) });
        let media = args.media.map(|(media, _)| quoted(media.name()));
        let asked = &mut self.asked;
        let mut count = || {
            *asked += 1;
            *asked
        };
        let request = spoken.file.request_of(operation, &mut count);
        let value = |variable: &str| match variable {
            "to" => to.as_deref(),
            "data" => args.data,
            "kind" => kind_name.as_deref(),
            "field" => field_name.as_deref(),
            "session" => args.session,
            "offers" => args.offers,
            "wanted" => args.wanted,
            "request" => request.as_deref(),
            "media" => media.as_deref(),
            "enabled" => args.media.map(|(_, enabled)| if enabled { "true" } else { "false" }),
            _ => self.values.get(variable).map(String::as_str),
        };
        let mut text = String::with_capacity(args.data.map_or(0, str::len) + 128);
        shape.write(&value, &mut text).ok()?;
        Some(spoken.file.asks_for_ack(operation, text, count))
    }

    /// The message of a signal; `None` if the dialect has none for this kind.
    pub(super) fn signal(&mut self, to: Option<&ClientId>, kind: SignalKind, data: &str) -> Option<String> {
        let operation = self.spoken.file.signal_operation(kind_of(kind))?;
        let session = to.filter(|_| self.file().signals.sessions).map(|to| self.session_with(to));
        self.write(
            operation,
            &Args { to, kind: Some(kind), data: Some(data), session: session.as_deref(), ..Args::default() },
        )
    }

    /// The session of a signal to a client. An offer opens one, unless there is one already.
    pub(super) fn session_with(&mut self, to: &ClientId) -> String {
        if let Some(session) = self.sessions.get(to) {
            return session.clone();
        }
        let own = self.values.get("self").map(|own| plain(own)).unwrap_or_default();
        let text = match &self.file().signals.session {
            None => format!("{own}-{to}"),
            Some(form) => {
                let values = [("self", &*own), ("to", to), ("room", &self.room)];
                let values = values.map(|(name, value)| (name.to_owned(), quoted(value))).into();
                let number = digest(format!("{own} {to}").as_bytes());
                let digits = usize::try_from(number & 0xf_ffff).expect("20 bits");
                form::with_values(&form::fill(form.get_ref(), number >> 20, digits), &values)
            }
        };
        let session = quoted(&text);
        self.sessions.insert(to.clone(), session.clone());
        session
    }

    // ---- what arrives

    /// Takes what the client's later messages contain: its id if the server gives one, a token, a nonce.
    pub(super) fn learn(&mut self, reading: &Reading<'_, '_>) {
        for name in ["nonce", "token"] {
            if let Some(value) = reading.json(name) {
                self.values.insert(name, value.to_owned());
            }
        }
        let is_own = matches!(reading.event(), EventName::Joined | EventName::Greeting);
        if let Some(id) = reading.json("id").filter(|_| is_own && !self.spoken.descriptor.chooses_ids) {
            self.values.insert("self", id.to_owned());
        }
    }

    /// The client's own id: the one that it chose, or that the server gave it.
    pub(super) fn own_id(&mut self) -> Option<ClientId> {
        let own = self.values.get("self")?.clone();
        Some(self.id(&own))
    }

    /// The id of a client, from JSON.
    fn id(&mut self, json: &str) -> ClientId {
        let id: ClientId = plain(json).into();
        if !json.starts_with('"') && !self.numbers.contains(&id) {
            self.numbers.insert(id.clone());
        }
        id
    }

    /// The id in a variable of a message.
    pub(super) fn id_in(&mut self, reading: &Reading<'_, '_>, variable: &str) -> Option<ClientId> {
        reading.json(variable).map(|json| self.id(json))
    }

    /// The room that a message is about.
    pub(super) fn room_in(&self, reading: &Reading<'_, '_>) -> RoomName {
        let is_other = |json: &&str| self.values.get("room").is_none_or(|own| own != json);
        match reading.json("room").filter(is_other) {
            // Most messages are about the client's own room: its name is shared, not copied.
            None => self.room.clone(),
            Some(json) if plain(json) == *self.room => self.room.clone(),
            Some(json) => plain(json).into(),
        }
    }

    /// The members that a message lists; `None` if it lists none.
    pub(super) fn members(&mut self, reading: &Reading<'_, '_>) -> Option<Vec<Member>> {
        let members = reading.members()?;
        Some(members.map(|(id, name)| Member { id: self.id(id), name: name.map(Arc::from) }).collect())
    }

    /// The client that a message is about.
    pub(super) fn member(&mut self, reading: &Reading<'_, '_>) -> Option<Member> {
        let name = reading.text("name").filter(|_| reading.json("name") != Some("null")).map(Arc::from);
        Some(Member { id: self.id_in(reading, "id")?, name })
    }

    /// A signal or a description, without its payload being parsed; `None` if it is not complete.
    pub(super) fn signal_in(&mut self, reading: &Reading<'_, '_>) -> Option<Message> {
        let kind = signal_kind(reading.kind()?);
        let session = reading.json("session");
        let mut from = self.id_in(reading, "from");
        match (&from, session) {
            (Some(from), Some(session)) => {
                self.sessions.insert(from.clone(), session.to_owned());
            }
            // Only the session shows whose signal it is.
            (None, Some(session)) => {
                let whose = self.sessions.iter().find(|(_, known)| *known == session);
                from = whose.map(|(id, _)| id.clone());
            }
            _ => {}
        }
        if from.is_none() && self.file().signals.sender != Sender::Absent {
            return None;
        }
        let payload = reading.json("data").unwrap_or("null").into();
        Some(Message::Signal { room: self.room_in(reading), peer: from, kind, payload })
    }

    /// An error of the server.
    pub(super) fn error_in(&self, reading: &Reading<'_, '_>) -> Message {
        let reason = reading.text("reason").unwrap_or_default();
        let is = |known: &Option<String>| known.as_deref().is_some_and(|known| known == reason);
        let file = self.file();
        let why = match &file.roles {
            Some(roles) if is(&roles.refusals.offers_taken) || is(&roles.refusals.answers_taken) => {
                Some(Refused::RoleTaken)
            }
            _ if is(&file.refusals.duplicate_id) => Some(Refused::NameTaken),
            _ if file.calls.needed && is(&file.refusals.absent_target) => Some(Refused::NoSuchUser),
            _ if file.calls.needed && is(&file.refusals.busy) => Some(Refused::Busy),
            _ => None,
        };
        let text = reason.into();
        match why {
            Some(why) => Message::Refused { why, text },
            None => Message::Error { text },
        }
    }
}

/// Encodes text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote(text, &mut out);
    out
}

/// A kind of signal as dialect files call it.
pub(super) fn kind_of(kind: SignalKind) -> Kind {
    match kind {
        SignalKind::Offer => Kind::Offer,
        SignalKind::Answer => Kind::Answer,
        SignalKind::IceCandidate => Kind::Candidate,
        SignalKind::Hangup => Kind::Hangup,
    }
}

pub(super) fn signal_kind(kind: Kind) -> SignalKind {
    match kind {
        Kind::Offer => SignalKind::Offer,
        Kind::Answer => SignalKind::Answer,
        Kind::Candidate => SignalKind::IceCandidate,
        Kind::Hangup => SignalKind::Hangup,
    }
}

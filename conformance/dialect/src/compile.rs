//! Compiles the text of a dialect file into a [`Dialect`], and reports everything that is wrong with it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use regex_lite::Regex;
use toml::Spanned;

use crate::error::{DialectError, Problems};
use crate::file::{
    Addressing, AssignedBy, EventName, File, Framing, JoinAnswer, JoinBy, KindNames, Match, Notified, Operation,
    Reaction, RoomIn, Sender, Situation,
};
use crate::form;
use crate::place::Places;
use crate::shape::{OFFERS, Shape};
use crate::url::{self, Url};
use crate::words::instead;
use crate::wrong::{WrongMessage, made_of};
use crate::{Dialect, Kind, Pattern};

/// Variables allowed in messages that are sent.
const SENT: [&str; 16] = [
    "room", "self", "name", "role", "token", "nonce", "to", "kind", "field", "data", "session", "media", "enabled",
    "request", "offers", "wanted",
];
/// Variables allowed in a reply to a message: the number that the message has.
const REPLIED: [&str; 1] = ["request"];
/// Variables that can be captured from messages that arrive.
const HEARD: [&str; 19] = [
    "room", "id", "name", "role", "from", "to", "kind", "field", "data", "session", "media", "enabled", "members",
    "accepted", "reason", "nonce", "token", "request", "_",
];
/// Variables allowed in the value of a session.
const SESSION: [&str; 3] = ["self", "to", "room"];
/// The operations and events of adapters, unless their dialect file gives its own.
const ADAPTER: &str = include_str!("../../dialects/adapter-defaults.toml");

pub(crate) fn compile(path: &str, text: &str) -> Result<Dialect, DialectError> {
    let mut problems = Problems::new(text);
    let mut file = match toml::from_str::<File>(text) {
        Ok(file) => file,
        Err(error) => {
            problems.toml(&error);
            problems.finish(path)?;
            return Err(DialectError::whole(path, "is no dialect"));
        }
    };
    let adapter = file.connection.framing == Framing::Adapter && file.send.is_empty() && file.matches.is_empty();
    if adapter {
        let defaults: File = toml::from_str(ADAPTER).expect("a test reads it");
        (file.send, file.matches) = (defaults.send, defaults.matches);
        file.kinds = file.kinds.take().or(defaults.kinds);
        if let Some(operations) = &file.connection.operations {
            file.send.retain(|operation, _| operations.contains(operation));
        }
        if let Some(events) = &file.connection.events {
            file.matches.retain(|pattern| events.contains(&pattern.event));
        }
    }
    let mut checker = Checker { file: &file, problems };
    let send = checker.sends();
    let patterns = checker.patterns();
    let url = checker.url(file.connection.url.as_ref(), &url::VARIABLES);
    let post = checker.url(file.connection.post.as_ref(), &url::POST_VARIABLES);
    let mut wrong = checker.wrong();
    checker.forms();
    let id_pattern = checker.id_pattern();
    // Only in a file without errors: otherwise it would report as missing what an error above already covers.
    if !adapter && checker.problems.none() {
        checker.fits_together(&send, &patterns, url.as_ref());
    }
    let mut problems = checker.problems;
    let signals = [Operation::Signal, Operation::Offer, Operation::Answer, Operation::Candidate];
    if let Some(signal) = signals.into_iter().find_map(|operation| send.get(&operation)) {
        // What a changed operation makes an adapter do says nothing about the server.
        let made = made_of(signal).into_iter().filter(|wrong| !adapter || wrong.shape == Shape::Object(Vec::new()));
        wrong.extend(made);
    } else {
        let message = "a `signal` is required, or a message for one kind: nothing can be sent without one";
        problems.table("[send]", message);
    }
    problems.finish(path)?;
    let places = Places::of(text);
    Ok(Dialect { file, url, post, send, patterns, wrong, id_pattern, places, folder: PathBuf::new() })
}

fn instead_of_variable(wrong: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|name| format!("${name}")).collect();
    instead(&format!("${wrong}"), "variables", known.iter().map(String::as_str))
}

struct Checker<'a> {
    file: &'a File,
    problems: Problems<'a>,
}

impl Checker<'_> {
    fn shape(&mut self, text: &Spanned<String>, known: &[&str]) -> Option<Shape> {
        let shape = match Shape::parse(text.get_ref()) {
            Ok(shape) => shape,
            Err(wrong) => {
                let shown: String = text.get_ref().chars().skip(wrong.at).take(20).collect();
                let place = if shown.is_empty() { "at its end".to_owned() } else { format!("at `{shown}`") };
                self.problems.inside(&text.span(), wrong.at, format!("message: {} {place}", wrong.why));
                return None;
            }
        };
        let mut unknown = Vec::new();
        shape.variables(&mut |name| {
            if !known.contains(&name) {
                unknown.push(name.to_owned());
            }
        });
        let all_known = unknown.is_empty();
        for name in unknown {
            let at = text.get_ref().find(&format!("${name}")).unwrap_or_default();
            let instead = instead_of_variable(&name, known);
            self.problems.inside(&text.span(), at, format!("unknown variable `${name}`{instead}"));
        }
        let kinds = ["kind", "field"].into_iter().find(|name| shape.has(name)).filter(|_| self.file.kinds.is_none());
        if let Some(name) = kinds {
            let message = format!("`${name}` needs a table [kinds] with the names of the kinds of signals");
            self.problems.at(&text.span(), message);
        }
        all_known.then_some(shape)
    }

    fn sends(&mut self) -> BTreeMap<Operation, Shape> {
        let mut send = BTreeMap::new();
        for (operation, text) in &self.file.send {
            if let Some(shape) = self.shape(text, &SENT) {
                self.offers(*operation, &shape, &text.span());
                send.insert(*operation, shape);
            }
        }
        send
    }

    /// Checks the list of offers in a message.
    fn offers(&mut self, operation: Operation, shape: &Shape, span: &Range<usize>) {
        if !shape.has(OFFERS) {
            return;
        }
        if !shape.lists(OFFERS) {
            self.problems.at(span, "`$offers` is a list: the shape of an offer must follow it, as in `$offers[$data]`");
        } else if operation != Operation::Join {
            let message = format!("`$offers[…]` belongs to `join`: `{}` has a receiver", operation.name());
            self.problems.at(span, message);
        } else if !shape.has("data") || !shape.has("session") || !self.file.signals.sessions {
            let message = "`$offers[…]` needs `$data` and `$session` in its shape, and `sessions = true` in [signals]: an answer names the session of its offer";
            self.problems.at(span, message);
        }
    }

    fn patterns(&mut self) -> Vec<Pattern> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for Match { event, message, kind, role, accepted, answers, reply } in &self.file.matches {
            let Some(shape) = self.shape(message, &HEARD) else { continue };
            let span = message.span();
            let line = self.problems.line(&span, 0);
            if (answers.is_some() || reply.is_some()) && !shape.has("request") {
                let message = "a message with `answers` or `reply` needs `$request`, the number of the request";
                self.problems.at(&span, message);
            }
            let unsent = answers.filter(|operation| {
                self.file.send.get(operation).is_none_or(|sent| !sent.get_ref().contains("$request"))
            });
            if let Some(operation) = unsent {
                let message = format!("`answers`: `{}` has no message with `$request` in [send]", operation.name());
                self.problems.at(&span, message);
            }
            let reply = reply.as_ref().and_then(|reply| self.shape(reply, &REPLIED));
            let wider = |name: &str, other: &Shape| self.wider(name, other);
            let covers = |earlier: &&Pattern| {
                (earlier.answers.is_none() || earlier.answers == *answers) && earlier.shape.covers(&shape, &wider)
            };
            if let Some(earlier) = patterns.iter().find(covers) {
                let message = format!(
                    "never reached: every message that matches this `{}` already matches the `{}` of line {}",
                    event.name(),
                    earlier.event.name(),
                    earlier.line
                );
                self.problems.at(&span, message);
            }
            self.needs(*event, &shape, kind.is_some(), role.is_some(), accepted.is_some(), &span);
            let (role, accepted, answers) = (role.clone(), *accepted, *answers);
            patterns.push(Pattern { event: *event, shape, kind: *kind, role, accepted, answers, reply, line });
        }
        patterns
    }

    /// Reports the variables and keys without which an event has no meaning.
    fn needs(&mut self, event: EventName, shape: &Shape, kind: bool, role: bool, accepted: bool, span: &Range<usize>) {
        let mut need = |right: bool, what: &str| {
            if !right {
                self.problems.at(span, format!("`{}` needs {what}", event.name()));
            }
        };
        match event {
            EventName::Signal | EventName::Description => {
                need(shape.has("data"), "`$data`, the payload");
                need(shape.has("kind") || kind, "`$kind`, or a key `kind` beside the message");
            }
            EventName::MemberJoined | EventName::MemberLeft => {
                need(shape.has("id") || shape.has("role") || role, "`$id` or `$role` of the member concerned");
            }
            EventName::Announced => need(shape.has("from"), "`$from`, the client that announces itself"),
            EventName::Roster => need(shape.has("members"), "`$members[…]` or `$members{…}`"),
            EventName::Answered => need(shape.has("accepted") || accepted, "`$accepted`, or a key `accepted`"),
            _ => {}
        }
    }

    /// Whether a variable accepts everything that another shape accepts.
    fn wider(&self, name: &str, other: &Shape) -> bool {
        let id = ["id", "from", "to", "session"];
        let text = ["room", "role", "media"];
        match (name, other) {
            ("data" | "reason" | "name" | "nonce" | "token" | "_" | "field", _) => true,
            ("request", Shape::Literal(value)) => value.is_number(),
            ("kind", Shape::Variable(other)) => other == "kind",
            ("kind", Shape::Literal(value)) => {
                let names = self.file.kinds.iter().flat_map(|kinds| kinds.values());
                names.into_iter().any(|names| match names {
                    KindNames::Both(name) | KindNames::Each { kind: name, .. } => value == name.as_str(),
                })
            }
            (_, Shape::Variable(other)) if id.contains(&name) => {
                id.contains(&other.as_str()) || text.contains(&other.as_str())
            }
            (_, Shape::Variable(other)) if text.contains(&name) => text.contains(&other.as_str()),
            (_, Shape::Variable(other)) => name == other,
            (_, Shape::Literal(value)) if id.contains(&name) => value.is_string() || value.is_number(),
            (_, Shape::Literal(value)) if text.contains(&name) => value.is_string(),
            ("accepted" | "enabled", Shape::Literal(value)) => value.is_boolean(),
            _ => false,
        }
    }

    fn url(&mut self, text: Option<&Spanned<String>>, known: &[&str]) -> Option<Url> {
        let text = text?;
        let url = Url::new(text.get_ref());
        for (_, name) in url.variables().into_iter().filter(|(_, name)| !known.contains(name)) {
            let instead = instead_of_variable(name, known);
            self.problems.at(&text.span(), format!("unknown variable `${name}`{instead}"));
        }
        if !text.get_ref().starts_with("$url") {
            self.problems.at(&text.span(), "must begin with `$url`, which the user of the suite provides");
        }
        Some(url)
    }

    /// Checks the forms of names.
    fn forms(&mut self) {
        let file = self.file;
        let (id, room, session) = (&file.identity.form, &file.room.form, &file.signals.session);
        for (form, wider) in [(id, false), (room, false), (session, true)] {
            let Some(form) = form else { continue };
            let text = form.get_ref();
            let known: &[&str] = if wider { &SESSION } else { &[] };
            for name in form::variables(text).filter(|name| !known.contains(name)) {
                let instead = if wider { instead_of_variable(name, known) } else { String::new() };
                self.problems.at(&form.span(), format!("unknown variable `${name}`{instead}"));
            }
            let digits = form::digits(text);
            let is_own = wider && form::variables(text).any(|name| name == "self");
            if digits < form::DIGITS_MIN && !is_own {
                let least = form::DIGITS_MIN;
                let message = format!("has {digits} `#`, expected at least {least}: the suite writes a digit for each");
                self.problems.at(&form.span(), message);
            }
        }
        let chosen = matches!(file.identity.assigned_by, AssignedBy::Client | AssignedBy::UserName);
        if let Some(form) = id.as_ref().filter(|_| !chosen) {
            let message =
                "`form` is for ids that clients choose: `assigned-by` is neither \"client\" nor \"user-name\"";
            self.problems.at(&form.span(), message);
        }
        if let Some(session) = session.as_ref().filter(|_| !file.signals.sessions) {
            self.problems.at(&session.span(), "`session` is given, but `sessions` is not true");
        }
    }

    /// Reads the pattern of ids, so that it matches whole ids only.
    fn id_pattern(&mut self) -> Option<Regex> {
        let identity = &self.file.identity;
        let pattern = identity.pattern.as_ref()?;
        if identity.assigned_by != AssignedBy::Server {
            let message = "`pattern` is for ids that the server assigns, but `assigned-by` is not \"server\"";
            self.problems.at(&pattern.span(), message);
        }
        match Regex::new(&format!("^(?:{})$", pattern.get_ref())) {
            Ok(regex) => Some(regex),
            Err(why) => {
                self.problems.at(&pattern.span(), format!("is no regular expression: {why}"));
                None
            }
        }
    }

    fn wrong(&mut self) -> Vec<WrongMessage> {
        let mut wrong = Vec::new();
        for entry in &self.file.wrong {
            let Some(shape) = self.shape(&entry.message, &SENT) else { continue };
            let (what, reason) = (entry.what.clone(), entry.reason.clone());
            wrong.push(WrongMessage { case: entry.case, what, shape, reason, joining: entry.joining });
        }
        wrong
    }

    /// Checks that the tables do not contradict each other.
    fn fits_together(&mut self, send: &BTreeMap<Operation, Shape>, patterns: &[Pattern], url: Option<&Url>) {
        let file = self.file;
        let has_event = |event| patterns.iter().any(|pattern| pattern.event == event);
        let gives_id = |event| matches!(event, EventName::Joined | EventName::Greeting);
        let in_url = |name: &str| url.is_some_and(|url| url.has(name));
        let join = send.get(&Operation::Join);
        let mut wrong: Vec<(&str, String)> = Vec::new();
        let mut check = |right: bool, table: &'static str, message: &str| {
            if !right {
                wrong.push((table, message.to_owned()));
            }
        };
        let (least, most) = (file.room.code_points_min, file.room.code_points_max);
        check(
            least >= 1 && most.is_none_or(|most| least <= most),
            "room",
            "`code-points-min` is at least 1 and at most `code-points-max`",
        );
        match file.join.by {
            JoinBy::Message => check(join.is_some(), "[send]", "needs `join`: [join] `by` is \"message\""),
            JoinBy::Connecting => {
                check(join.is_none(), "[send]", "`join` is never sent: [join] `by` is \"connecting\"");
            }
        }
        match file.room.r#in {
            RoomIn::Message => check(
                join.is_none_or(|join| join.has("room"))
                    && (join.is_some() || send.values().any(|shape| shape.has("room"))),
                "[room]",
                "`in` is \"message\", but no `join` has `$room`",
            ),
            RoomIn::Path | RoomIn::Query => {
                check(
                    in_url("room"),
                    "[room]",
                    "`in` declares that the URL has the room, but [connection] `url` has no `$room`",
                );
            }
            RoomIn::None => {}
        }
        check(
            !file.room.several || (file.room.r#in == RoomIn::Message && file.join.by == JoinBy::Message),
            "[room]",
            "`several` is true, but a client joins no room by a message",
        );
        match file.identity.assigned_by {
            AssignedBy::Server => check(
                patterns.iter().any(|pattern| gives_id(pattern.event) && pattern.shape.has("id")),
                "[identity]",
                "`assigned-by` is \"server\", but no `joined` and no `greeting` has an `$id`",
            ),
            AssignedBy::Client | AssignedBy::UserName => check(
                in_url("self") || send.values().any(|shape| shape.has("self")),
                "[identity]",
                "clients choose their ids, but `$self` is neither in the URL nor in a message",
            ),
            AssignedBy::Nobody => {}
        }
        let (event, sent) = match file.join.answer {
            JoinAnswer::Joined => (Some(EventName::Joined), None),
            JoinAnswer::Roster => (Some(EventName::Roster), None),
            JoinAnswer::Pong => (Some(EventName::Pong), Some(Operation::Ping)),
            JoinAnswer::Echo | JoinAnswer::None => (None, None),
        };
        if let Some(event) = event {
            let message = format!("`answer` is \"{0}\", but no [[match]] is a `{0}`", event.name());
            check(has_event(event), "[join]", &message);
        }
        check(
            sent.is_none_or(|sent| send.contains_key(&sent)),
            "[join]",
            "`answer` is \"pong\", but there is no `ping` to send",
        );
        check(
            file.join.answer != JoinAnswer::Echo || file.signals.echo,
            "[join]",
            "`answer` is \"echo\", but [signals] `echo` is not true",
        );
        check(has_event(EventName::Signal), "[[match]]", "no [[match]] is a `signal`: no signal can be received");
        let signals = [Operation::Signal, Operation::Offer, Operation::Answer, Operation::Candidate];
        for shape in signals.iter().filter_map(|operation| send.get(operation)) {
            let (has, requires) = (shape.has("to"), shape.requires("to"));
            match file.signals.addressing {
                Addressing::Both | Addressing::FilteredByReceiver => check(
                    has && !requires,
                    "[signals]",
                    "`addressing` requires signals with and without a receiver: write `\"…\"?: $to` in the messages that send them",
                ),
                Addressing::Targeted => {
                    check(requires, "[signals]", "`addressing` is \"targeted\", but a signal has no `$to`");
                }
                Addressing::Broadcast => {
                    check(!has, "[signals]", "`addressing` is \"broadcast\", but a signal has a `$to`")
                }
            }
            check(shape.has("data"), "[send]", "a signal has no `$data`");
        }
        check(
            !file.signals.null_is_everyone || file.signals.addressing == Addressing::Both,
            "[signals]",
            "`null-is-everyone` is true, but `addressing` is not \"both\"",
        );
        let from = patterns.iter().any(|pattern| pattern.event == EventName::Signal && pattern.shape.has("from"));
        match file.signals.sender {
            Sender::Stamped | Sender::Claimed => check(
                from,
                "[signals]",
                "`sender` declares that signals name their sender, but no `signal` has a `$from`: write \"absent\"",
            ),
            Sender::Absent => check(!from, "[signals]", "`sender` is \"absent\", but a `signal` has a `$from`"),
        }
        if let Some(roles) = &file.roles {
            let chosen = in_url("role") || join.is_some_and(|join| join.has("role"));
            check(chosen, "[roles]", "`$role` is neither in `join` nor in the URL");
            let ready = roles.ready.as_ref().is_none_or(|role| *role == roles.offers || *role == roles.answers);
            check(ready, "[roles]", "`ready` names neither role");
            check(
                roles.ready.is_none() || has_event(EventName::Ready),
                "[roles]",
                "`ready` is set, but no [[match]] is a `ready`",
            );
        }
        if send.contains_key(&Operation::Call) {
            check(has_event(EventName::Ringing), "[send]", "there is a `call`, but no [[match]] is a `ringing`");
            check(send.contains_key(&Operation::Accept), "[send]", "there is a `call`, but no `accept`");
        }
        check(
            send.contains_key(&Operation::Announce) == has_event(EventName::Announced),
            "[send]",
            "`announce` needs a [[match]] that is an `announced`, and the other way round: members learn of each other by it",
        );
        for operation in [Operation::OfferByName, Operation::AnswerByName] {
            let Some(shape) = send.get(&operation) else { continue };
            let message = format!("there is `{}`, but no [[match]] is a `description`", operation.name());
            check(has_event(EventName::Description), "[send]", &message);
            check(
                shape.requires("to") && shape.has("data"),
                "[send]",
                "an offer or answer by name needs `$to` and `$data`",
            );
        }
        check(
            !file.calls.needed || send.contains_key(&Operation::Call),
            "[calls]",
            "calls are needed, but there is no `call` to send",
        );
        check(
            !file.roster.differences || has_event(EventName::Roster),
            "[roster]",
            "`differences` is true, but no [[match]] is a `roster`",
        );
        let with_ack = &file.connection.with_ack;
        check(
            with_ack.is_empty() || file.connection.framing == Framing::SocketIo,
            "[connection]",
            "`with-ack` is for \"socketio\" only",
        );
        for operation in with_ack.iter().filter(|operation| !send.contains_key(operation)) {
            let message = format!("`with-ack` names `{0}`, but there is no `{0}` to send", operation.name());
            check(false, "[connection]", &message);
        }
        check(
            !send.contains_key(&Operation::Open) || (join.is_some() && has_event(EventName::Error)),
            "[send]",
            "`open` is sent after a refused `join`: it needs a `join`, and a [[match]] that is an `error`",
        );
        let carries = join.is_some_and(|join| join.has("data"));
        check(
            !carries || !join.is_some_and(|join| join.requires("data")),
            "[send]",
            "a `join` carries an offer only if there is one: write `\"…\"?:` for the part with `$data`",
        );
        check(
            !carries || !send.keys().any(|operation| matches!(operation, Operation::Signal | Operation::Offer)),
            "[send]",
            "`join` carries the offer, so there can be no `signal` and no `offer`: write `answer` and `candidate`",
        );
        let gives_reason =
            patterns.iter().any(|pattern| pattern.event == EventName::Error && pattern.shape.has("reason"));
        check(
            !file.refusals.any() || gives_reason,
            "[refusals]",
            "a reason is given, but no [[match]] that is an `error` has a `$reason`",
        );
        check(
            file.wrong.iter().all(|wrong| wrong.reason.is_none()) || gives_reason,
            "[[wrong]]",
            "a `reason` is given, but no [[match]] that is an `error` has a `$reason`",
        );
        check(
            file.join.within_s.is_none() || file.join.by == JoinBy::Message,
            "[join]",
            "`within-s` is given, but clients join by connecting",
        );
        check(
            file.roles.as_ref().is_none_or(|roles| !roles.refusals.any()) || gives_reason,
            "[roles]",
            "`refusals` gives a reason, but no [[match]] that is an `error` has a `$reason`",
        );
        let promises_nothing =
            |situation: &Situation| matches!(file.declares.reaction(*situation), Reaction::Any | Reaction::Obeyed);
        check(
            !file.declares.binding.iter().any(promises_nothing),
            "[declares]",
            "`binding` names a key that is not declared, or \"any\", or \"obeyed\": that is no promise",
        );
        check(
            file.signals.bytes_max.is_none_or(|max| max >= 1_024),
            "[signals]",
            "`bytes-max` is below 1,024 bytes: no session description would fit",
        );
        check(
            file.roster.notified == Notified::Members || has_event(EventName::MemberLeft),
            "[roster]",
            "`notified` is \"contacts\", but no [[match]] is a `member-left`",
        );
        check(
            send.values().all(|shape| !shape.has("nonce")) || patterns.iter().any(|pattern| pattern.shape.has("nonce")),
            "[send]",
            "a message has a `$nonce`, but no [[match]] captures one",
        );
        match file.connection.framing {
            Framing::Sse => {
                check(file.connection.post.is_some(), "[connection]", "`framing` is \"sse\", but there is no `post`")
            }
            Framing::Adapter => {
                check(
                    file.connection.command.is_some(),
                    "[connection]",
                    "`framing` is \"adapter\", but there is no `command`",
                );
            }
            framing => {
                let alone = file.connection.post.is_none() || framing == Framing::WebSocket;
                check(alone, "[connection]", "`post` is for \"sse\" and \"websocket\" only");
                check(!file.connection.raw, "[connection]", "`raw` is for \"adapter\" only");
                check(file.connection.command.is_none(), "[connection]", "`command` is for \"adapter\" only");
            }
        }
        for kind in Kind::ALL {
            let named = file.kinds.as_ref().is_some_and(|kinds| kinds.contains_key(&kind));
            let received = patterns.iter().any(|pattern| {
                pattern.event == EventName::Signal && (pattern.kind == Some(kind) || pattern.kind.is_none())
            });
            check(!named || received, "[kinds]", &format!("`{kind}` is sent, but no [[match]] has a `signal` for it"));
        }
        for (table, message) in wrong {
            self.problems.table(table, message);
        }
    }
}

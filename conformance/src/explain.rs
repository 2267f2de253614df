//! Explains in words how the suite reads a dialect.

use std::fmt::Write as _;

use crate::cases;
use crate::dialect::file::{Addressing, AssignedBy, JoinAnswer, JoinBy, RoomIn};
use crate::dialect::{Dialect, EventName, Kind, Operation};

/// How the suite reads a dialect: how clients connect, join and signal, what they receive, and which cases apply.
pub fn explain(dialect: &Dialect) -> String {
    let mut out = String::new();
    write(dialect, &mut out).expect("a string takes all that is written");
    out
}

fn write(dialect: &Dialect, out: &mut String) -> std::fmt::Result {
    let file = &dialect.file;
    writeln!(out, "{}: {}", file.name, file.about)?;
    let url = file.connection.url.as_ref().map_or("$url", |url| url.get_ref().as_str());
    writeln!(out, "\n  connects   to {url} by {:?}", file.connection.framing)?;
    let id = match file.identity.assigned_by {
        AssignedBy::Server => "the server assigns each client its id",
        AssignedBy::Client => "clients choose their ids",
        AssignedBy::UserName => "user names are the ids",
        AssignedBy::Nobody => "there are no ids",
    };
    let room = match file.room.r#in {
        RoomIn::Message => "messages name the room",
        RoomIn::Path => "the room is the path",
        RoomIn::Query => "the room is in the query",
        RoomIn::None => "there are no rooms",
    };
    writeln!(out, "  identity   {id}; {room}")?;
    let by = match file.join.by {
        JoinBy::Message => "by a message",
        JoinBy::Connecting => "by connecting",
    };
    let answer = match file.join.answer {
        JoinAnswer::Joined => "answered `joined`",
        JoinAnswer::Roster => "answered by a roster",
        JoinAnswer::Pong => "confirmed by a `pong`",
        JoinAnswer::Echo => "confirmed by the echo of a signal",
        JoinAnswer::None => "not answered: clients repeat a signal until it arrives",
    };
    let greeted = if dialect.has_event(EventName::Greeting) { "after a greeting, " } else { "" };
    writeln!(out, "  joins      {greeted}{by}, {answer}")?;
    let whom = match file.signals.addressing {
        Addressing::Both => "to one or to all",
        Addressing::Targeted => "to one",
        Addressing::Broadcast => "to all",
        Addressing::FilteredByReceiver => "to all; clients ignore signals for others",
    };
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| dialect.signal_operation(*kind).is_some())
        .map(|kind| kind.to_string())
        .collect();
    writeln!(out, "  signals    {whom}: {}", kinds.join(", "))?;
    let sends: Vec<_> = dialect.operations().map(|operation| operation.name()).collect();
    writeln!(out, "  sends      {}", sends.join(", "))?;
    let mut receives: Vec<_> = dialect.patterns().iter().map(|pattern| pattern.event.name()).collect();
    receives.dedup();
    writeln!(out, "  receives   {}", receives.join(", "))?;
    let lacks = |case: &crate::Case| case.requires.iter().find_map(|feature| dialect.lacks(*feature));
    let all = cases::all();
    let applicable = all.iter().filter(|case| lacks(case).is_none()).count();
    writeln!(out, "\n  {applicable} of {} cases apply. The others do not, because the dialect …", all.len())?;
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for case in all {
        let Some(reason) = lacks(case) else { continue };
        match reasons.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, slugs)) => slugs.push(case.slug),
            None => reasons.push((reason, vec![case.slug])),
        }
    }
    reasons.iter().try_for_each(|(reason, slugs)| writeln!(out, "  … {reason}: {}", slugs.join(", ")))?;
    if dialect.shape(Operation::Leave).is_none() {
        writeln!(out, "  A client can leave only by disconnecting.")?;
    }
    Ok(())
}

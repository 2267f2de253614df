//! What a scenario orders a program to do: lines of JSON on its standard input, in the form of the suite's adapters.
//!
//! | line | meaning |
//! |---|---|
//! | `{"op":"leave"}` | leave the room, close everything, end |
//! | `{"op":"say","text":…}` | send a text to all connected peers |
//! | `{"op":"hangup","to":ID,"name":NAME}` | hang up on a peer |
//! | `{"op":"ice-restart","to":ID,"name":NAME}` | restart ICE with a peer |
//! | `{"op":"offer","to":ID,"name":NAME}` | send an offer to a peer |

use serde_json::json;

use crate::peer::client::Command;

/// The lines for a command. `known_as` gives the ids of the peers with a name.
///
/// # Errors
/// Why the command has no effect.
pub(super) fn lines(command: &Command, known_as: impl Fn(&str) -> Vec<String>) -> Result<Vec<String>, &'static str> {
    let about = |op: &str, name: &str| match known_as(name) {
        ids if ids.is_empty() => Err("it knows no such client"),
        ids => Ok(ids.into_iter().map(|id| format!("{}\n", json!({ "op": op, "to": id, "name": name }))).collect()),
    };
    match command {
        Command::Leave => Ok(vec![format!("{}\n", json!({ "op": "leave" }))]),
        Command::Say(text) => Ok(vec![format!("{}\n", json!({ "op": "say", "text": &**text }))]),
        Command::Hangup(name) => about("hangup", name),
        Command::IceRestart(name) => about("ice-restart", name),
        Command::Offer(name) => about("offer", name),
        Command::Drop
        | Command::Call(_)
        | Command::Accept
        | Command::Reject
        | Command::Media(..)
        | Command::AddTrack(_)
        | Command::Suspend
        | Command::Resume
        | Command::Moved(_) => Err("its role cannot do that"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_about_a_peer_names_each_of_its_ids() {
        let known_as = |name: &str| if name == "ben" { vec!["x1".to_owned(), "x2".to_owned()] } else { Vec::new() };
        let lines = |command| lines(&command, known_as);
        assert_eq!(
            lines(Command::Say("a \"b\"".into())),
            Ok(vec!["{\"op\":\"say\",\"text\":\"a \\\"b\\\"\"}\n".to_owned()])
        );
        let both = lines(Command::Hangup("ben".into())).expect("a peer");
        assert_eq!(both[1], "{\"name\":\"ben\",\"op\":\"hangup\",\"to\":\"x2\"}\n");
        assert_eq!(lines(Command::Hangup("cam".into())), Err("it knows no such client"));
    }
}

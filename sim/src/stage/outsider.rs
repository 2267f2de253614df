//! A server program of others on the server's machine.

use std::time::Duration;

use scenarios::{ClientProgram, IceServer, ServerProgram};
use server::STUN_PORT;
use tokio::time::{Instant, sleep_until};

use super::client_program::command_of as command_of_other;
use super::{StageError, turn};
use crate::foreign::{Command, Foreign, Order, Part, Seen};
use crate::host::Host;

/// Virtual time that a program may take until it listens.
const LISTENS_BY: Duration = Duration::from_secs(60);

/// The command of a scenario's server program.
pub(crate) fn command_of(program: &ServerProgram) -> Command {
    Command { words: program.run.clone(), env: program.env.clone(), directory: program.directory.clone() }
}

/// Starts a program.
pub(crate) fn start(host: &Host, program: &ServerProgram, seed: u64) -> Result<Foreign, StageError> {
    Foreign::start(host, &command_of(program), Part::Server, seed)
        .map_err(|trouble| StageError::Program(trouble.to_string()))
}

/// Starts the program of a machine with a STUN or TURN server. Its environment says where it is, and how it recognises the
/// actors.
pub(super) fn start_ice(
    host: &Host,
    setup: &IceServer,
    program: &ClientProgram,
    seed: u64,
) -> Result<Foreign, StageError> {
    let mut command = command_of_other(program);
    command.env.insert("GLARE_ADDRESS".to_owned(), host.address().to_string());
    command.env.insert("GLARE_TURN_SECRET".to_owned(), turn::SECRET.to_owned());
    Foreign::start(host, &command, Part::Server, seed)
        .map_err(|trouble| StageError::Program(format!("`{}`: {trouble}", setup.name)))
}

/// Waits, in virtual time, until the program of the machine `name` has bound the UDP port of STUN.
pub(super) async fn receiving(foreign: &Foreign, name: &str) -> Result<(), StageError> {
    let give_up = Instant::now() + LISTENS_BY;
    loop {
        let seen = foreign.status.seen();
        if seen.udp_ports.contains(&STUN_PORT) {
            return Ok(());
        }
        if let Some(why) = seen.trouble {
            return Err(StageError::Program(format!("`{name}`: {why}")));
        }
        let why = if let Some(how) = &seen.ended {
            format!("the program of `{name}` ended {how} before it had bound UDP port {STUN_PORT}")
        } else {
            tokio::select! { biased;
                () = foreign.status.changed() => continue,
                () = sleep_until(give_up) => {}
            }
            let ports: Vec<_> = seen.udp_ports.iter().map(u16::to_string).collect();
            let others = if ports.is_empty() { String::new() } else { format!(", but {}", ports.join(", ")) };
            let patience = LISTENS_BY.as_secs();
            format!("the program of `{name}` has not bound UDP port {STUN_PORT} within {patience} s{others}")
        };
        return Err(StageError::Unreachable(with_lines(why, &seen)));
    }
}

/// Waits, in virtual time, until a program listens. Returns its port.
pub(crate) async fn listening(foreign: &Foreign, program: &ServerProgram) -> Result<u16, StageError> {
    let give_up = Instant::now() + LISTENS_BY;
    loop {
        let seen = foreign.status.seen();
        let port = match program.port {
            Some(wanted) => seen.ports.iter().copied().find(|port| *port == wanted),
            None => seen.ports.first().copied(),
        };
        if let Some(port) = port {
            return Ok(port);
        }
        if let Some(why) = seen.trouble {
            return Err(StageError::Program(why));
        }
        if let Some(how) = &seen.ended {
            return Err(StageError::Unreachable(with_lines(
                format!("the server's program ended {how} before it listened"),
                &seen,
            )));
        }
        tokio::select! { biased;
            () = foreign.status.changed() => {}
            () = sleep_until(give_up) => return Err(StageError::Unreachable(silence(&seen, program))),
        }
    }
}

/// Why a program that still runs cannot be reached.
fn silence(seen: &Seen, program: &ServerProgram) -> String {
    let ports: Vec<_> = seen.ports.iter().map(u16::to_string).collect();
    let what = match program.port {
        Some(wanted) if !ports.is_empty() => {
            format!(
                "the server's program does not listen on port {wanted}, but on {}: is `port` right?",
                ports.join(", ")
            )
        }
        _ => format!("the server's program has not listened on any TCP port within {} s", LISTENS_BY.as_secs()),
    };
    with_lines(what, seen)
}

fn with_lines(mut text: String, seen: &Seen) -> String {
    for stranger in &seen.strangers {
        text.push_str("; ");
        text.push_str(stranger);
    }
    if !seen.sought.is_empty() {
        let sought = seen.sought.join(", ");
        text.push_str(&format!(
            "; it asked for {sought}: a simulation has no other machines than the scenario's, so what the program needs must be one of its own processes"
        ));
    }
    text + &seen.last_lines.list()
}

/// Why a program does not run any more, with the last lines that it printed; `None` while it runs.
pub(crate) fn ended(foreign: &Foreign) -> Option<String> {
    let seen = foreign.status.seen();
    let why = match (&seen.trouble, &seen.ended) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some(how)) => format!("the server's program ended {how}"),
        (None, None) => return None,
    };
    Some(with_lines(why, &seen))
}

/// Orders a program to shut down.
pub(super) fn shut_down(foreign: &Foreign) {
    foreign.order(Order::ShutDown);
}

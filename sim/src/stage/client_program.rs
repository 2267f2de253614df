//! A client program of others on an actor's machine.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use scenarios::ClientProgram;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::StageError;
use super::program::{Program, ProgramConfig};
use crate::foreign::client::Setup;
use crate::foreign::{Command, Foreign, Order, Part, SERVER_NAME};
use crate::host::Host;
use crate::peer::client::observed::Observed;
use crate::peer::client::{self, StepCommand};

/// Virtual time that a program has to leave by itself before it receives SIGTERM.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// The command of an actor's program, without what it is told about its scenario.
pub(crate) fn command_of(program: &ClientProgram) -> Command {
    Command { words: program.run.clone(), env: program.env.clone(), directory: program.directory.clone() }
}

/// An actor's program, from its start to its end.
pub(super) struct OwnProgram {
    foreign: Foreign,
    host: Host,
    leaves: bool,
}

impl OwnProgram {
    /// Starts a program.
    pub(super) fn start(host: &Host, program: &ClientProgram, config: ProgramConfig) -> Result<Self, StageError> {
        let (name, seed, recorder, node) =
            (config.actor.name.clone(), config.seed, config.recorder.clone(), config.node);
        let mut command = command_of(program);
        command.env.extend(variables(&config));
        let (server, stun) = (config.servers.signaling, config.servers.ice.first().map(|ice| ice.address));
        let stun = stun.expect("a program uses the server's STUN").into();
        let observed = Observed::new(config.into_client(), recorder, node);
        let part = Part::Client(Box::new(Setup { observed, server, stun }));
        let foreign = Foreign::start(host, &command, part, seed)
            .map_err(|trouble| StageError::Program(format!("{name}: {trouble}")))?;
        Ok(Self { foreign, host: host.clone(), leaves: false })
    }

    /// Where it takes orders.
    pub(super) fn orders(&self) -> mpsc::UnboundedSender<Order> {
        self.foreign.orders()
    }

    /// Gives an order. Returns false if the program has ended.
    fn order(&self, order: Order) -> bool {
        let runs = !self.is_over();
        if runs {
            self.foreign.order(order);
        }
        runs
    }

    fn is_over(&self) -> bool {
        let seen = self.foreign.status.seen();
        seen.ended.is_some() || seen.trouble.is_some()
    }
}

/// What a program needs to join: its environment.
fn variables(config: &ProgramConfig) -> Vec<(String, String)> {
    let client = &config.actor;
    let signaling = config.servers.signaling;
    let at = |port: u16| format!("{SERVER_NAME}:{port}");
    let path = client::path_of(&config.spoken, &client.name, client.plays, &client.room, signaling);
    let stun = config.servers.ice.first().map(|stun| format!("stun:{}", at(stun.address.port())));
    let all = [
        ("GLARE_URL", Some(format!("ws://{}{path}", at(signaling.port())))),
        ("GLARE_ROOM", Some(client.room.clone())),
        ("GLARE_NAME", Some(client.name.clone())),
        ("GLARE_ROLE", Some(client.plays.name().to_owned())),
        ("GLARE_STUN", stun),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

impl Program for OwnProgram {
    fn command(&mut self, command: StepCommand) {
        match command.command() {
            client::Command::Drop => {
                let cut = self.order(Order::Cut);
                return command.done(if cut { Ok(()) } else { Err("its program has ended") });
            }
            client::Command::Leave if !self.leaves => {
                self.leaves = true;
                let (status, orders) = (self.foreign.status.clone(), self.foreign.orders());
                let give_up = Instant::now() + LEAVES_WITHIN;
                self.host.run_task(async move {
                    loop {
                        let seen = status.seen();
                        if seen.ended.is_some() || seen.trouble.is_some() {
                            return;
                        }
                        tokio::select! { biased;
                            () = status.changed() => {}
                            () = sleep_until(give_up) => break,
                        }
                    }
                    // Who has ended meanwhile no longer receives it.
                    let _ = orders.send(Order::ShutDown);
                });
            }
            _ => {}
        }
        // If the program has ended, dropping the command records that it has no effect.
        if !self.is_over() {
            self.foreign.order(Order::Do(command));
        }
    }

    /// Its last messages are sent when it has ended: two lives of a program do not run side by side.
    fn left(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            while !self.is_over() {
                self.foreign.status.changed().await;
            }
        })
    }

    fn detach(&self) {}

    fn has_ended(&mut self) -> bool {
        self.is_over()
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), StageError>> + '_>> {
        Box::pin(async {
            self.left().await;
            Ok(())
        })
    }
}

//! A command of the user that brings the server back after a crash.

use std::future::Future;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// How long a server may take to answer after the command has begun.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it may take once the command has ended.
const LIMIT_AFTER_END: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// A shell command that brings the server back. Clones share the reason why it failed.
#[derive(Clone, Debug)]
pub struct Restart {
    command: String,
    prepare: Option<fn()>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Restart {
    /// A command for `sh -c`. It may end once the server runs, or be the server itself. It is never stopped.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), prepare: None, failure: Arc::default() }
    }

    /// Calls this before the command. It may block: for example until what is left of the server has ended.
    #[must_use]
    pub fn after(self, prepare: fn()) -> Self {
        Self { prepare: Some(prepare), ..self }
    }

    /// Why the server was not brought back, and what would be right. After such a failure nothing more is tested.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().expect("nothing panics while it holds it").clone()
    }

    /// Runs the command and waits until the server at `url` is alive; returns whether it is.
    pub(crate) async fn run<F: Future<Output = bool>>(&self, url: &str, is_alive: impl Fn() -> F) -> bool {
        let brought = self.bring_back(url, is_alive).await;
        let succeeded = brought.is_ok();
        *self.failure.lock().expect("nothing panics while it holds it") = brought.err();
        succeeded
    }

    async fn bring_back<F: Future<Output = bool>>(&self, url: &str, is_alive: impl Fn() -> F) -> Result<(), String> {
        let command = &self.command;
        let right = "give a command that starts the server again, at the same address";
        if let Some(prepare) = self.prepare {
            #[allow(clippy::disallowed_methods)] // a real server, outside of every simulation
            let prepared = tokio::task::spawn_blocking(prepare).await;
            prepared.map_err(|error| format!("what is left of the server cannot be ended: {error}"))?;
        }
        let mut shell = Command::new("sh");
        // Standard output has only the report. Ctrl-C in a terminal reaches only this process' own group.
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(std::io::stderr()).process_group(0);
        let mut child = shell.spawn().map_err(|error| format!("`sh` does not start: {error}"))?;
        let mut limit = Instant::now() + LIMIT;
        let mut ended = false;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if !status.success() => {
                    return Err(format!("the command `{command}` fails ({status}): {right}"));
                }
                Ok(Some(_)) if !ended => {
                    ended = true;
                    limit = limit.min(Instant::now() + LIMIT_AFTER_END);
                }
                _ => {}
            }
            if is_alive().await {
                return Ok(());
            }
            if Instant::now() >= limit {
                let what = if ended { "has succeeded" } else { "still runs" };
                return Err(format!(
                    "the command `{command}` {what}, but the server does not answer at {url}: {right}"
                ));
            }
            sleep(PAUSE).await;
        }
    }
}

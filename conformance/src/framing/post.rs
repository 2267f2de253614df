//! Messages of a client as HTTP POST requests. The response is reported as a message of its own:
//! `["posted", 400, {"error": "no such room"}]`, with a body that is not JSON as a string.

use tokio::sync::mpsc::unbounded_channel;

use super::cookies::Jar;
use super::http::{Request, Response, fetch};
use super::link::{Command, Commands, Reporter};
use super::net::Net;
use crate::target::Target;

/// Posts the messages of one client.
pub(crate) struct Poster {
    net: Net,
    cookies: Jar,
    path: String,
    pub(crate) reporter: Reporter,
}

impl Poster {
    pub(crate) fn new(net: &Net, cookies: Jar, url: &str, reporter: Reporter) -> Self {
        Self { net: net.clone(), cookies, path: Target::path_of(url), reporter }
    }

    /// Posts to this path from here on.
    pub(crate) fn to(&mut self, path: String) {
        self.path = path;
    }

    pub(crate) async fn post(&self, text: &str) {
        self.reporter.sent(text);
        let headers = vec![("Content-Type", "application/json".to_owned())];
        let request = Request { method: "POST", path: self.path.clone(), headers, body: Some(text) };
        match fetch(&self.net, &self.cookies, &request).await {
            // Most servers answer with nothing that a client needs.
            Ok(response) if response.status < 300 && response.body.trim().is_empty() => {}
            Ok(response) => self.reporter.received(posted(&response)),
            Err(error) => drop(self.reporter.note(&format!("cannot post: {error}"))),
        }
    }

    /// Posts the messages among the commands, one at a time, and passes all other commands on: for a connection on which
    /// the server only writes.
    pub(crate) fn between(mut self, mut commands: Commands) -> Commands {
        let (others, passed_on) = unbounded_channel();
        let dial = self.net.dial.clone();
        dial.spawn_boxed(Box::pin(async move {
            while let Some(command) = commands.recv().await {
                for command in command.apart() {
                    match command {
                        Command::Text(text) => self.post(&text).await,
                        Command::PostTo(path) => self.to(path),
                        other => drop(others.send(other)),
                    }
                }
            }
        }));
        passed_on
    }
}

/// The response as a message.
fn posted(response: &Response) -> String {
    let body = response.body.trim();
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok();
    let body = if is_json { body.to_owned() } else { serde_json::Value::from(body).to_string() };
    format!(r#"["posted",{},{body}]"#, response.status)
}

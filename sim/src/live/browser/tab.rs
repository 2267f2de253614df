//! A tab: the page in which an actor's connections live.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::devtools::{DevTools, Failure, Inbox, TELL};
use super::process::{Browser, Process};
use crate::event::{DtlsState, IceState, TrackKind};
use crate::peer::stack::{StackError, StackEvent, Trickled, parse_candidate};

/// What a page does for an actor.
const SCRIPT: &str = include_str!("page.js");

/// An open tab. It is closed when it is dropped.
pub(in crate::live) struct Tab {
    browser: Arc<Process>,
    context: String,
    session: String,
    inbox: Arc<Inbox>,
    /// What has been told and not been read, by the number of the connection.
    sorted: Mutex<BTreeMap<u32, VecDeque<StackEvent>>>,
}

/// What a page tells about a connection.
#[derive(Deserialize)]
struct Told {
    connection: u32,
    event: Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Candidate(Trickled),
    Ice(String),
    Dtls(String),
    Selected { local: String, remote: String },
    Open,
    Closed,
    Text(String),
    Track(String),
    Plays(String),
}

impl Tab {
    /// Opens a tab in a browser context of its own, so that no other tab shares its process.
    ///
    /// # Errors
    /// What is wrong with the browser.
    pub(in crate::live) fn open(browser: &Browser) -> Result<Arc<Self>, String> {
        Self::try_open(&browser.0).map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Gone(why) => format!("a tab could not be opened: {why}"),
        })
    }

    fn try_open(browser: &Arc<Process>) -> Result<Arc<Self>, Failure> {
        let ask = |session: &str, method: &str, params: Value| browser.devtools.ask(session, method, &params);
        let word = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let context = word(&ask("", "Target.createBrowserContext", json!({}))?, "browserContextId");
        // A tab in the window of another would be hidden, and a hidden tab draws nothing.
        let page = json!({ "url": "about:blank", "browserContextId": context, "newWindow": true });
        let target = word(&ask("", "Target.createTarget", page)?, "targetId");
        let attached = ask("", "Target.attachToTarget", json!({ "targetId": target, "flatten": true }))?;
        let session = word(&attached, "sessionId");
        let inbox = browser.devtools.hear(&session);
        let tab = Self { browser: browser.clone(), context, session, inbox, sorted: Mutex::default() };
        for (method, params) in [
            ("Inspector.enable", json!({})),
            ("Runtime.enable", json!({})),
            ("Runtime.addBinding", json!({ "name": TELL })),
        ] {
            ask(&tab.session, method, params)?;
        }
        tab.evaluate(SCRIPT)?;
        tab.evaluate("glare(0, \"ready\")")?;
        Ok(Arc::new(tab))
    }

    /// Lets a connection do something, and returns the result.
    ///
    /// # Errors
    /// What the browser says, or that it is gone.
    pub(super) fn ask(&self, connection: u32, what: &str, argument: impl Serialize) -> Result<Value, StackError> {
        let argument = serde_json::to_string(&argument).expect("strings and numbers have a JSON form");
        let result = self.evaluate(&format!("glare({connection}, \"{what}\", {argument})"));
        result.map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Gone(why) => StackError::from(why),
        })
    }

    fn evaluate(&self, expression: &str) -> Result<Value, Failure> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.devtools().ask(&self.session, "Runtime.evaluate", &params)?;
        let thrown = &answer["exceptionDetails"];
        if thrown.is_null() {
            return Ok(answer["result"]["value"].take());
        }
        let text = thrown["exception"]["description"].as_str().or_else(|| thrown["text"].as_str()).unwrap_or_default();
        // What follows are the places in the script.
        Err(Failure::Refused(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// Begins to keep what is told about a connection.
    pub(super) fn begin(&self, connection: u32) {
        self.sorted.lock().expect("no panic while held").insert(connection, VecDeque::new());
    }

    /// Forgets what was told about a connection, and what will be.
    pub(super) fn end(&self, connection: u32) {
        self.sorted.lock().expect("no panic while held").remove(&connection);
    }

    /// The next thing that was told about a connection.
    pub(super) fn next(&self, connection: u32) -> Option<StackEvent> {
        let mut sorted = self.sorted.lock().expect("no panic while held");
        for told in self.inbox.take() {
            let Ok(Told { connection, event }) = serde_json::from_str(&told) else { continue };
            if let (Some(queue), Some(event)) = (sorted.get_mut(&connection), event.read()) {
                queue.push_back(event);
            }
        }
        sorted.get_mut(&connection)?.pop_front()
    }

    /// Notified when something is told.
    pub(super) fn changed(&self) -> Arc<Notify> {
        self.inbox.changed.clone()
    }

    /// Ends the tab as a loss of power ends a machine: it says goodbye to nobody.
    pub(in crate::live) fn kill(&self) {
        self.devtools().forget(&self.session);
        self.devtools().order(&self.session, "Page.crash", &json!({}));
    }

    fn devtools(&self) -> &DevTools {
        &self.browser.devtools
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.devtools().forget(&self.session);
        let context = json!({ "browserContextId": self.context });
        self.devtools().order("", "Target.disposeBrowserContext", &context);
    }
}

impl Event {
    /// The event as a stack reports it; `None` if it cannot be represented.
    fn read(self) -> Option<StackEvent> {
        Some(match self {
            Self::Candidate(candidate) => StackEvent::Gathered(candidate),
            Self::Ice(state) => StackEvent::Ice(ice_state(&state)?),
            Self::Dtls(state) => StackEvent::Dtls(dtls_state(&state)?),
            Self::Selected { local, remote } => {
                StackEvent::Selected { local: parse_candidate(&local)?, remote: parse_candidate(&remote)? }
            }
            Self::Open => StackEvent::ChannelOpen,
            Self::Closed => StackEvent::ChannelClosed,
            Self::Text(text) => StackEvent::Text(text.into()),
            Self::Track(kind) => StackEvent::Track(track_kind(&kind)?),
            Self::Plays(kind) => StackEvent::Plays(track_kind(&kind)?),
        })
    }
}

fn track_kind(word: &str) -> Option<TrackKind> {
    Some(match word {
        "audio" => TrackKind::Audio,
        "video" => TrackKind::Video,
        _ => return None,
    })
}

fn ice_state(word: &str) -> Option<IceState> {
    Some(match word {
        "new" => IceState::New,
        "checking" => IceState::Checking,
        "connected" => IceState::Connected,
        "completed" => IceState::Completed,
        "disconnected" => IceState::Disconnected,
        "failed" => IceState::Failed,
        "closed" => IceState::Closed,
        _ => return None,
    })
}

fn dtls_state(word: &str) -> Option<DtlsState> {
    Some(match word {
        "new" => DtlsState::New,
        "connecting" => DtlsState::Connecting,
        "connected" => DtlsState::Connected,
        "closed" => DtlsState::Closed,
        "failed" => DtlsState::Failed,
        _ => return None,
    })
}

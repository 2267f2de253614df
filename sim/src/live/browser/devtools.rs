//! Chromium's DevTools protocol, over two pipes: requests with their answers, and what pages tell.
//!
//! Over pipes, nobody else on this machine can steer the browser, and it ends when this process does, however that ends.
//! A thread of its own reads. Whoever asks waits for the answer, and so does the whole run: see [`super`].

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The longest time that an answer may take. It is only reached if the browser hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// What separates messages.
const END: u8 = 0;

/// The name of the function by which pages tell something.
pub(super) const TELL: &str = "glareTell";

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The browser refused it, for this reason.
    Refused(String),
    /// There is no browser, or no page, that could answer.
    Gone(String),
}

/// What a page has told and nobody has read, oldest first.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    told: Mutex<VecDeque<String>>,
    /// Notified when something is told.
    pub(super) changed: Arc<Notify>,
}

impl Inbox {
    /// Takes everything that was told.
    pub(super) fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut *self.told.lock().expect("no panic while held"))
    }
}

/// The connection to a browser. All clones are the same connection.
#[derive(Clone)]
pub(super) struct DevTools(Arc<Shared>);

struct Shared {
    /// Where requests go; `None` once the browser is to end.
    pipe: Mutex<Option<ChildStdin>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: u64,
    /// Who waits for the answer to a request, and the page that the request is for.
    waiting: BTreeMap<u64, (String, mpsc::Sender<Result<Value, Failure>>)>,
    /// The pages that are heard, by their sessions.
    pages: BTreeMap<String, Arc<Inbox>>,
    /// What first went wrong with the browser itself.
    trouble: Option<String>,
    /// The longest time that an answer took.
    slowest: Duration,
}

/// A message from the browser: an answer with an `id`, or an event with a `method`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    id: Option<u64>,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    session_id: String,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl DevTools {
    /// Connects to a browser by its pipes.
    #[allow(clippy::disallowed_methods)] // a thread that waits for a real program, outside of every simulation
    pub(super) fn connect(to: ChildStdin, from: ChildStdout) -> Self {
        let devtools = Self(Arc::new(Shared { pipe: Mutex::new(Some(to)), state: Mutex::default() }));
        let reading = devtools.clone();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut message = Vec::new();
            while from.read_until(END, &mut message).is_ok_and(|length| length > 0) {
                if message.last() == Some(&END) {
                    message.pop();
                }
                // A message of another form is none that anybody waits for.
                if let Ok(incoming) = serde_json::from_slice(&message) {
                    reading.on_message(incoming);
                }
                message.clear();
            }
            reading.is_lost("the browser has ended");
        });
        devtools
    }

    /// Asks the browser, or one of its pages by its session, and waits for the answer.
    pub(super) fn ask(&self, session: &str, method: &str, params: &Value) -> Result<Value, Failure> {
        let (sender, answer) = mpsc::channel();
        let asked = Instant::now();
        self.send(session, method, params, Some(sender))?;
        let answer = answer.recv_timeout(PATIENCE);
        let mut state = self.state();
        state.slowest = state.slowest.max(asked.elapsed());
        drop(state);
        match answer {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let why = format!("the browser did not answer `{method}` within {} s", PATIENCE.as_secs());
                self.is_lost(&why);
                Err(Failure::Gone(why))
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Failure::Gone("the page has ended".to_owned())),
        }
    }

    /// Orders something whose answer nobody waits for.
    pub(super) fn order(&self, session: &str, method: &str, params: &Value) {
        // If the browser is gone, so is what the order is about.
        let _ = self.send(session, method, params, None);
    }

    fn send(
        &self,
        session: &str,
        method: &str,
        params: &Value,
        waits: Option<mpsc::Sender<Result<Value, Failure>>>,
    ) -> Result<(), Failure> {
        let id = {
            let mut state = self.state();
            if let Some(trouble) = &state.trouble {
                return Err(Failure::Gone(trouble.clone()));
            }
            state.requests += 1;
            let id = state.requests;
            state.waiting.extend(waits.map(|sender| (id, (session.to_owned(), sender))));
            id
        };
        let mut request = json!({ "id": id, "method": method, "params": params });
        if !session.is_empty() {
            request["sessionId"] = session.into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(END);
        let mut pipe = self.0.pipe.lock().expect("no panic while held");
        let written = pipe.as_mut().map(|pipe| pipe.write_all(&bytes));
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Failure::Gone("the browser has ended".to_owned())),
        }
    }

    /// Hears what the page of a session tells, from now on.
    pub(super) fn hear(&self, session: &str) -> Arc<Inbox> {
        self.state().pages.entry(session.to_owned()).or_default().clone()
    }

    /// Stops hearing a page: what becomes of it is no trouble.
    pub(super) fn forget(&self, session: &str) {
        let mut state = self.state();
        state.pages.remove(session);
        state.waiting.retain(|_, (of, _)| of != session);
    }

    /// What went wrong with the browser itself, so that a run with it says nothing about the server.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// The longest time that an answer took since this was last called.
    pub(super) fn take_slowest(&self) -> Duration {
        std::mem::take(&mut self.state().slowest)
    }

    /// Tells the browser to end.
    pub(super) fn close(&self) {
        self.0.pipe.lock().expect("no panic while held").take();
    }

    fn on_message(&self, incoming: Incoming) {
        let Incoming { id, result, error, method, params, session_id } = incoming;
        if let Some(id) = id {
            if let Some((_, sender)) = self.state().waiting.remove(&id) {
                // Whoever has given up waiting needs no answer.
                let _ = sender.send(error.map_or(Ok(result), |error| Err(Failure::Refused(error.message))));
            }
            return;
        }
        match method.as_str() {
            "Runtime.bindingCalled" if params["name"] == TELL => {
                let page = self.state().pages.get(&session_id).cloned();
                if let (Some(page), Some(told)) = (page, params["payload"].as_str()) {
                    page.told.lock().expect("no panic while held").push_back(told.to_owned());
                    page.changed.notify_one();
                }
            }
            "Inspector.targetCrashed" if self.state().pages.contains_key(&session_id) => {
                self.is_lost("a tab of the browser has crashed");
            }
            _ => {}
        }
    }

    /// Notes that the browser cannot go on. Nobody waits for it any more.
    fn is_lost(&self, why: &str) {
        let mut state = self.state();
        state.trouble.get_or_insert_with(|| why.to_owned());
        state.waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic while held")
    }
}

//! One Engine.IO session: its transport, its pings, its end. It outlives its TCP connections.
//!
//! Each session has a task, the *keeper*, that sends the pings, checks the deadlines, and answers the polls. What a
//! client sends is handled immediately, in the task of the connection on which it arrived.

use std::collections::VecDeque;
use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::engine::{DecodeError, Packet, SEPARATOR};
use super::settings::SocketIoSettings;
use super::socket::Socket;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::rate::{Bucket, Rate};
use crate::session::close::Close;
use crate::session::queue::{Load, Queue};

/// How long a poll waits during the upgrade to a WebSocket: it must not wait for the next event.
const RELEASE: Duration = Duration::from_millis(100);
/// How often the keeper yields before it closes a session for a missing pong or join. That is enough for other tasks to
/// accept a connection and to read a request that has already arrived.
const LATE_YIELDS: usize = 8;

/// A session, shared by its keeper and its connections.
pub(crate) struct Session {
    pub(crate) sid: String,
    /// Packets for the client.
    pub(crate) queue: Arc<Queue>,
    ping_interval: Duration,
    ping_timeout: Duration,
    close_timeout: Duration,
    message_timeout: Duration,
    message_rate: Option<Rate>,
    state: Lock<State>,
}

struct State {
    /// `None` when the server is about to close it, and after its end.
    socket: Option<Socket>,
    transport: Transport,
    /// When the next ping is due, or the answer to the last one.
    ping_due: Option<Instant>,
    awaits_pong: bool,
    /// When the first join times out.
    join_due: Option<Instant>,
    /// When the attachments of an event must be complete.
    event_due: Option<Instant>,
    /// Until when a closed session waits for a poll to report it.
    farewell_due: Option<Instant>,
    is_over: bool,
    /// The remaining tokens of the message rate.
    received: Bucket,
    keeper: Option<Waker>,
}

enum Transport {
    Polling(Polling),
    WebSocket,
}

#[derive(Default)]
struct Polling {
    /// The waiting poll.
    poll: Option<oneshot::Sender<String>>,
    is_posting: bool,
    /// Whether a WebSocket was opened to which it may be upgraded.
    is_probed: bool,
    /// When a waiting poll must be answered.
    release_due: Option<Instant>,
}

/// What the keeper does next.
enum Turn {
    /// It waits for the next deadline.
    Wait(Instant),
    /// It closes the session, unless the overdue pong or join has already arrived.
    Late,
    /// The session has ended.
    Over,
}

/// Why a request is not possible.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidRequest {
    /// The session has ended or is about to.
    Over,
    /// The session has another transport.
    Transport,
    /// Such a request is already in progress.
    Overlap,
}

impl Session {
    pub(crate) fn new(
        sid: String,
        socket: Socket,
        queue: Arc<Queue>,
        over_websocket: bool,
        settings: &SocketIoSettings,
        limits: &Limits,
    ) -> Self {
        let now = Instant::now();
        let transport = if over_websocket { Transport::WebSocket } else { Transport::Polling(Polling::default()) };
        let state = State {
            socket: Some(socket),
            transport,
            ping_due: Some(now + settings.ping_interval),
            awaits_pong: false,
            join_due: Some(now + limits.join_timeout),
            event_due: None,
            farewell_due: None,
            is_over: false,
            received: Bucket::full(now),
            keeper: None,
        };
        let SocketIoSettings { ping_interval, ping_timeout, .. } = *settings;
        let Limits { close_timeout, message_timeout, message_rate, .. } = *limits;
        let state = Lock::new(state);
        Self { sid, queue, ping_interval, ping_timeout, close_timeout, message_timeout, message_rate, state }
    }

    /// Handles a packet of the client. An invalid packet closes the session.
    pub(crate) fn receive(&self, packet: Result<Packet<'_>, DecodeError>) {
        match packet {
            Ok(Packet::Message(text)) => self.hand_over(|socket| socket.text(text)),
            Ok(Packet::Binary(data)) => self.receive_binary(data.into_owned().into()),
            Ok(Packet::Pong(_)) => self.lock().pong_received(self.ping_interval),
            Ok(Packet::Close) => self.lock().leave(&self.queue),
            Ok(Packet::Noop | Packet::Upgrade) => {}
            Ok(Packet::Open(_) | Packet::Ping(_)) => self.close(Close::Packet),
            Err(error) => {
                tracing::debug!(%error, "not a packet");
                self.close(Close::Packet);
            }
        }
    }

    /// The same for a packet of a polling client, which is counted here; on a WebSocket, the connection counts it.
    pub(crate) fn receive_posted(&self, packet: Result<Packet<'_>, DecodeError>) {
        self.queue.tally.received(match &packet {
            Ok(Packet::Message(text)) => text.len(),
            Ok(Packet::Binary(data)) => data.len(),
            _ => 0,
        });
        let is_paid_for = match &self.message_rate {
            Some(rate) => self.lock().received.take(rate, Instant::now()),
            None => true,
        };
        if is_paid_for { self.receive(packet) } else { self.close(Close::TooFast) }
    }

    /// Handles binary data of the client.
    pub(crate) fn receive_binary(&self, data: Bytes) {
        self.hand_over(|socket| socket.binary(data));
    }

    fn hand_over(&self, message: impl FnOnce(&mut Socket) -> Result<(), Close>) {
        let state = &mut *self.lock();
        let Some(socket) = &mut state.socket else { return };
        let verdict = message(socket);
        if socket.has_joined() && state.join_due.take().is_some() {
            self.queue.joined();
        }
        let is_incomplete = socket.is_incomplete();
        if is_incomplete != state.event_due.is_some() {
            state.event_due = is_incomplete.then(|| Instant::now() + self.message_timeout);
            state.wake_keeper();
        }
        if let Err(close) = verdict {
            state.close(&self.queue, close);
        }
    }

    /// Closes the session, on the server's decision.
    pub(crate) fn close(&self, close: Close) {
        self.lock().close(&self.queue, close);
    }

    /// Ends the session, because the transport is gone.
    pub(crate) fn end(&self) {
        self.lock().end();
    }

    /// Handles a poll: it is answered when there are packets to send.
    ///
    /// # Errors
    /// The poll is not possible. An overlap ends the session.
    pub(crate) fn poll(self: &Arc<Self>) -> Result<impl Future<Output = String> + use<>, InvalidRequest> {
        let mut state = self.lock();
        let polling = state.polling()?;
        if polling.poll.is_some() {
            state.end();
            return Err(InvalidRequest::Overlap);
        }
        let (answer, answered) = oneshot::channel();
        polling.poll = Some(answer);
        if polling.is_probed {
            polling.release_due = Some(Instant::now() + RELEASE);
        }
        state.wake_keeper();
        drop(state);
        let lost = OnDrop { session: Arc::clone(self), run: Some(Self::end) };
        Ok(async move {
            let answer = answered.await;
            lost.disarm();
            answer.unwrap_or_else(|_| Packet::Noop.to_string())
        })
    }

    /// Begins a post. The session ends if the guard is dropped before [`Post::finish`].
    ///
    /// # Errors
    /// The post is not possible. An overlap ends the session.
    pub(crate) fn post(self: &Arc<Self>) -> Result<Post, InvalidRequest> {
        let mut state = self.lock();
        let polling = state.polling()?;
        if polling.is_posting {
            state.end();
            return Err(InvalidRequest::Overlap);
        }
        polling.is_posting = true;
        Ok(Post(OnDrop { session: Arc::clone(self), run: Some(Self::end) }))
    }

    /// Begins the upgrade to a WebSocket that was opened.
    ///
    /// # Errors
    /// There is already one.
    pub(crate) fn probe(self: &Arc<Self>) -> Result<Probe, InvalidRequest> {
        let mut state = self.lock();
        let polling = state.polling()?;
        if polling.is_probed {
            return Err(InvalidRequest::Overlap);
        }
        polling.is_probed = true;
        let give_up: fn(&Session) = |session| {
            if let Ok(polling) = session.lock().polling() {
                polling.is_probed = false;
                polling.release_due = None;
            }
        };
        Ok(Probe(OnDrop { session: Arc::clone(self), run: Some(give_up) }))
    }

    /// Whether it has joined anything.
    pub(crate) fn has_joined(&self) -> bool {
        self.lock().socket.as_ref().is_some_and(Socket::has_joined)
    }

    /// Whether requests can find this session.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().is_over
    }

    /// The keeper's task: returns when the session has ended.
    pub(crate) async fn keep(&self) {
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut turns = poll_fn(|cx| {
            loop {
                match self.turn(cx) {
                    Turn::Over => return Poll::Ready(true),
                    Turn::Late => return Poll::Ready(false),
                    Turn::Wait(due) => {
                        if due != alarm.deadline() {
                            alarm.as_mut().reset(due);
                        }
                        if alarm.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                }
            }
        });
        while !(&mut turns).await {
            for _ in 0..LATE_YIELDS {
                yield_now().await;
            }
            self.close_if_late();
        }
    }

    /// Closes the session if a pong or the first join is overdue.
    fn close_if_late(&self) {
        let now = Instant::now();
        let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let state = &mut *self.lock();
        if over(state.event_due) {
            state.close(&self.queue, Close::MessageTimeout);
        } else if over(state.join_due) {
            state.close(&self.queue, Close::JoinTimeout);
        } else if over(state.ping_due) && state.awaits_pong {
            state.close(&self.queue, Close::HeartbeatMissed);
        }
    }

    /// Does everything that is due.
    fn turn(&self, cx: &mut Context<'_>) -> Turn {
        let now = Instant::now();
        let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let state = &mut *self.lock();
        if over(state.event_due) || over(state.join_due) || over(state.ping_due) && state.awaits_pong {
            return Turn::Late;
        }
        if over(state.ping_due) {
            self.queue.push(PING);
            state.awaits_pong = true;
            state.ping_due = Some(now + self.ping_timeout);
        }
        if let Transport::Polling(polling) = &mut state.transport {
            let (mut batch, mut none) = (VecDeque::new(), Load::default());
            let close = match polling.poll {
                Some(_) => self.queue.take(cx.waker(), &mut batch, &mut none),
                None => self.queue.watch(cx.waker()),
            };
            let mut answer = payload(&batch);
            if close.is_some() {
                append(&mut answer, &Packet::Close);
            } else if answer.is_empty() && over(polling.release_due) {
                append(&mut answer, &Packet::Noop);
            }
            let mut written = Load::default();
            batch.iter().for_each(|message| written.add(message));
            self.queue.give_back(written);
            let is_told = !answer.is_empty() && polling.poll.take().is_some_and(|poll| poll.send(answer).is_ok());
            if let Some(close) = close {
                state.socket = None;
                (state.join_due, state.event_due, state.ping_due) = (None, None, None);
                // A dead client, or one whose connections are all about to be closed, will not poll again.
                let patience = match close {
                    Close::Shutdown => Duration::ZERO,
                    close if close.has_time() => self.close_timeout,
                    _ => Duration::ZERO,
                };
                let farewell_due = *state.farewell_due.get_or_insert(now + patience);
                state.is_over |= is_told || farewell_due <= now;
            }
        }
        if state.is_over {
            return Turn::Over;
        }
        let release_due = match &state.transport {
            Transport::Polling(Polling { poll: Some(_), release_due, .. }) => *release_due,
            _ => None,
        };
        state.keeper = Some(cx.waker().clone());
        let deadlines = [state.ping_due, state.join_due, state.event_due, state.farewell_due, release_due];
        // A session on a WebSocket that is being closed has no deadline: its end wakes the keeper.
        Turn::Wait(deadlines.into_iter().flatten().min().unwrap_or(now + self.ping_interval))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn polling(&mut self) -> Result<&mut Polling, InvalidRequest> {
        match &mut self.transport {
            _ if self.is_over => Err(InvalidRequest::Over),
            Transport::Polling(polling) => Ok(polling),
            Transport::WebSocket => Err(InvalidRequest::Transport),
        }
    }

    /// Closes the session, on the server's decision: others are notified immediately, the client through its transport.
    fn close(&mut self, queue: &Queue, close: Close) {
        self.socket = None;
        (self.join_due, self.event_due, self.ping_due) = (None, None, None);
        queue.close(close);
    }

    /// Closes the session, on the client's request.
    fn leave(&mut self, queue: &Queue) {
        match self.transport {
            Transport::Polling(_) => self.end(),
            Transport::WebSocket => self.close(queue, Close::ByClient),
        }
    }

    /// Schedules the next ping, after a pong of the client.
    fn pong_received(&mut self, ping_interval: Duration) {
        if self.socket.is_some() {
            self.ping_due = Some(Instant::now() + ping_interval);
            self.awaits_pong = false;
            self.wake_keeper();
        }
    }

    fn end(&mut self) {
        self.socket = None;
        self.is_over = true;
        if let Transport::Polling(polling) = &mut self.transport
            && let Some(poll) = polling.poll.take()
        {
            let _ = poll.send(Packet::Noop.to_string());
        }
        self.wake_keeper();
    }

    fn wake_keeper(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
    }
}

/// Engine.IO's ping.
const PING: Utf8Bytes = Utf8Bytes::from_static("2");

/// A post that is being read.
pub(crate) struct Post(OnDrop);

impl Post {
    /// Ends a post that was read completely and handled.
    pub(crate) fn finish(mut self) {
        self.0.run = Some(|session| {
            if let Ok(polling) = session.lock().polling() {
                polling.is_posting = false;
            }
        });
    }
}

/// A WebSocket to which the session may be upgraded.
pub(crate) struct Probe(OnDrop);

impl Probe {
    /// Answers a waiting poll soon: the client has received the probe's answer on the WebSocket, and upgrades when no
    /// poll waits.
    pub(crate) fn release(&self) {
        let state = &mut *self.0.session.lock();
        if let Ok(polling) = state.polling() {
            polling.release_due = Some(Instant::now());
            state.wake_keeper();
        }
    }

    /// Makes the WebSocket the transport.
    ///
    /// # Errors
    /// The session has ended.
    pub(crate) fn upgrade(self) -> Result<Arc<Session>, InvalidRequest> {
        let session = Arc::clone(&self.0.session);
        self.0.disarm();
        let mut state = session.lock();
        if let Some(poll) = state.polling()?.poll.take() {
            let _ = poll.send(Packet::Noop.to_string());
        }
        state.transport = Transport::WebSocket;
        state.wake_keeper();
        drop(state);
        Ok(session)
    }
}

/// Runs a function on a session when it is dropped.
struct OnDrop {
    session: Arc<Session>,
    run: Option<fn(&Session)>,
}

impl OnDrop {
    fn disarm(mut self) {
        self.run = None;
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run(&self.session);
        }
    }
}

/// A polling payload; empty if there are no packets.
fn payload(messages: &VecDeque<Message>) -> String {
    let bytes: usize = messages.iter().map(Message::len).sum();
    let mut payload = String::with_capacity(bytes + messages.len());
    for message in messages {
        match message {
            Message::Binary(data) => append(&mut payload, &Packet::Binary((&**data).into())),
            other => append(&mut payload, &other.to_text().expect("the others in a queue are texts")),
        }
    }
    payload
}

fn append(payload: &mut String, packet: &impl std::fmt::Display) {
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
    write!(payload, "{packet}").expect("writing to a string cannot fail");
}

//! One WebSocket connection in one task: reads, writes, deadlines and its end.
//!
//! The stream is not split. One poll function writes the queue, checks the deadlines and then reads, so that a blocked
//! write stops neither reading nor the heartbeat, and a flood of input stops neither the deadlines nor the output.
//! Before a deadline closes the connection because something is missing, everything that has arrived is read.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::budget::Held;
use super::close::Close;
use super::deflate::{Agreed, Broken, Codecs, Deflated};
use super::dialect::Session;
use super::heartbeat::{Heartbeat, HeartbeatAction, HeartbeatState};
use super::pressure::{self, Pressure};
use super::queue::{Load, Queue};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::rate::Bucket;

/// tungstenite zero-fills its read buffer at each read and never frees it, so a small one is faster. This size holds
/// six messages of 300 bytes.
const READ_BUFFER_BYTES: usize = 2 * 1024;
/// How many messages are still read after the time limit for the join or for an unfinished message. What is missing may
/// be among them if this task runs late, but a flood of other messages must not keep the connection open.
const LATE_MESSAGES_MAX: u8 = 64;
/// How many messages are read without a pause before back-pressure has an effect: it is for those who send a lot.
const UNPAUSED_MESSAGES: u8 = 32;
/// Output is passed to TCP at the latest when this much is serialized; a batch ends with a flush anyway.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// The server closes it, with a reason.
    Close(Close),
    /// The peer closed it: answer, then shut TCP down.
    ByPeer,
    /// TCP is lost or no longer usable.
    Lost,
}

impl End {
    /// Its name in the metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Close(close) => close.label(),
            Self::ByPeer => "by-peer",
            Self::Lost => "lost",
        }
    }
}

/// The WebSocket on a stream whose upgrade was answered. `read_ahead` contains the bytes that arrived after the
/// request. A frame or message longer than `frame_bytes_max` is an error. `deflate`: how messages are compressed.
pub(crate) async fn open<S>(
    stream: S,
    mut read_ahead: Vec<u8>,
    frame_bytes_max: usize,
    deflate: Option<(Agreed, &Arc<Codecs>)>,
) -> WebSocketStream<Deflated<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        // One message in addition to a full buffer. This also limits the pongs for a peer that pings but never reads.
        .max_write_buffer_size(WRITE_BUFFER_BYTES + 2 * frame_bytes_max)
        .max_frame_size(Some(frame_bytes_max))
        .max_message_size(Some(frame_bytes_max));
    let stream = Deflated::new(stream, &mut read_ahead, deflate, frame_bytes_max);
    WebSocketStream::from_partially_read(stream, read_ahead, Role::Server, Some(config)).await
}

/// Serves one WebSocket until it has ended. Returns the reason. Without a heartbeat, the session itself detects a dead
/// peer, and one that does not join. `registered` is the queue of the TCP connection, which is another one if the
/// session outlives it.
///
/// An `async fn` would store its arguments in addition to the connection made from them; this block stores only the
/// connection.
pub(crate) fn run<S>(
    socket: WebSocketStream<Deflated<S>>,
    mut session: Box<dyn Session>,
    queue: Arc<Queue>,
    registered: &Queue,
    limits: &Limits,
    heartbeat: Option<&Heartbeat>,
    metrics: &Metrics,
) -> impl Future<Output = &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    let join_due = now + limits.join_timeout;
    let has_joined = session.has_joined();
    if has_joined {
        registered.joined();
    }
    let mut connection = Connection {
        socket,
        unfinished: Held::nothing(&queue.budget),
        unfinished_due: None,
        message_timeout: limits.message_timeout,
        empty_fragments: 0,
        held_up: None,
        unpaused: 0,
        queue,
        batch: VecDeque::new(),
        written: Load::default(),
        ping_due: false,
        unflushed: false,
        stuck: None,
        write_timeout: limits.write_timeout,
        heartbeat: heartbeat.map(|heartbeat| HeartbeatState::new(heartbeat.clone(), now)),
        join_due: (heartbeat.is_some() && !has_joined).then_some(join_due),
        has_joined,
        late_messages: 0,
        alarm: Box::pin(sleep_until(join_due)),
        received: Bucket::full(now),
    };
    async move {
        let end = connection.drive(&mut *session, registered, limits).await;
        // Others are notified before the closing handshake, which may take some time.
        drop(session);
        // Boxed, so that no connection keeps the memory for its end while it is open.
        let why = end.label();
        metrics.closed.count(why);
        Box::pin(connection.finish(end, limits)).await;
        why
    }
}

struct Connection<S> {
    socket: WebSocketStream<Deflated<S>>,
    /// What has arrived of the next message, and when it must be complete.
    unfinished: Held,
    unfinished_due: Option<Instant>,
    message_timeout: Duration,
    /// Fragments without payload that were not paid for yet.
    empty_fragments: u32,
    /// Where messages of this client wait, while it is not read.
    held_up: Option<Arc<Pressure>>,
    /// How many messages were read since nothing was there to read.
    unpaused: u8,
    queue: Arc<Queue>,
    /// Taken from the queue, written next.
    batch: VecDeque<Message>,
    /// Written but not yet reported to the queue.
    written: Load,
    ping_due: bool,
    unflushed: bool,
    /// When a write without progress times out.
    stuck: Option<Instant>,
    write_timeout: Duration,
    heartbeat: Option<HeartbeatState>,
    /// When the first join times out, until it has happened.
    join_due: Option<Instant>,
    has_joined: bool,
    /// How many messages were read after that.
    late_messages: u8,
    alarm: Pin<Box<Sleep>>,
    /// The remaining tokens of the message rate.
    received: Bucket,
}

/// What woke the task.
enum Event {
    /// The queue requests it.
    Close(Close),
    WriteFailed,
    Alarm,
    /// So many fragments without payload have arrived.
    EmptyFragments(u32),
    Read(Option<Result<Message, Error>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn drive(&mut self, session: &mut dyn Session, registered: &Queue, limits: &Limits) -> End {
        loop {
            match poll_fn(|cx| self.poll_event(cx)).await {
                Event::Close(close) => return End::Close(close),
                Event::WriteFailed | Event::Read(None) => return End::Lost,
                Event::EmptyFragments(count) if self.pay(count, limits) => {}
                Event::EmptyFragments(_) => return End::Close(Close::TooFast),
                Event::Alarm => {
                    if let Some(end) = self.deadline(Instant::now()) {
                        return end;
                    }
                }
                Event::Read(Some(Err(error))) => return end_of(&error),
                Event::Read(Some(Ok(message))) => {
                    // A pong that nobody asked for counts like a message.
                    let mut is_paid_for = !message.is_close();
                    if let Some(heartbeat) = &mut self.heartbeat {
                        is_paid_for &= !(message.is_pong() && heartbeat.pong_received());
                        heartbeat.frame_received();
                    }
                    if is_paid_for && !self.pay(1, limits) {
                        return End::Close(Close::TooFast);
                    }
                    self.unpaused = self.unpaused.saturating_add(1);
                    if message.is_text() || message.is_binary() {
                        self.unfinished_due = None;
                    }
                    if let Message::Text(text) = &message {
                        self.queue.tally.received(text.len());
                    }
                    pressure::found();
                    let verdict = match message {
                        Message::Text(text) if text.len() > limits.message_bytes_max => session.oversized(),
                        Message::Text(text) => {
                            session.text(&text);
                            Ok(())
                        }
                        Message::Binary(data) => {
                            let bytes = data.len();
                            session.binary(data).inspect(|()| self.queue.tally.received(bytes))
                        }
                        Message::Close(_) => return End::ByPeer,
                        // tungstenite answers a ping at the next read.
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
                    };
                    if let Err(close) = verdict {
                        return End::Close(close);
                    }
                    self.held_up = pressure::found().filter(|_| self.unpaused >= UNPAUSED_MESSAGES);
                    if !self.has_joined && session.has_joined() {
                        (self.has_joined, self.join_due) = (true, None);
                        registered.joined();
                    }
                }
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        match self.poll_write(cx) {
            Err(event) => return Poll::Ready(event),
            Ok(true) => self.stuck = None,
            Ok(false) => {
                self.stuck.get_or_insert_with(|| Instant::now() + self.write_timeout);
            }
        }
        let held_up_until = self.held_up.as_ref().and_then(|pressure| pressure.lasts_until(cx.waker()));
        if self.poll_alarm(cx, held_up_until).is_ready() {
            return Poll::Ready(self.read_if_late(cx).map_or(Event::Alarm, Event::Read));
        }
        if held_up_until.is_some() {
            return Poll::Pending;
        }
        self.held_up = None;
        let read = self.socket.poll_next_unpin(cx);
        let meter = &mut self.socket.get_mut().metered.meter;
        self.empty_fragments += meter.take_empty_fragments();
        if read.is_ready() {
            return read.map(Event::Read);
        }
        self.unpaused = 0;
        let (is_within, bytes) = (meter.is_within_message(), meter.unfinished_bytes());
        if bytes != self.unfinished.bytes() && !self.unfinished.set(bytes) {
            return Poll::Ready(Event::Close(Close::OverCapacity));
        }
        if self.empty_fragments > 0 {
            return Poll::Ready(Event::EmptyFragments(std::mem::take(&mut self.empty_fragments)));
        }
        if is_within && self.unfinished_due.is_none() {
            self.unfinished_due = Some(Instant::now() + self.message_timeout);
            return self.poll_alarm(cx, None).map(|()| Event::Alarm);
        }
        Poll::Pending
    }

    /// Ready when a deadline has passed.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, held_up_until: Option<Instant>) -> Poll<()> {
        let ping_due = self.heartbeat.as_ref().map(HeartbeatState::due);
        let dues = [ping_due, self.join_due, self.stuck, self.unfinished_due, held_up_until];
        let Some(due) = dues.into_iter().flatten().min() else { return Poll::Pending };
        if due != self.alarm.deadline() {
            self.alarm.as_mut().reset(due);
        }
        self.alarm.as_mut().poll(cx)
    }

    /// Takes tokens of the message rate. Returns whether there were as many.
    fn pay(&mut self, messages: u32, limits: &Limits) -> bool {
        let Some(rate) = &limits.message_rate else { return true };
        let now = Instant::now();
        (0..messages).all(|_| self.received.take(rate, now))
    }

    /// Reads on if a message that has already arrived could change the effect of an overdue deadline: a join or a sign
    /// of life that arrived in time counts, however late this task runs.
    fn read_if_late(&mut self, cx: &mut Context<'_>) -> Option<Option<Result<Message, Error>>> {
        let now = Instant::now();
        let is_dead = self.heartbeat.as_ref().is_some_and(|beat| beat.due() <= now && beat.is_unanswered());
        let is_missing = [self.join_due, self.unfinished_due].into_iter().flatten().any(|due| due <= now);
        let is_missing = is_missing && self.late_messages < LATE_MESSAGES_MAX;
        if !is_dead && !is_missing {
            return None;
        }
        let Poll::Ready(read) = self.socket.poll_next_unpin(cx) else { return None };
        self.late_messages += u8::from(is_missing);
        Some(read)
    }

    /// Writes the whole queue, with one flush per batch. `Ok(false)`: the peer's window is closed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<bool, Event> {
        loop {
            // What waits in the socket's buffer still counts as queued.
            let mut unwritten = Load::default();
            let written = if self.unflushed { &mut unwritten } else { &mut self.written };
            if let Some(close) = self.queue.take(cx.waker(), &mut self.batch, written) {
                return Err(Event::Close(close));
            }
            if self.batch.is_empty() && !self.ping_due && !self.unflushed {
                return Ok(true);
            }
            while self.ping_due || !self.batch.is_empty() {
                match self.socket.poll_ready_unpin(cx) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(Err(_)) => return Err(Event::WriteFailed),
                    // Everything serialized before is written: progress.
                    Poll::Ready(Ok(())) => self.stuck = None,
                }
                let message = if std::mem::take(&mut self.ping_due) {
                    Message::Ping(Bytes::new())
                } else {
                    let message = self.batch.pop_front().expect("no ping is due, so the batch is not empty");
                    self.written.add(&message);
                    self.socket.get_mut().outgoing(message)
                };
                self.socket.start_send_unpin(message).map_err(|_| Event::WriteFailed)?;
                self.unflushed = true;
            }
            match self.socket.poll_flush_unpin(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(_)) => return Err(Event::WriteFailed),
                Poll::Ready(Ok(())) => self.unflushed = false,
            }
        }
    }

    fn deadline(&mut self, now: Instant) -> Option<End> {
        let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if over(self.stuck) {
            return Some(End::Lost);
        }
        if over(self.unfinished_due) {
            return Some(End::Close(Close::MessageTimeout));
        }
        if over(self.join_due) {
            return Some(End::Close(Close::JoinTimeout));
        }
        if let Some(heartbeat) = self.heartbeat.as_mut().filter(|heartbeat| heartbeat.due() <= now) {
            match heartbeat.tick(now) {
                HeartbeatAction::Ping => self.ping_due = true,
                HeartbeatAction::Dead => return Some(End::Close(Close::HeartbeatMissed)),
            }
        }
        None
    }

    /// Flushes, closes, and takes TCP down so that the peer can still read the close frame.
    async fn finish(&mut self, end: End, limits: &Limits) {
        let patience = match end {
            End::Lost => return,
            // There is no peer to answer, or another needs the place: one attempt, without waiting.
            End::Close(close) if !close.has_time() => Duration::ZERO,
            End::Close(_) | End::ByPeer => limits.close_timeout,
        };
        let farewell = async {
            if let End::Close(close) = end {
                self.queue.close(close);
                while self.queue.take(Waker::noop(), &mut self.batch, &mut self.written).is_some() {
                    let Some(message) = self.batch.pop_front() else { break };
                    self.written.add(&message);
                    let message = self.socket.get_mut().outgoing(message);
                    self.socket.feed(message).await?;
                }
                //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
                //# The application MUST NOT send any more data frames after sending a Close frame.
                // tungstenite delays a pong until the next flush, and would write it after the close frame.
                self.socket.flush().await?;
                self.socket.close(Some(close.frame())).await?;
            }
            let mut is_complete = matches!(end, End::ByPeer);
            // After an invalid frame this reads nothing more.
            while let Some(Ok(message)) = self.socket.next().await {
                is_complete |= message.is_close();
            }
            if is_complete {
                //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
                //# The underlying TCP connection, in most normal cases, SHOULD be closed
                //# first by the server
                self.socket.get_mut().shutdown().await?;
            } else {
                // What still arrives is not decompressed.
                shut_down_tcp(&mut self.socket.get_mut().metered).await;
            }
            Ok::<_, Error>(())
        };
        // After the deadline, or if the peer is gone, the socket can only be dropped.
        let _ = timeout(patience, farewell).await;
        self.queue.take(Waker::noop(), &mut self.batch, &mut self.written);
    }
}

/// Shuts down the server's side of TCP and reads the peer's to its end: closing with unread input would reset the
/// connection, and the peer might lose the last bytes written. Use it with a timeout.
pub(crate) async fn shut_down_tcp<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    if stream.shutdown().await.is_ok() {
        // On the heap: in the future it would cost every connection this memory.
        let mut discard = vec![0; 4096];
        while stream.read(&mut discard).await.is_ok_and(|read| read > 0) {}
    }
}

/// The close code for an invalid frame.
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(Close::TooLarge),
        Error::Utf8(_) => End::Close(Close::NotUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        Error::Protocol(_) => End::Close(Close::Protocol),
        Error::Io(error) => {
            let broken = error.get_ref().and_then(|error| error.downcast_ref::<Broken>());
            broken.map_or(End::Lost, |broken| End::Close(broken.close()))
        }
        _ => End::Lost,
    }
}

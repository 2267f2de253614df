//! Time limits for a request's head, for its body, for writing the response, and for the idle time between two requests.

use std::io;
use std::pin::Pin;
use std::sync::MutexGuard;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::limits::Limits;
use crate::lock::Lock;
use crate::session::budget::Held;

/// Minimum rate of a body in bytes per second, on average since its start. Every working network is much faster. It
/// limits how long a client can hold a connection by sending a byte now and then (slowloris).
const BODY_BYTES_PER_SECOND_MIN: u32 = 500;

/// The phase of a connection, and its deadline.
pub(crate) struct Pace {
    head_timeout: Duration,
    keep_alive_timeout: Duration,
    write_timeout: Duration,
    state: Lock<State>,
}

#[derive(Clone, Copy)]
struct State {
    phase: Phase,
    /// Since when a write waits without progress, because the client does not read.
    stuck: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// A head is being read since then: the first one from the start of the connection, others from their first byte.
    Head(Instant),
    /// A request is being handled. [`body`] has its own time limit.
    Handling,
    /// The response is ready. Since then nothing was read, and no more of the response was written.
    Idle(Instant),
}

impl Pace {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let Limits { head_timeout, keep_alive_timeout, write_timeout, .. } = *limits;
        let state = Lock::new(State { phase: Phase::Head(now), stuck: None });
        Self { head_timeout, keep_alive_timeout, write_timeout, state }
    }

    /// A whole head has arrived.
    pub(crate) fn head_received(&self) {
        self.lock().phase = Phase::Handling;
    }

    /// The response is ready to be written.
    pub(crate) fn response_ready(&self) {
        self.lock().phase = Phase::Idle(Instant::now());
    }

    /// When the connection ends if nothing is read or written before. `None` while a request is being handled and
    /// nothing waits to be written.
    pub(crate) fn due(&self) -> Option<Instant> {
        let State { phase, stuck } = *self.lock();
        let of_phase = match phase {
            Phase::Head(since) => Some(since + self.head_timeout),
            Phase::Handling => None,
            Phase::Idle(since) => Some(since + self.keep_alive_timeout),
        };
        let of_write = stuck.map(|since| since + self.write_timeout);
        [of_phase, of_write].into_iter().flatten().min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A stream that updates the [`Pace`] of its connection.
pub(crate) struct Paced<'p, S> {
    stream: S,
    pace: &'p Pace,
}

impl<'p, S> Paced<'p, S> {
    pub(crate) fn new(stream: S, pace: &'p Pace) -> Self {
        Self { stream, pace }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let state = &mut *self.pace.lock();
        match written {
            Poll::Pending => drop(state.stuck.get_or_insert_with(Instant::now)),
            Poll::Ready(Ok(1..)) => {
                state.stuck = None;
                if matches!(state.phase, Phase::Idle(_)) {
                    state.phase = Phase::Idle(Instant::now());
                }
            }
            Poll::Ready(_) => {}
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            let state = &mut *self.pace.lock();
            if matches!(state.phase, Phase::Idle(_)) {
                state.phase = Phase::Head(Instant::now());
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // With TLS, a write ends in a buffer, and only the flush waits for the client.
        let stuck = &mut self.pace.lock().stuck;
        match flushed {
            Poll::Pending => drop(stuck.get_or_insert_with(Instant::now)),
            Poll::Ready(_) => *stuck = None,
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Why there is no whole body.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    /// The connection was lost, or the framing is broken.
    Incomplete,
    /// All clients together hold too many bytes, and this one holds more than its share.
    OverBudget,
}

/// Reads a body of at most `bytes_max` bytes. A pause may last `timeout`, and the whole body may take `timeout` longer
/// than at [`BODY_BYTES_PER_SECOND_MIN`]. What has arrived counts as `held`.
///
/// # Errors
/// The body is too large or too slow, or ends early.
pub(crate) async fn body(
    body: Incoming,
    bytes_max: usize,
    timeout: Duration,
    held: &mut Held,
) -> Result<Bytes, BodyError> {
    let mut body = Limited::new(body, bytes_max);
    let mut read = Vec::new();
    let start = Instant::now();
    let mut progress = start;
    loop {
        let slowest = Duration::from_secs(read.len() as u64) / BODY_BYTES_PER_SECOND_MIN;
        let due = (progress + timeout).min(start + timeout + slowest);
        let frame = match timeout_at(due, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => {
                // What has arrived counts, however late this task runs. The connection reads it when it is polled
                // again.
                yield_now().await;
                body.frame().now_or_never().ok_or(BodyError::TooSlow)?
            }
        };
        match frame {
            None => return Ok(read.into()),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    read.extend_from_slice(data);
                    if !held.set(read.len()) {
                        return Err(BodyError::OverBudget);
                    }
                    progress = Instant::now();
                }
            }
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge),
            Some(Err(_)) => return Err(BodyError::Incomplete),
        }
    }
}

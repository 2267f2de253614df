//! The queue of one client: serialized messages, limited in number and bytes, and the request to close.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, OnceLock, Weak};
use std::task::{Poll, Waker};

use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::budget::Budget;
use super::close::Close;
use super::pressure::Pressure;
use super::registry::Registry;
use crate::limits::Limits;
use crate::lock::Lock;
use crate::metrics::Tally;

/// One in this many messages is timed, because reading the clock twice for each would be slow.
const TIMED_OF: usize = 64;

/// Bytes of state messages, such as a list of users, that may wait for a client. Beyond, only the newest waits: whoever
/// keeps up sees every state, and for others an old one has no use.
const STATES_BYTES_MAX: usize = 4096;

/// Filled by any task, emptied by the task of the connection. Pushing never waits: a client that is too slow is closed,
/// so that it does not delay others. A half-full queue exerts [pressure](super::pressure) on whoever fills it.
#[derive(Debug)]
pub(crate) struct Queue {
    messages_max: usize,
    bytes_max: usize,
    /// What the client sent.
    pub(crate) tally: Tally,
    /// The client's dialect, once its request has determined it.
    dialect: OnceLock<&'static str>,
    /// Records the time from push to write.
    latency: Option<Histogram>,
    pub(crate) budget: Arc<Budget>,
    has_joined: AtomicBool,
    /// Where this client is registered, under which number.
    registration: (Weak<Registry>, u64),
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    /// The state messages among them: their bytes, and where the last one is.
    states_bytes: usize,
    last_state: Option<usize>,
    /// Queued here or in the task's batch.
    load: Load,
    peak: Load,
    sent: Load,
    dropped: usize,
    /// The timed message: its number among the sent ones, and since when it is queued.
    timed: Option<(usize, Instant)>,
    close: Option<Close>,
    waker: Option<Waker>,
    /// From half full to drained.
    pressure: Option<Arc<Pressure>>,
}

/// An amount of queued messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Load {
    pub(crate) fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.len();
    }

    fn subtract(&mut self, written: Load) {
        self.messages -= written.messages;
        self.bytes -= written.bytes;
    }

    pub(crate) fn max(self, other: Load) -> Load {
        Load { messages: self.messages.max(other.messages), bytes: self.bytes.max(other.bytes) }
    }
}

impl Queue {
    pub(crate) fn new(limits: &Limits, budget: &Arc<Budget>) -> Self {
        budget.enter();
        Self {
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            tally: Tally::default(),
            dialect: OnceLock::new(),
            latency: None,
            budget: Arc::clone(budget),
            has_joined: AtomicBool::new(false),
            registration: (Weak::new(), 0),
            state: Lock::new(State::default()),
        }
    }

    /// A queue that no registry knows, with a budget of its own.
    #[cfg(test)]
    pub(crate) fn alone(limits: &Limits) -> Arc<Self> {
        Arc::new(Self::new(limits, &Arc::new(Budget::new(usize::MAX))))
    }

    /// Takes what is queued, as if it had been written.
    #[cfg(test)]
    pub(crate) fn drained(&self) -> VecDeque<Message> {
        let (mut batch, mut written) = (VecDeque::new(), Load::default());
        self.take(Waker::noop(), &mut batch, &mut written);
        batch.iter().for_each(|message| written.add(message));
        self.give_back(written);
        batch
    }

    /// Reports to a registry when the client has joined.
    pub(crate) fn registered(mut self, registry: Weak<Registry>, number: u64) -> Self {
        self.registration = (registry, number);
        self
    }

    /// The client has joined something, so that no other connection can take its place.
    pub(crate) fn joined(&self) {
        let (registry, number) = &self.registration;
        if !self.has_joined.swap(true, Relaxed)
            && let Some(registry) = registry.upgrade()
        {
            registry.joined(*number);
        }
    }

    /// Measures the latency of some messages.
    pub(crate) fn timing(mut self, latency: Histogram) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Assigns its counts to a dialect. Only the first call has an effect.
    pub(crate) fn bind(&self, dialect: &'static str) {
        let _ = self.dialect.set(dialect);
    }

    /// The client's dialect, if it is known yet.
    pub(crate) fn dialect(&self) -> Option<&'static str> {
        self.dialect.get().copied()
    }

    /// Adds a message, or closes the connection if the queue is full. Once closing, messages are dropped.
    pub(crate) fn push(&self, message: Utf8Bytes) {
        let message = Message::Text(message);
        let mut added = Load::default();
        added.add(&message);
        self.append(added, |waiting| waiting.push_back(message));
    }

    /// The same for messages that belong together: no other message comes between them, and either all are queued or
    /// none.
    pub(crate) fn push_all(&self, messages: &[Message]) {
        let mut added = Load::default();
        messages.iter().for_each(|message| added.add(message));
        self.append(added, |waiting| waiting.extend(messages.iter().cloned()));
    }

    /// Adds a message about the current state, of which only the newest has a use. If more than
    /// [`STATES_BYTES_MAX`] of them would wait, it replaces the last one, at the end of the queue.
    pub(crate) fn push_state(&self, message: Utf8Bytes) {
        let message = Message::Text(message);
        let mut added = Load::default();
        added.add(&message);
        let mut state = self.lock();
        if state.states_bytes + added.bytes > STATES_BYTES_MAX && state.close.is_none() {
            self.drop_last_state(&mut state);
        }
        self.append_to(state, added, |state| {
            state.last_state = Some(state.waiting.len());
            state.states_bytes += message.len();
            state.waiting.push_back(message);
        });
    }

    fn drop_last_state(&self, state: &mut State) {
        let Some(last) = state.last_state.take() else { return };
        let mut removed = Load::default();
        removed.add(&state.waiting.remove(last).expect("it waits there"));
        state.load.subtract(removed);
        state.states_bytes -= removed.bytes;
        state.dropped += removed.messages;
        self.budget.give_back(removed.bytes);
    }

    fn append(&self, added: Load, append: impl FnOnce(&mut VecDeque<Message>)) {
        self.append_to(self.lock(), added, |state| append(&mut state.waiting));
    }

    fn append_to(&self, mut state: MutexGuard<'_, State>, added: Load, append: impl FnOnce(&mut State)) {
        if state.close.is_some() {
            state.dropped += added.messages;
            return;
        }
        let load = Load { messages: state.load.messages + added.messages, bytes: state.load.bytes + added.bytes };
        if load.messages > self.messages_max || load.bytes > self.bytes_max || !self.budget.allows(load.bytes) {
            let mut cleared = Load::default();
            state.waiting.drain(..).for_each(|message| cleared.add(&message));
            state.load.subtract(cleared);
            self.budget.give_back(cleared.bytes);
            (state.states_bytes, state.last_state) = (0, None);
            state.dropped += cleared.messages + added.messages;
            state.close = Some(Close::SlowConsumer);
            state.end_pressure();
        } else {
            let before = state.sent.messages + state.load.messages;
            if before.is_multiple_of(TIMED_OF) && state.timed.is_none() {
                state.timed = Some((before + 1, Instant::now()));
            }
            append(&mut state);
            self.budget.take(added.bytes);
            state.load = load;
            state.peak = state.peak.max(load);
            if let Some(pressure) = &state.pressure {
                pressure.meet();
            } else if load.messages > self.messages_max / 2 || load.bytes > self.bytes_max / 2 {
                state.pressure.insert(Pressure::begin()).meet();
            }
        }
        Self::wake(state);
    }

    /// Asks the task to write the queue and then close. Only the first call has an effect.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.lock();
        state.close.get_or_insert(close);
        state.end_pressure();
        Self::wake(state);
    }

    /// Whether closing was requested, though the connection may still be open.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().close.is_some()
    }

    /// Whether another connection needs the place of this one.
    pub(crate) fn is_displaced(&self) -> bool {
        self.lock().close == Some(Close::Displaced)
    }

    /// Waits until another connection needs the place of this one.
    pub(crate) async fn displaced(&self) {
        let is_displaced = |close| close == Some(Close::Displaced);
        poll_fn(|cx| if is_displaced(self.watch(cx.waker())) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// For the task: subtracts what was `written`, fills an empty `batch`, and returns whether to close. If there is
    /// nothing to take, the next push or close wakes `waker`.
    pub(crate) fn take(&self, waker: &Waker, batch: &mut VecDeque<Message>, written: &mut Load) -> Option<Close> {
        let state = &mut *self.lock();
        self.write_off(state, std::mem::take(written));
        if batch.is_empty() {
            std::mem::swap(&mut state.waiting, batch);
            (state.states_bytes, state.last_state) = (0, None);
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        state.close
    }

    /// Subtracts what was taken and written.
    pub(crate) fn give_back(&self, written: Load) {
        self.write_off(&mut self.lock(), written);
    }

    fn write_off(&self, state: &mut State, written: Load) {
        state.load.subtract(written);
        self.budget.give_back(written.bytes);
        if state.load.messages <= self.messages_max / 4 && state.load.bytes <= self.bytes_max / 4 {
            state.end_pressure();
        }
        state.sent.messages += written.messages;
        state.sent.bytes += written.bytes;
        let sent = state.sent.messages;
        if let Some((_, since)) = state.timed.take_if(|(number, _)| *number <= sent)
            && let Some(latency) = &self.latency
        {
            latency.observe(since.elapsed().as_secs_f64());
        }
    }

    /// Waits until closing is requested.
    pub(crate) async fn closed(&self) {
        poll_fn(|cx| self.watch(cx.waker()).map_or(Poll::Pending, |_| Poll::Ready(()))).await;
    }

    /// The same without taking anything: the next push or close wakes `waker`.
    pub(crate) fn watch(&self, waker: &Waker) -> Option<Close> {
        let mut state = self.lock();
        state.waker = Some(waker.clone());
        state.close
    }

    /// What is queued, and the peak.
    pub(crate) fn load_and_peak(&self) -> (Load, Load) {
        let state = self.lock();
        (state.load, state.peak)
    }

    /// What was written, and the number of messages that will never be written because the connection has ended.
    pub(crate) fn sent_and_dropped(&self) -> (Load, usize) {
        let state = self.lock();
        (state.sent, state.dropped)
    }

    fn wake(mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn end_pressure(&mut self) {
        if let Some(pressure) = self.pressure.take() {
            pressure.end();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.budget.give_back(self.lock().load.bytes);
        self.budget.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: usize, bytes: usize) -> Queue {
        let limits = Limits { queue_messages_max: messages, queue_bytes_max: bytes, ..Limits::default() };
        Arc::into_inner(Queue::alone(&limits)).expect("nobody else has it")
    }

    fn take(queue: &Queue, batch: &mut VecDeque<Message>, mut written: Load) -> Option<Close> {
        queue.take(Waker::noop(), batch, &mut written)
    }

    #[test]
    fn limits_are_inclusive_and_count_what_is_taken_but_unwritten() {
        let queue = queue(3, 10);
        let mut batch = VecDeque::new();
        queue.push("12345".into());
        queue.push("1234".into());
        assert_eq!(take(&queue, &mut batch, Load::default()), None);
        assert_eq!(batch, [Message::text("12345"), Message::text("1234")]);
        queue.push("1".into());
        assert_eq!(queue.load_and_peak().0, Load { messages: 3, bytes: 10 });
        batch.clear();
        assert_eq!(take(&queue, &mut batch, Load { messages: 2, bytes: 9 }), None);
        assert_eq!(queue.load_and_peak(), (Load { messages: 1, bytes: 1 }, Load { messages: 3, bytes: 10 }));
        queue.push("1234567890".into());
        assert_eq!(take(&queue, &mut VecDeque::new(), Load::default()), Some(Close::SlowConsumer));
    }

    #[test]
    fn messages_that_belong_together_are_queued_together_or_not_at_all() {
        let queue = queue(2, 10);
        let packet = [Message::text("5"), Message::binary(&b"12345"[..])];
        queue.push_all(&packet);
        let mut batch = VecDeque::new();
        assert_eq!(take(&queue, &mut batch, Load::default()), None);
        assert_eq!(batch, packet);
        assert_eq!(queue.load_and_peak().0, Load { messages: 2, bytes: 6 });
        take(&queue, &mut VecDeque::new(), Load { messages: 1, bytes: 1 });
        queue.push_all(&packet);
        assert_eq!(take(&queue, &mut VecDeque::new(), Load::default()), Some(Close::SlowConsumer));
        assert_eq!(queue.load_and_peak().0, Load { messages: 1, bytes: 5 });
    }

    #[test]
    fn of_states_that_do_not_leave_only_the_newest_waits_and_events_keep_their_order() {
        let queue = queue(100, 100_000);
        let large = |n: usize| Utf8Bytes::from(format!("{n}{}", "x".repeat(STATES_BYTES_MAX)));
        (0..3).for_each(|n| queue.push_state(format!("small {n}").into()));
        queue.push("event 1".into());
        queue.push_state(large(3));
        queue.push("event 2".into());
        queue.push_state(large(4));
        let mut batch = VecDeque::new();
        assert_eq!(take(&queue, &mut batch, Load::default()), None);
        let starts: Vec<_> = batch.iter().map(|one| one.to_text().expect("a text").split('x').next()).collect();
        assert_eq!(starts, ["small 0", "small 1", "event 1", "event 2", "4"].map(Some));
        let mut load = Load::default();
        batch.iter().for_each(|one| load.add(one));
        assert_eq!(queue.load_and_peak().0, load);
        // What is being written stays.
        queue.push_state(large(5));
        queue.push_state(large(6));
        let mut next = VecDeque::new();
        take(&queue, &mut next, load);
        assert_eq!(next.len(), 1);
        assert!(next[0].to_text().expect("a text").starts_with('6'));
    }

    #[test]
    fn the_first_close_stands_and_nothing_is_queued_after_it() {
        let queue = queue(1, 10);
        queue.push("a".into());
        queue.close(Close::Shutdown);
        queue.push("b".into());
        queue.push("c".into());
        let mut batch = VecDeque::new();
        assert_eq!(take(&queue, &mut batch, Load::default()), Some(Close::Shutdown));
        assert_eq!(batch, [Message::text("a")]);
    }
}

//! The state of a measured loop that its clients, its pacer and the loop itself access.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use conformance::Audience;
use futures_util::task::AtomicWaker;
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::plan::Plan;
use super::process::{Use, Watch};
use super::stop::Stop;
use super::token::Tokens;

/// At the end of a run, waiting stops after this time without a delivery …
const QUIET: Duration = Duration::from_secs(1);
/// … and after this time in any case.
const DRAIN: Duration = Duration::from_secs(10);
/// Longer latencies count as this: one hour in nanoseconds.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// The state that all clients of a run share.
pub(super) struct Run {
    start: Instant,
    pub(super) tokens: Tokens,
    pub(super) audience: Audience,
    sending: AtomicBool,
    over: AtomicBool,
    /// Deliveries expected for all messages sent so far.
    expected: AtomicU64,
    delivered: AtomicU64,
    /// Connections that have not ended early.
    connections: AtomicUsize,
    /// Notified when there are none left.
    disconnected: Notify,
    windows: Mutex<Vec<Window>>,
}

/// Latencies of the messages that were sent or due within a time.
struct Window {
    since_ns: u64,
    until_ns: u64,
    latencies_ns: Histogram<u64>,
}

impl Run {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            start: Instant::now(),
            tokens: Tokens::new(plan.seed),
            audience: plan.audience,
            sending: AtomicBool::new(true),
            over: AtomicBool::new(false),
            expected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            disconnected: Notify::new(),
            windows: Mutex::default(),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Whether new messages may be sent without being due.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.load(Relaxed)
    }

    pub(super) fn stop_sending(&self) {
        self.sending.store(false, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Adds connections. All at once, because none may be left only after all have started.
    pub(super) fn add_connections(&self, number: usize) {
        self.connections.fetch_add(number, Relaxed);
    }

    /// Records that a connection ended early.
    pub(super) fn lose_connection(&self) {
        if self.connections.fetch_sub(1, Relaxed) == 1 {
            self.disconnected.notify_one();
        }
    }

    /// Records that a message is sent which this many clients should receive.
    pub(super) fn expect(&self, listeners: u64) {
        self.expected.fetch_add(listeners, Relaxed);
    }

    /// Records deliveries: when each message was sent, and its latency, in nanoseconds.
    pub(super) fn record(&self, batch: &mut Vec<(u64, u64)>) {
        self.delivered.fetch_add(batch.len() as u64, Relaxed);
        let mut windows = self.windows();
        for (at_ns, took_ns) in batch.drain(..) {
            let window = windows.iter_mut().find(|window| (window.since_ns..window.until_ns).contains(&at_ns));
            if let Some(window) = window {
                window.latencies_ns.saturating_record(took_ns.max(1));
            }
        }
    }

    /// Deliveries that all messages should cause, and those that happened.
    pub(super) fn expected_and_delivered(&self) -> [u64; 2] {
        [&self.expected, &self.delivered].map(|count| count.load(Relaxed))
    }

    fn windows(&self) -> MutexGuard<'_, Vec<Window>> {
        self.windows.lock().expect("nothing panics while it holds them")
    }

    /// Takes the latencies of each period of measurement.
    pub(super) fn take_latencies_ns(&self) -> Vec<Histogram<u64>> {
        self.windows().drain(..).map(|window| window.latencies_ns).collect()
    }

    /// Measures for some time, or until no connection is left: then the server has died. The latencies are complete once
    /// all messages have arrived.
    pub(super) async fn measure(&self, plan: &Plan, time: Duration, stop: &Stop) -> (u64, Use) {
        let latencies_ns = latencies();
        self.windows().push(Window { since_ns: self.now_ns(), until_ns: u64::MAX, latencies_ns });
        let watch = Watch::start(plan.processes.clone());
        let before = self.delivered.load(Relaxed);
        tokio::select! { biased;
            () = self.disconnected.notified() => {}
            () = stop.pause(time) => {}
        }
        let deliveries = self.delivered.load(Relaxed) - before;
        if let Some(window) = self.windows().last_mut() {
            window.until_ns = self.now_ns();
        }
        (deliveries, watch.finish())
    }

    /// Waits for messages in flight, and for messages that were due but not sent yet.
    pub(super) async fn drain(&self, due: impl Fn() -> bool) {
        let deadline = Instant::now() + DRAIN;
        let (mut delivered, mut last) = (self.delivered.load(Relaxed), Instant::now());
        while (due() || delivered < self.expected.load(Relaxed)) && last.elapsed() < QUIET && Instant::now() < deadline
        {
            sleep(Duration::from_millis(10)).await;
            let by_now = self.delivered.load(Relaxed);
            if by_now != delivered {
                (delivered, last) = (by_now, Instant::now());
            }
        }
    }
}

/// An empty histogram of latencies in nanoseconds.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("the bounds are in order")
}

/// A client's state that the other members of its room and the pacer access.
#[derive(Default)]
pub(super) struct SenderState {
    /// Messages that it may send now.
    pub(super) turns: AtomicU64,
    pub(super) waker: AtomicWaker,
    /// Messages that it has sent, by audience.
    pub(super) sent: Vec<AtomicU64>,
}

impl SenderState {
    pub(super) fn new(audiences: usize) -> Self {
        Self { sent: (0..audiences).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    /// Allows it to send this many more messages.
    pub(super) fn allow(&self, turns: u64) {
        self.turns.fetch_add(turns, Relaxed);
        self.waker.wake();
    }

    /// Whether it may send a message that it has not sent yet.
    pub(super) fn is_due(&self) -> bool {
        self.turns.load(Relaxed) > 0
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

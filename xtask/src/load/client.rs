//! One client of a measured loop: it sends when it is allowed to, and records what it receives.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use anyhow::Context as _;
use conformance::crowd::Member;
use conformance::{Arrival, Wire};

use super::pacer::Schedule;
use super::receipts::{Receipt, Receipts};
use super::shared::{Run, SenderState};
use super::token::{Template, Token};

/// Messages that a client reads or sends before it yields to the other clients.
const BATCH: usize = 64;

/// A client of a measured loop.
pub(super) struct Client {
    run: Arc<Run>,
    states: Arc<[Arc<SenderState>]>,
    room: u32,
    place: usize,
    wire: Wire,
    audiences: Vec<Audience>,
    /// The schedule of an open loop, and the client's number among the senders. Without one, a delivery allows the next
    /// message.
    schedule: Option<(Schedule, usize)>,
    /// Number of clients that receive and record each of its messages.
    listeners: u64,
    sent: u64,
    /// By the sender's place.
    receipts: Vec<Receipts>,
    hint: usize,
    batch: Vec<(u64, u64)>,
    tally: Tally,
}

/// The receivers of a signal.
struct Audience {
    template: Template,
    sent: u64,
}

/// What a client has counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) out_of_order: u64,
    /// Own signals that came back, although the dialect does not echo.
    pub(super) to_sender: u64,
    /// Signals from other rooms that it received.
    pub(super) astray: u64,
    /// Messages that were due but never sent.
    pub(super) unsent: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// How its connection ended, if it ended early.
    pub(super) ended: Option<String>,
}

impl Client {
    /// # Errors
    /// The dialect changes payloads before they are sent.
    pub(super) fn new(
        run: &Arc<Run>,
        room: u32,
        place: usize,
        states: &Arc<[Arc<SenderState>]>,
        member: Member,
        listeners: u64,
        schedule: Option<(Schedule, usize)>,
    ) -> anyhow::Result<Self> {
        let audience = |frame: &str| {
            let template = run.tokens.template(frame);
            let template = template.context("the dialect changes payloads, so Glare cannot recognize its messages")?;
            anyhow::Ok(Audience { template, sent: 0 })
        };
        let audiences = member.signals.iter().map(|signal| audience(&signal.frame)).collect::<Result<_, _>>()?;
        Ok(Self {
            run: Arc::clone(run),
            states: Arc::clone(states),
            room,
            place,
            wire: member.wire,
            audiences,
            schedule,
            listeners,
            sent: 0,
            receipts: (0..states.len()).map(|_| Receipts::default()).collect(),
            hint: 0,
            batch: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Sends and receives until the run is over, then closes the connection.
    pub(super) async fn play(mut self) -> Tally {
        poll_fn(|cx| self.poll(cx)).await;
        for (place, receipts) in self.receipts.iter().enumerate() {
            if place == self.place && !self.run.audience.echo {
                continue;
            }
            let audience = match (self.run.audience.everyone, place < self.place) {
                (true, _) => 0,
                // A sender has one for each of the others.
                (false, true) => self.place - 1,
                (false, false) => self.place,
            };
            let sent = self.states[place].sent.get(audience).map_or(0, |sent| sent.load(Relaxed));
            self.tally.lost += sent.saturating_sub(receipts.received);
        }
        self.tally.sent = self.sent;
        if self.schedule.is_some() {
            self.tally.unsent = self.states[self.place].turns.load(Relaxed);
        }
        if self.tally.ended.is_none() {
            self.wire.close(std::time::Duration::from_secs(1)).await;
        }
        self.tally
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let states = Arc::clone(&self.states);
        let state = &states[self.place];
        state.waker.register(cx.waker());
        if self.run.is_over() {
            return Poll::Ready(());
        }
        if self.tally.ended.is_some() {
            return Poll::Pending;
        }
        let mut busy = self.receive_some(cx);
        busy |= self.send_some(state, cx);
        let _ = self.wire.poll_flush(cx);
        if busy {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads messages. Returns whether there may be more.
    fn receive_some(&mut self, cx: &mut Context<'_>) -> bool {
        let mut more = true;
        for _ in 0..BATCH {
            match self.wire.poll_next(cx) {
                Poll::Ready(Arrival::Message(message)) => self.receive(&message),
                Poll::Ready(Arrival::End(how)) => {
                    self.tally.ended = Some(how);
                    self.run.lose_connection();
                }
                Poll::Pending => more = false,
            }
            if !more || self.tally.ended.is_some() {
                break;
            }
        }
        if !self.batch.is_empty() {
            self.run.record(&mut self.batch);
        }
        more
    }

    fn receive(&mut self, message: &[u8]) {
        let Some(token) = self.run.tokens.find(message, &mut self.hint) else {
            if let Some(error) = self.wire.take_in(message) {
                self.tally.errors += 1;
                self.tally.first_error.get_or_insert(error);
            }
            return;
        };
        let now_ns = self.run.now_ns();
        let sender = token.place as usize;
        if token.room != self.room || sender >= self.states.len() {
            self.tally.astray += 1;
            return;
        }
        if sender == self.place && !self.run.audience.echo {
            self.tally.to_sender += 1;
            return;
        }
        match self.receipts[sender].record(token.number) {
            Receipt::Twice => {
                self.tally.twice += 1;
                return;
            }
            Receipt::OutOfOrder => self.tally.out_of_order += 1,
            Receipt::InOrder => {}
        }
        self.batch.push((token.at_ns, now_ns.saturating_sub(token.at_ns)));
        // A delivery to the next peer, or to the receiver that the signal names, allows the sender one more message.
        let next = !self.run.audience.everyone || (sender + 1) % self.states.len() == self.place;
        if self.schedule.is_none() && next {
            self.states[sender].allow(1);
        }
    }

    /// Sends the messages that are allowed. Returns whether there may be more.
    fn send_some(&mut self, state: &SenderState, cx: &mut Context<'_>) -> bool {
        if self.schedule.is_none() && !self.run.is_sending() {
            return false;
        }
        for _ in 0..BATCH {
            if !state.is_due() || self.wire.poll_ready(cx).is_pending() {
                return false;
            }
            // Only this client decreases the counter.
            state.turns.fetch_sub(1, Relaxed);
            let at_ns = match &self.schedule {
                Some((schedule, sender)) => schedule.due_ns(*sender, self.sent),
                None => self.run.now_ns(),
            };
            let index = self.sent as usize % self.audiences.len();
            let audience = &mut self.audiences[index];
            let token = Token { at_ns, room: self.room, place: self.place as u32, number: audience.sent };
            self.wire.send(self.run.tokens.frame(&audience.template, token));
            audience.sent += 1;
            self.sent += 1;
            state.sent[index].store(audience.sent, Relaxed);
            self.run.expect(self.listeners);
        }
        true
    }
}

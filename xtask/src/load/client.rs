//! One client of a measured loop: it sends when it may, and enters what it hears.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use conformance::crowd::Member;
use conformance::{Arrival, Wire};
use futures_util::task::AtomicWaker;

use super::pacer::Schedule;
use super::receipts::{Receipt, Receipts};
use super::run::Run;
use super::token::{Template, Token};

/// Messages that a client reads or sends before it lets others have their turn.
const BATCH: usize = 64;

/// What the others of a room, and the pacer, know of a client.
#[derive(Default)]
pub(super) struct Seat {
    /// Messages that it may send now.
    turns: AtomicU64,
    waker: AtomicWaker,
    /// Messages that it has sent, by their audience.
    sent: Vec<AtomicU64>,
}

impl Seat {
    pub(super) fn new(audiences: usize) -> Self {
        Self { sent: (0..audiences).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    /// Lets it send some messages more.
    pub(super) fn give(&self, turns: u64) {
        self.turns.fetch_add(turns, Relaxed);
        self.waker.wake();
    }

    /// Whether it may send and has not yet.
    pub(super) fn is_due(&self) -> bool {
        self.turns.load(Relaxed) > 0
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

/// A client, when its loop begins.
pub(super) struct Client {
    run: Arc<Run>,
    seats: Arc<[Arc<Seat>]>,
    room: u32,
    place: usize,
    wire: Wire,
    audiences: Vec<Audience>,
    /// Of an open loop, with its number among the senders. Without one the answer to a message lets the next one go.
    schedule: Option<(Schedule, usize)>,
    /// How many hear each of its messages and enter them.
    listeners: u64,
    sent: u64,
    /// By the sender's place.
    receipts: Vec<Receipts>,
    hint: usize,
    batch: Vec<(u64, u64)>,
    tally: Tally,
}

/// Whom a signal reaches.
struct Audience {
    template: Template,
    sent: u64,
}

/// What a client has met.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) out_of_order: u64,
    /// It heard itself, where that is not promised.
    pub(super) to_sender: u64,
    /// Signals of other rooms that came to it.
    pub(super) astray: u64,
    /// Messages that were due and never got out.
    pub(super) unsent: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// How its connection ended before it was to.
    pub(super) ended: Option<String>,
}

impl Client {
    /// # Errors
    /// The dialect changes payloads before they are sent.
    pub(super) fn new(
        run: &Arc<Run>,
        room: u32,
        place: usize,
        seats: &Arc<[Arc<Seat>]>,
        member: Member,
        listeners: u64,
        schedule: Option<(Schedule, usize)>,
    ) -> Result<Self, String> {
        let audience = |frame: &str| {
            let template = run.tokens.template(frame);
            let template = template.ok_or("the dialect's signals do not hold the payload as it is")?;
            Ok::<_, String>(Audience { template, sent: 0 })
        };
        let audiences = member.signals.iter().map(|signal| audience(&signal.frame)).collect::<Result<_, _>>()?;
        Ok(Self {
            run: Arc::clone(run),
            seats: Arc::clone(seats),
            room,
            place,
            wire: member.wire,
            audiences,
            schedule,
            listeners,
            sent: 0,
            receipts: (0..seats.len()).map(|_| Receipts::default()).collect(),
            hint: 0,
            batch: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Sends and hears until the run is over. The connection stays open meanwhile and is closed in the end.
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
            let sent = self.seats[place].sent.get(audience).map_or(0, |sent| sent.load(Relaxed));
            self.tally.lost += sent.saturating_sub(receipts.came);
        }
        if self.schedule.is_some() {
            self.tally.unsent = self.seats[self.place].turns.load(Relaxed);
        }
        if self.tally.ended.is_none() {
            self.wire.close(std::time::Duration::from_secs(1)).await;
        }
        self.tally
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let seats = Arc::clone(&self.seats);
        let seat = &seats[self.place];
        seat.waker.register(cx.waker());
        if self.run.is_over() {
            return Poll::Ready(());
        }
        if self.tally.ended.is_some() {
            return Poll::Pending;
        }
        let mut busy = self.hear_some(cx);
        busy |= self.send_some(seat, cx);
        let _ = self.wire.poll_flush(cx);
        if busy {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reads; whether there may be more.
    fn hear_some(&mut self, cx: &mut Context<'_>) -> bool {
        let mut more = true;
        for _ in 0..BATCH {
            match self.wire.poll_next(cx) {
                Poll::Ready(Arrival::Message(message)) => self.hear(&message),
                Poll::Ready(Arrival::End(how)) => self.tally.ended = Some(how),
                Poll::Pending => more = false,
            }
            if !more || self.tally.ended.is_some() {
                break;
            }
        }
        if !self.batch.is_empty() {
            self.run.enter(&mut self.batch);
        }
        more
    }

    fn hear(&mut self, message: &[u8]) {
        let Some(token) = self.run.tokens.find(message, &mut self.hint) else {
            if let Some(error) = self.wire.take_in(message) {
                self.tally.errors += 1;
                self.tally.first_error.get_or_insert(error);
            }
            return;
        };
        let now_ns = self.run.now_ns();
        let sender = token.place as usize;
        if token.room != self.room || sender >= self.seats.len() {
            self.tally.astray += 1;
            return;
        }
        if sender == self.place && !self.run.audience.echo {
            self.tally.to_sender += 1;
            return;
        }
        match self.receipts[sender].enter(token.number) {
            Receipt::Twice => {
                self.tally.twice += 1;
                return;
            }
            Receipt::OutOfOrder => self.tally.out_of_order += 1,
            Receipt::InOrder => {}
        }
        self.batch.push((token.at_ns, now_ns.saturating_sub(token.at_ns)));
        // The next peer lets the sender send one more; where signals name their receiver, that is the one.
        let next = !self.run.audience.everyone || (sender + 1) % self.seats.len() == self.place;
        if self.schedule.is_none() && next {
            self.seats[sender].give(1);
        }
    }

    /// Sends what may be sent; whether there may be more.
    fn send_some(&mut self, seat: &Seat, cx: &mut Context<'_>) -> bool {
        if self.schedule.is_none() && !self.run.is_sending() {
            return false;
        }
        for _ in 0..BATCH {
            if !seat.is_due() || self.wire.poll_ready(cx).is_pending() {
                return false;
            }
            // Only this client takes turns away.
            seat.turns.fetch_sub(1, Relaxed);
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
            seat.sent[index].store(audience.sent, Relaxed);
            self.run.expect(self.listeners);
        }
        true
    }
}

//! A measured loop: fills the rooms, lets all members send, and counts the deliveries.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conformance::crowd::Room;
use conformance::dial::{Dial, Tokio};
use conformance::{Arrival, Crowd, Unreachable, Wire};
use futures_util::StreamExt;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Client, Tally};
use super::pacer::{Pacer, Schedule};
use super::plan::{Pace, Plan};
use super::process::Use;
use super::shared::{Run, SenderState};
use super::stop::Stop;

/// Rooms that are filled at the same time.
const ROOMS_AT_ONCE: usize = 8;
/// Receive buffer of a client that stops reading: small, so that it fills soon.
const STALLED_BUFFER_BYTES: u32 = 4096;
/// The measured values of a loop.
pub(super) struct Measured {
    pub(super) phases: Vec<Phase>,
    pub(super) tally: Tally,
    /// Deliveries that all messages should cause, over the whole run, and those that happened.
    pub(super) expected_and_delivered: [u64; 2],
    /// How connections ended that ended early.
    pub(super) ended: Vec<String>,
    /// How the connection of each client that stopped reading ended. `None`: still connected.
    pub(super) stalled: Vec<Option<String>>,
}

/// One period of measurement.
pub(super) struct Phase {
    pub(super) deliveries: u64,
    pub(super) latencies_ns: Histogram<u64>,
    pub(super) used: Use,
}

/// Runs a loop. `stalled` clients stop reading in its second phase, if it has one.
///
/// # Errors
/// The server cannot be reached, or its rooms cannot be filled. `None`: it was stopped before anything was measured.
pub(super) async fn run(plan: &Plan, pace: Pace, stalled: usize, stop: &Stop) -> Result<Option<Measured>, Unreachable> {
    let run = Arc::new(Run::new(plan));
    let payload = run.tokens.payload(plan.bytes);
    let crowd = plan.crowd(Tokio, 0);
    let Some(rooms) = stop.unless(fill(plan, &crowd, &payload)).await else { return Ok(None) };
    let mut rooms = rooms?;
    let names: Vec<String> = rooms.iter_mut().map(|room| std::mem::take(&mut room.name)).collect();

    let mut running =
        Clients { run: Arc::clone(&run), clients: JoinSet::new(), states: Vec::new(), pacers: Vec::new() };
    let everyone = plan.members as u64 - 1 + u64::from(plan.audience.echo);
    let listeners = if plan.audience.everyone { everyone } else { 1 };
    let wrong = |why: anyhow::Error| Unreachable { url: plan.target.url().to_owned(), tried: vec![why.to_string()] };
    running.start(rooms, 0, pace, listeners).map_err(wrong)?;
    stop.pause(plan.warm_up).await;
    if stop.is_set() {
        return Ok(None);
    }
    let mut phases = vec![run.measure(plan, plan.time, stop).await];

    let mut stalled_wires: Vec<Wire> = Vec::new();
    if stalled > 0 && !stop.is_set() {
        let stalled_crowd = plan.crowd(SmallBuffers, 1);
        let joining = running.stall(plan, &stalled_crowd, &names, &payload, stalled, pace);
        if let Some(joined) = stop.unless(joining).await {
            stalled_wires = joined.map_err(wrong)?;
            phases.push(run.measure(plan, plan.time, stop).await);
        }
    }

    run.stop_sending();
    running.pacers.clear();
    let open = matches!(pace, Pace::Open { .. });
    run.drain(|| open && running.states.iter().any(|state| state.is_due())).await;
    let stalled = join_all(stalled_wires.into_iter().map(drain_stalled)).await;
    let (tally, ended) = running.end().await;
    let phases = phases.into_iter().zip(run.take_latencies_ns());
    let phases = phases.map(|((deliveries, used), latencies_ns)| Phase { deliveries, used, latencies_ns }).collect();
    Ok(Some(Measured { phases, tally, expected_and_delivered: run.expected_and_delivered(), ended, stalled }))
}

/// Fills the rooms, several in parallel.
async fn fill(plan: &Plan, crowd: &Crowd, payload: &str) -> Result<Vec<Room>, Unreachable> {
    crowd.reach().await?;
    let room = |number: usize| async move {
        let room = crowd.room(&crowd.room_name(), plan.members, payload).await;
        room.map_err(|why| format!("room {} of {} with {} members: {why}", number + 1, plan.rooms, plan.members))
    };
    let mut filling = futures_util::stream::iter((0..plan.rooms).map(room)).buffered(ROOMS_AT_ONCE);
    let mut rooms = Vec::with_capacity(plan.rooms);
    while let Some(room) = filling.next().await {
        let unreachable = |why| Unreachable { url: plan.target.url().to_owned(), tried: vec![why] };
        rooms.push(room.map_err(unreachable)?);
    }
    Ok(rooms)
}

/// The clients of a run.
struct Clients {
    run: Arc<Run>,
    clients: JoinSet<Tally>,
    states: Vec<Arc<SenderState>>,
    pacers: Vec<Pacer>,
}

impl Clients {
    /// Starts the members of rooms. `first` is the number of the first room.
    fn start(&mut self, rooms: Vec<Room>, first: usize, pace: Pace, listeners: u64) -> anyhow::Result<()> {
        let senders = rooms.iter().map(|room| room.members.len()).sum();
        self.run.add_connections(senders);
        // All senders of the run share its rate, also those that start later.
        let schedule = match pace {
            Pace::Open { per_second } => {
                let before = self.states.len();
                let share = if before == 0 { 1.0 } else { senders as f64 / before as f64 };
                Some(Schedule::new(self.run.now_ns() + 5_000_000, per_second * share, senders))
            }
            Pace::Closed { .. } => None,
        };
        let mut started: Vec<Arc<SenderState>> = Vec::with_capacity(senders);
        for (number, room) in rooms.into_iter().enumerate() {
            let states = room.members.iter().map(|member| Arc::new(SenderState::new(member.signals.len()))).collect();
            let states: Arc<[Arc<SenderState>]> = states;
            for (place, member) in room.members.into_iter().enumerate() {
                let schedule = schedule.map(|schedule| (schedule, started.len()));
                let number = (first + number) as u32;
                let client = Client::new(&self.run, number, place, &states, member, listeners, schedule)?;
                self.clients.spawn(client.play());
                started.push(Arc::clone(&states[place]));
            }
        }
        match (pace, schedule) {
            (Pace::Closed { window }, _) => started.iter().for_each(|state| state.allow(window)),
            (Pace::Open { .. }, Some(schedule)) => {
                self.pacers.push(Pacer::start(&self.run, schedule, started.clone()));
            }
            (Pace::Open { .. }, None) => unreachable!("an open loop has a schedule"),
        }
        self.states.extend(started);
        Ok(())
    }

    /// Connects clients that stop reading. They join the existing rooms if they fit and receive every message there;
    /// otherwise each joins a new room with one sender.
    async fn stall(
        &mut self,
        plan: &Plan,
        crowd: &Crowd,
        names: &[String],
        payload: &str,
        clients: usize,
        pace: Pace,
    ) -> anyhow::Result<Vec<Wire>> {
        let fits = plan.audience.members_max.is_none_or(|max| plan.members + clients.div_ceil(names.len()) <= max);
        let mut stalled_wires = Vec::with_capacity(clients);
        if plan.audience.everyone && fits {
            for number in 0..clients {
                let place = plan.members + number / names.len();
                stalled_wires.push(crowd.join(&names[number % names.len()], place).await?);
            }
            return Ok(stalled_wires);
        }
        let mut rooms = Vec::with_capacity(clients);
        for _ in 0..clients {
            let mut room = crowd.room(&crowd.room_name(), 2, payload).await?;
            stalled_wires.extend(room.members.pop().map(|member| member.wire));
            rooms.push(room);
        }
        self.start(rooms, names.len(), pace, 0)?;
        Ok(stalled_wires)
    }

    /// Ends all clients and adds up their counts.
    async fn end(mut self) -> (Tally, Vec<String>) {
        self.run.end();
        self.states.iter().for_each(|state| state.wake());
        let (mut sum, mut ended) = (Tally::default(), Vec::new());
        while let Some(tally) = self.clients.join_next().await {
            let tally = tally.expect("a client does not panic");
            sum.sent += tally.sent;
            sum.lost += tally.lost;
            sum.twice += tally.twice;
            sum.out_of_order += tally.out_of_order;
            sum.to_sender += tally.to_sender;
            sum.astray += tally.astray;
            sum.unsent += tally.unsent;
            sum.errors += tally.errors;
            sum.first_error = sum.first_error.or(tally.first_error);
            ended.extend(tally.ended);
        }
        (sum, ended)
    }
}

/// Reads what the server has queued for a client that had stopped reading. Returns how its connection ended, if it
/// ended.
async fn drain_stalled(mut wire: Wire) -> Option<String> {
    let reading = async {
        loop {
            match timeout(Duration::from_millis(500), std::future::poll_fn(|cx| wire.poll_next(cx))).await {
                Ok(Arrival::Message(_)) => {}
                Ok(Arrival::End(how)) => return Some(how),
                Err(_) => return None,
            }
        }
    };
    timeout(Duration::from_secs(5), reading).await.unwrap_or_default()
}

/// Dials real connections with small receive buffers, for clients that will stop reading.
#[derive(Clone, Copy)]
struct SmallBuffers;

impl Dial for SmallBuffers {
    type Stream = TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_recv_buffer_size(STALLED_BUFFER_BYTES)?;
            match socket.connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

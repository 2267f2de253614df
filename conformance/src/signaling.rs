//! A signaling server as the subject of a run.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::case::{Body, Case};
use crate::client::Peer;
use crate::cx::Cx;
use crate::dial::Dial;
use crate::dialect::Dialect;
use crate::dialect::file::RoomIn;
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::net::Net;
use crate::runner::{self, FIRST_PATIENCE, Facts, Options, Subject};
use crate::stop::{Running, Stop};
use crate::target::{Target, Unreachable};
use crate::transcript::{Log, Transcript};
use crate::verdict::Report;

/// Runs cases against a signaling server. The list should include every case that they need, as from
/// [`select`](crate::select()). Must be called inside a tokio runtime with time and I/O.
///
/// # Errors
/// No connection of the dialect's kind can be opened.
pub async fn run(
    dial: impl Dial,
    target: &Target,
    dialect: &Arc<Dialect>,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let net =
        Net { dial: Arc::new(dial), target: target.clone(), patience: FIRST_PATIENCE, opening: Opening::default() };
    let address = SignalingAddress { net, dialect: Arc::clone(dialect) };
    runner::run::<SignalingServer>(address, cases, options).await
}

/// Where a signaling server is, and what it speaks.
struct SignalingAddress {
    net: Net,
    dialect: Arc<Dialect>,
}

/// A signaling server that was reached.
struct SignalingServer {
    env: Arc<Env>,
    /// The measured time, without the delay that the dialect declares for the server.
    round_trip: Duration,
}

impl Subject for SignalingServer {
    type Address = SignalingAddress;
    const RESTART: Duration = Duration::from_secs(2);
    const SLOW_TOGETHER: bool = false;
    const JOINS: bool = true;

    /// Measures the round trip: the time until a join is answered, or until the connection is open if that takes longer.
    /// Waits for the answer at most half of [`FIRST_PATIENCE`]; without a valid one, the time to connect counts.
    async fn reach(address: SignalingAddress, options: &Options) -> Result<Self, Unreachable> {
        let SignalingAddress { net, dialect } = address;
        let env = Arc::new(Env::new(net, &dialect, Duration::ZERO, options.seed));
        let log = Log::new();
        let cx = Cx::new(Arc::clone(&env), log.clone());
        let room = cx.room();
        let role = cx.file().roles.as_ref().map(|roles| roles.offers.as_str());
        let start = Instant::now();
        let mut probe = Peer::connect(&env, &log, "probe", &room, role).await.map_err(|error| {
            let target = &env.net.target;
            Unreachable { url: target.shown(), tried: vec![target.secrets().hide(&error.to_string())] }
        })?;
        let handshake = start.elapsed();
        let start = Instant::now();
        // Whether the answer is right is for the cases to test.
        let answer = timeout(FIRST_PATIENCE / 2, probe.join(&room, None)).await;
        let round_trip = match answer {
            Ok(Ok(_)) => start.elapsed().max(handshake),
            _ => handshake,
        };
        let declared = Duration::from_millis(u64::from(dialect.file.connection.slow_by_ms));
        let slowest = round_trip + declared;
        let env = env.measured(slowest, runner::patience(slowest), options.record);
        Ok(Self { env: Arc::new(env), round_trip })
    }

    fn facts(&self) -> Facts {
        let Env { net, dialect, .. } = &*self.env;
        Facts {
            url: net.target.shown(),
            protocol: dialect.name().to_owned(),
            round_trip: self.round_trip,
            patience: net.patience,
        }
    }

    fn lacks(&self, case: &Case) -> Option<String> {
        case.lacking(&self.env.dialect)
    }

    fn jobs(&self, options: &Options) -> usize {
        // Without rooms, the clients of all cases meet in one space. Cases run one at a time there, or one would
        // receive and record what another sends.
        if self.env.dialect.file.room.r#in == RoomIn::None { 1 } else { options.jobs }
    }

    fn attempts(&self, _: &Case) -> usize {
        1
    }

    fn run(&self, case: &'static Case, log: &Log) -> Running<'static> {
        let Body::Signaling(run) = case.body else { unreachable!("{} is for another suite", case.slug) };
        let mut cx = Cx::new(Arc::clone(&self.env), log.clone());
        Box::pin(async move { run(&mut cx).await })
    }

    async fn alive(&self, log: &Log) -> Result<(), Stop> {
        Cx::new(Arc::clone(&self.env), log.clone()).alive().await
    }

    fn redact(&self, transcript: &mut Transcript) {
        transcript.redact(&self.env.net.target.secrets());
    }
}

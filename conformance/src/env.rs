//! What all cases of a run against a signaling server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use toml::Spanned;

use crate::dialect::{Dialect, form};
use crate::framing::browser::Opening;
use crate::framing::connector::Connector;
use crate::framing::net::Net;

/// A signaling server and how to talk to it.
pub(crate) struct Env {
    pub(crate) net: Net,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) connector: Connector,
    /// Time from a message to its answer.
    pub(crate) round_trip: Duration,
    /// Makes names differ between runs on the same server.
    pub(crate) seed: u64,
    /// Whether to record what goes over the wire.
    pub(crate) keep: bool,
    fresh: AtomicUsize,
}

impl Env {
    /// An environment without recording.
    pub(crate) fn new(net: Net, dialect: &Arc<Dialect>, round_trip: Duration, seed: u64) -> Self {
        let connector = Connector::new(net.clone(), Arc::clone(dialect));
        let (dialect, fresh) = (Arc::clone(dialect), AtomicUsize::new(0));
        Self { net, dialect, connector, round_trip, seed, keep: false, fresh }
    }

    /// A number that is unique in this run.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.fetch_add(1, Relaxed)
    }

    /// A name that is unique in this run: of this form, or `otherwise` with a number if there is none.
    pub(crate) fn name(&self, form: Option<&Spanned<String>>, otherwise: impl FnOnce(usize) -> String) -> String {
        let number = self.fresh();
        form.map_or_else(|| otherwise(number), |form| form::fill(form.get_ref(), self.seed, number))
    }

    /// The same server after its round trip was measured. Names stay unique: the count goes on.
    pub(crate) fn measured(&self, round_trip: Duration, patience: Duration, keep: bool) -> Self {
        let net = Net { patience, ..self.net.clone() };
        let fresh = AtomicUsize::new(self.fresh.load(Relaxed));
        Self { keep, fresh, ..Self::new(net, &self.dialect, round_trip, self.seed) }
    }

    /// The same server, with time for this many bytes to cross a slow line.
    pub(crate) fn with_time_for(&self, bytes: usize) -> Self {
        const SLOW_BYTES_PER_SECOND: f64 = 65_536.0;
        let patience = self.net.patience + Duration::from_secs_f64(bytes as f64 / SLOW_BYTES_PER_SECOND);
        self.over(Net { patience, ..self.net.clone() })
    }

    /// The same server for a client without the user's headers.
    pub(crate) fn anonymous(&self) -> Self {
        self.over(Net { target: self.net.target.without_headers(), ..self.net.clone() })
    }

    /// The same server for a client that writes the handshakes of its WebSockets in this way.
    pub(crate) fn opening(&self, opening: Opening) -> Self {
        self.over(Net { opening, ..self.net.clone() })
    }

    fn over(&self, net: Net) -> Self {
        // A range of numbers of its own: names stay unique.
        let fresh = AtomicUsize::new(self.fresh.fetch_add(1_000, Relaxed));
        Self { keep: self.keep, fresh, ..Self::new(net, &self.dialect, self.round_trip, self.seed) }
    }
}

//! `GET /metrics`: the metrics as OpenMetrics text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Traffic;
use crate::access::Guard;
use crate::access::admin::NotAdmin;
use crate::{Handle, Shared};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoint.
pub(crate) struct MetricsPage {
    registry: Registry,
    /// Whether everyone may read it, or only operators.
    is_open: bool,
}

impl MetricsPage {
    pub(crate) fn new(shared: &Arc<Shared>, is_open: bool) -> Self {
        let mut registry = Registry::with_prefix("glare");
        registry.register_collector(Box::new(Counts(Arc::downgrade(shared))));
        Self { registry, is_open }
    }

    pub(crate) fn respond(&self, method: &Method, headers: &HeaderMap, guard: &Guard) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let mut answer = |status, name, value| {
            *response.status_mut() = status;
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            answer(StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "GET, HEAD");
        } else {
            let checked = if self.is_open { Ok(()) } else { guard.check_admin(headers) };
            match checked {
                Ok(()) => {
                    answer(StatusCode::OK, header::CONTENT_TYPE, CONTENT_TYPE);
                    let mut page = String::new();
                    text::encode(&mut page, &self.registry).expect("writing to a string cannot fail");
                    *response.body_mut() = Full::from(page);
                }
                Err(NotAdmin::Token) => answer(StatusCode::UNAUTHORIZED, header::WWW_AUTHENTICATE, "Bearer"),
                Err(closed @ NotAdmin::Closed) => {
                    answer(StatusCode::FORBIDDEN, header::CONTENT_TYPE, "text/plain");
                    *response.body_mut() = Full::from(closed.message());
                }
            }
        }
        response
    }
}

/// Adds the counts up at each scrape. Weak, because the page is part of the shared state.
struct Counts(Weak<Shared>);

impl Debug for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let mut page = Writer(encoder);
        let metrics = &shared.registry.metrics;
        let (dialects, traffic) = (shared.dialects(), shared.registry.traffic());
        let census = Handle(Arc::clone(&shared)).census();

        page.gauge("connections", "Open TCP connections, HTTP or WebSocket", census.connections as u64)?;
        page.counter("connections_accepted", "TCP connections since the start", shared.registry.accepted())?;
        page.gauge("sessions", "Open Engine.IO sessions, whatever carries them", census.sessions as u64)?;
        let counted: Vec<_> = dialects.iter().map(|dialect| (dialect.name(), dialect.count())).collect();
        let rooms = counted.iter().map(|(name, (rooms, _))| (*name, *rooms as u64));
        page.gauges("rooms", "Rooms with a member; calls in the dialect call", "dialect", rooms)?;
        let members = counted.iter().map(|(name, (_, members))| (*name, *members as u64));
        page.gauges("members", "Members of all rooms; users in the dialect call", "dialect", members)?;

        // Includes every dialect from the first scrape on, so that rates begin at zero.
        let mut by_dialect: BTreeMap<_, _> = counted.iter().map(|(name, _)| (*name, Traffic::default())).collect();
        by_dialect.extend(traffic);
        let by_dialect =
            |count: fn(&Traffic) -> u64| by_dialect.iter().map(move |(name, traffic)| (*name, count(traffic)));
        let received = by_dialect(|traffic| traffic.messages_received);
        page.counters("messages_received", "Text messages from clients", "dialect", received)?;
        let received = by_dialect(|traffic| traffic.bytes_received);
        page.counters("received_bytes", "Their text in bytes", "dialect", received)?;
        let sent = by_dialect(|traffic| traffic.messages_sent);
        page.counters("messages_sent", "Messages written to clients", "dialect", sent)?;
        page.counters("sent_bytes", "Their text in bytes", "dialect", by_dialect(|traffic| traffic.bytes_sent))?;
        let dropped = by_dialect(|traffic| traffic.messages_dropped);
        page.counters("messages_dropped", "Messages that were queued but never written", "dialect", dropped)?;

        page.gauge("queued_messages", "Messages that wait to be written", census.queued_messages as u64)?;
        page.gauge("queued_bytes", "Their text in bytes", census.queued_bytes as u64)?;
        let peak = census.queued_messages_peak as u64;
        page.gauge("queued_messages_peak", "The most messages that ever waited for one client", peak)?;
        let peak = census.queued_bytes_peak as u64;
        page.gauge("queued_bytes_peak", "The most bytes that ever waited for one client", peak)?;

        let buffered = shared.registry.budget.used() as u64;
        page.gauge("buffered_bytes", "Bytes of queues, unfinished messages and request bodies", buffered)?;

        let closed = metrics.closed.counts();
        page.counters("websockets_closed", "WebSockets that ended", "reason", closed.into_iter())?;
        let refused = metrics.refused.counts();
        page.counters("requests_refused", "HTTP requests that were refused", "reason", refused.into_iter())?;
        page.metric(
            "handshake_seconds",
            "From accept, or the end of the TLS handshake, to the answer that opens a WebSocket",
            MetricType::Histogram,
            &metrics.handshake,
        )?;
        page.metric(
            "delivery_seconds",
            "From queued for a client to written, of one message in 64",
            MetricType::Histogram,
            &metrics.delivery,
        )?;
        page.counter("stun_requests", "STUN datagrams received", metrics.stun_received.load(Relaxed))?;
        page.counter("stun_responses", "STUN datagrams answered", metrics.stun_answered.load(Relaxed))?;
        let turn = Handle(Arc::clone(&shared)).turn().unwrap_or_default();
        page.gauge("turn_allocations", "TURN allocations at this moment", turn.allocations)?;
        page.gauge("turn_users", "Usernames that hold them", turn.users)?;
        page.counter("turn_allocations_made", "TURN allocations since the start", turn.allocations_made)?;
        let by_way = |to_peers, to_clients| [("peer", to_peers), ("client", to_clients)].into_iter();
        let packets = by_way(turn.packets_to_peers, turn.packets_to_clients);
        page.counters("turn_packets", "Datagrams relayed", "to", packets)?;
        page.counters("turn_bytes", "Their data in bytes", "to", by_way(turn.bytes_to_peers, turn.bytes_to_clients))?;
        let lost = [
            ("forbidden", turn.packets_forbidden),
            ("dropped", turn.packets_dropped),
            ("bandwidth", turn.packets_throttled),
        ];
        page.counters("turn_packets_discarded", "Datagrams not relayed", "reason", lost.into_iter())?;
        let refusals: Vec<_> = turn.refusals.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        let refusals = refusals.iter().map(|(code, count)| (code.as_str(), *count));
        page.counters("turn_refusals", "TURN requests refused", "code", refusals)?;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            page.gauge("tasks", "Tasks of the process that are alive", runtime.metrics().num_alive_tasks() as u64)?;
        }
        Ok(())
    }
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn metric(&mut self, name: &str, help: &str, kind: MetricType, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, MetricType::Gauge, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, MetricType::Counter, &ConstCounter::new(value))
    }

    fn gauges<'n>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'n str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value_of_label, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&[(label, value_of_label)])?)?;
        }
        Ok(())
    }

    fn counters<'n>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'n str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value_of_label, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, value_of_label)])?)?;
        }
        Ok(())
    }
}

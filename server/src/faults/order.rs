//! What an operator orders, and whom it concerns.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    /// All TCP addresses but that of STUN: WebSockets, Socket.IO, pages and the API.
    Signaling,
    /// What clients exchange with STUN and TURN, over UDP and TCP. What relays exchange with peers is left alone.
    Turn,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    FromClient,
    ToClient,
}

/// The directions of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ways {
    #[default]
    Both,
    FromClient,
    ToClient,
}

/// What an operator orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// The service; both if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) on: Option<Service>,
    /// The client; all if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) way: Ways,
    /// Nothing passes. Datagrams are lost, TCP waits.
    #[serde(default)]
    pub(super) cut: bool,
    #[serde(default)]
    pub(super) delay_ms: u64,
    #[serde(default)]
    pub(super) loss_percent: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_second: Option<u64>,
    /// How long it lasts; until it is ended if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) for_ms: Option<u64>,
}

impl Order {
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        /// A day, in milliseconds: longer is surely a mistake.
        const MS_MAX: u64 = 24 * 3600 * 1000;
        if !self.cut && self.delay_ms == 0 && self.loss_percent == 0.0 && self.bytes_per_second.is_none() {
            return Err("it does nothing: give `cut`, `delay_ms`, `loss_percent` or `bytes_per_second`");
        }
        if !(0.0..=100.0).contains(&self.loss_percent) {
            return Err("`loss_percent` is from 0 to 100");
        }
        if self.delay_ms > MS_MAX || self.for_ms.is_some_and(|time| time == 0 || time > MS_MAX) {
            return Err("`delay_ms` and `for_ms` are at most 86400000, a day, and `for_ms` is at least 1");
        }
        if self.bytes_per_second == Some(0) {
            return Err("`bytes_per_second` is at least 1: use `cut` to let nothing pass");
        }
        if self.client.as_deref() == Some("") {
            return Err("`client` is empty: leave it out for all clients");
        }
        Ok(())
    }

    pub(super) fn concerns(&self, to: &Traffic, name: Option<&Name>) -> bool {
        let is_way = match self.way {
            Ways::Both => true,
            Ways::FromClient => to.way == Way::FromClient,
            Ways::ToClient => to.way == Way::ToClient,
        };
        let is_client = |client: &str| {
            client.parse::<SocketAddr>().is_ok_and(|address| address == to.client)
                || client.parse::<IpAddr>().is_ok_and(|address| address == to.client.ip())
                || name.is_some_and(|name| name.is(client))
        };
        is_way && self.on.is_none_or(|on| on == to.service) && self.client.as_deref().is_none_or(is_client)
    }
}

/// What passes, or would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) service: Service,
    pub(crate) client: SocketAddr,
    pub(crate) way: Way,
    pub(crate) bytes: usize,
}

/// What a client is called, other than by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The username that it gave to TURN.
    User(String),
    /// The path and query of its first request.
    Request(String),
}

impl Name {
    /// Whether an operator means it: a TURN user by the name, a signaling client by a parameter such as `room=demo`.
    fn is(&self, client: &str) -> bool {
        match self {
            Self::User(user) => user == client,
            Self::Request(target) => {
                let query = target.split_once('?').map_or("", |(_, query)| query);
                client.contains('=') && query.split('&').any(|parameter| parameter == client)
            }
        }
    }
}

/// The target of a request, without the value of a token.
pub(super) fn without_token(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name @ "token", _)) => format!("{name}=…"),
        _ => parameter.to_owned(),
    };
    format!("{path}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
}

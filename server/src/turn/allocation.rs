//! The state of one allocation: its expiry, permissions and channel bindings (RFC 8656 §6, §9, §12).
//!
//! Sans-IO: the time is passed in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::settings::TurnSettings;

/// Lifetime of a permission after its last refresh, fixed by the spec.
//= https://www.rfc-editor.org/rfc/rfc8656#section-9-4
//# The Permission Lifetime MUST be 300 seconds (= 5 minutes).
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Time a channel stays bound after its last refresh.
//= https://www.rfc-editor.org/rfc/rfc8656#section-12-13
//# A channel binding lasts for 10 minutes unless refreshed.
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// The valid channel numbers (RFC 8656 §12.2).
pub(crate) const CHANNELS: RangeInclusive<u16> = 0x4000..=0x4fff;
/// The valid channel numbers of RFC 5766 §11.
pub(crate) const CHANNELS_RFC_5766: RangeInclusive<u16> = 0x4000..=0x7fff;

/// Why a channel or a permission was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The channel is bound to another peer, or the peer to another channel: 400.
    Bound,
    /// There are too many: 508.
    Full,
}

/// How a peer's datagram is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Forbidden,
    Channel(u16),
    Indication,
}

/// An allocation's permissions and channels. Expired ones have no effect.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) expires: Instant,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, Channel>,
    numbers: BTreeMap<SocketAddr, u16>,
    /// Beyond these numbers: 508.
    permissions_max: usize,
    channels_max: usize,
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

impl State {
    pub(crate) fn new(expires: Instant, settings: &TurnSettings) -> Self {
        let TurnSettings { permissions_max, channels_max, .. } = *settings;
        let (permissions, channels, numbers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { expires, permissions, channels, numbers, permissions_max, channels_max }
    }

    /// Installs or refreshes permissions, all or none.
    pub(crate) fn permit(&mut self, peers: &[IpAddr], now: Instant) -> Result<(), Conflict> {
        if self.permissions.len() + peers.len() > self.permissions_max {
            self.permissions.retain(|_, expires| *expires > now);
            let new = peers.iter().filter(|peer| !self.permissions.contains_key(peer)).count();
            if self.permissions.len() + new > self.permissions_max {
                return Err(Conflict::Full);
            }
        }
        self.permissions.extend(peers.iter().map(|peer| (*peer, now + PERMISSION_LIFETIME)));
        Ok(())
    }

    /// Binds or refreshes a channel, and its peer's permission.
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), Conflict> {
        self.forget_expired(number, peer, now);
        //= https://www.rfc-editor.org/rfc/rfc8656#section-12-12
        //# Thus, the same channel cannot be bound to two
        //# different transport addresses, nor can the same transport address be
        //# bound to two different channels.
        let is_bound_elsewhere = self.channels.get(&number).is_some_and(|channel| channel.peer != peer)
            || self.numbers.get(&peer).is_some_and(|bound| *bound != number);
        if is_bound_elsewhere {
            return Err(Conflict::Bound);
        }
        if self.channels.len() >= self.channels_max && !self.channels.contains_key(&number) {
            self.channels.retain(|_, channel| channel.expires > now);
            self.numbers.retain(|_, number| self.channels.contains_key(number));
            if self.channels.len() >= self.channels_max {
                return Err(Conflict::Full);
            }
        }
        self.permit(&[peer.ip()], now)?;
        self.channels.insert(number, Channel { peer, expires: now + CHANNEL_LIFETIME });
        self.numbers.insert(peer, number);
        Ok(())
    }

    /// The peer of a channel, if it is bound and the peer is permitted.
    pub(crate) fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let channel = self.channels.get(&number).filter(|channel| channel.expires > now)?;
        self.is_permitted(channel.peer.ip(), now).then_some(channel.peer)
    }

    /// Whether a channel is bound, perhaps to a peer without a permission.
    pub(crate) fn is_bound(&self, number: u16, now: Instant) -> bool {
        self.channels.get(&number).is_some_and(|channel| channel.expires > now)
    }

    /// Whether data may be relayed between the client and a peer; ports are ignored (RFC 8656 §9).
    pub(crate) fn is_permitted(&self, peer: IpAddr, now: Instant) -> bool {
        now < self.expires && self.permissions.get(&peer).is_some_and(|expires| *expires > now)
    }

    /// How a peer's datagram reaches the client.
    pub(crate) fn inbound(&self, peer: SocketAddr, now: Instant) -> Inbound {
        if !self.is_permitted(peer.ip(), now) {
            return Inbound::Forbidden;
        }
        //= https://www.rfc-editor.org/rfc/rfc8656#section-12.5-1
        //# The server, on the other hand, MUST use
        //# the ChannelData message if a channel has been bound to the peer.
        let number = self
            .numbers
            .get(&peer)
            .filter(|number| self.channels.get(number).is_some_and(|channel| channel.expires > now));
        number.map_or(Inbound::Indication, |number| Inbound::Channel(*number))
    }

    fn forget_expired(&mut self, number: u16, peer: SocketAddr, now: Instant) {
        let other = self.numbers.get(&peer).copied();
        for number in std::iter::once(number).chain(other) {
            if self.channels.get(&number).is_some_and(|channel| channel.expires <= now)
                && let Some(channel) = self.channels.remove(&number)
            {
                self.numbers.remove(&channel.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PERMISSIONS_MAX: usize = 1024;
    const CHANNELS_MAX: usize = 1024;

    fn peer(n: u16) -> SocketAddr {
        ([192, 0, 2, 1], n).into()
    }

    fn state() -> (State, Instant) {
        let now = Instant::now();
        (State::new(now + Duration::from_secs(3600), &TurnSettings::default()), now)
    }

    #[test]
    fn a_permission_lasts_300_seconds_and_a_channel_600() {
        let (mut state, now) = state();
        assert_eq!(state.inbound(peer(1), now), Inbound::Forbidden);
        state.bind(0x4000, peer(1), now).expect("both are free");
        let just_before = now + PERMISSION_LIFETIME - SECOND;
        assert_eq!(
            (state.inbound(peer(1), just_before), state.peer_of(0x4000, just_before)),
            (Inbound::Channel(0x4000), Some(peer(1)))
        );
        // Another port of the same host is also permitted, without a channel.
        assert_eq!(state.inbound(peer(2), just_before), Inbound::Indication);
        let after = now + PERMISSION_LIFETIME;
        assert_eq!((state.inbound(peer(1), after), state.peer_of(0x4000, after)), (Inbound::Forbidden, None));
        // The channel outlives its permission, and works again with a new one, for 600 s in total.
        state.permit(&[peer(1).ip()], after).expect("there is room");
        assert_eq!(state.peer_of(0x4000, now + CHANNEL_LIFETIME - SECOND), Some(peer(1)));
        state.permit(&[peer(1).ip()], now + CHANNEL_LIFETIME - SECOND).expect("there is room");
        let end = now + CHANNEL_LIFETIME;
        assert_eq!((state.inbound(peer(1), end), state.peer_of(0x4000, end)), (Inbound::Indication, None));
    }

    #[test]
    fn a_channel_and_a_peer_belong_to_each_other_until_they_expire() {
        let (mut state, now) = state();
        state.bind(0x4000, peer(1), now).expect("both are free");
        assert_eq!(state.bind(0x4000, peer(2), now), Err(Conflict::Bound));
        assert_eq!(state.bind(0x4001, peer(1), now), Err(Conflict::Bound));
        state.bind(0x4000, peer(1), now + SECOND).expect("it refreshes");
        let later = now + SECOND + CHANNEL_LIFETIME;
        assert_eq!(state.bind(0x4000, peer(2), later - SECOND), Err(Conflict::Bound));
        state.bind(0x4000, peer(2), later).expect("it has expired");
        state.bind(0x4001, peer(1), later).expect("it has expired");
        assert_eq!((state.peer_of(0x4000, later), state.peer_of(0x4001, later)), (Some(peer(2)), Some(peer(1))));
    }

    #[test]
    fn permissions_and_channels_are_limited() {
        let (mut state, now) = state();
        let many: Vec<IpAddr> =
            (0..PERMISSIONS_MAX as u32).map(|n| IpAddr::from((0x0800_0000 + n).to_be_bytes())).collect();
        state.permit(&many, now).expect("just as many");
        state.permit(&many, now).expect("none is new");
        assert_eq!(state.permit(&[[9, 9, 9, 9].into()], now), Err(Conflict::Full));
        state.permit(&[[9, 9, 9, 9].into()], now + PERMISSION_LIFETIME).expect("the others have expired");
        for n in 0..CHANNELS_MAX as u16 {
            state.bind(0x4000 + n, peer(n + 1), now).expect("just as many");
        }
        let (next, other) = (0x4000 + CHANNELS_MAX as u16, peer(5000));
        assert_eq!(state.bind(next, other, now), Err(Conflict::Full));
        state.bind(next, other, now + CHANNEL_LIFETIME).expect("the others have expired");
    }
}

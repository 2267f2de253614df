//! Finds the connection that a datagram belongs to, because one socket serves all of them. RFC 8445 §7.3 and RFC 7983.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::PeerName;
use crate::peer::path::Path;

/// Attribute type of USERNAME. RFC 8489 §14.3.
const USERNAME: u16 = 0x0006;
/// The first two bytes of a Binding request.
const BINDING_REQUEST: [u8; 2] = [0, 1];
/// Size of a STUN header, bytes.
const HEADER: usize = 20;

/// The peer for each local username fragment and for each path.
#[derive(Debug, Default)]
pub(super) struct Demux {
    by_ufrag: BTreeMap<Arc<str>, PeerName>,
    by_path: BTreeMap<Path, PeerName>,
}

impl Demux {
    /// Assigns to `peer` the connectivity checks that carry this local username fragment.
    pub(super) fn add_ufrag(&mut self, ufrag: Arc<str>, peer: &PeerName) {
        self.by_ufrag.insert(ufrag, peer.clone());
    }

    /// Assigns to `peer` all other datagrams on `path`.
    pub(super) fn add_path(&mut self, path: Path, peer: &PeerName) {
        if self.by_path.get(&path) != Some(peer) {
            self.by_path.insert(path, peer.clone());
        }
    }

    /// Removes the entries of a peer whose connection is over.
    pub(super) fn remove(&mut self, peer: &str) {
        self.by_ufrag.retain(|_, of| &**of != peer);
        self.by_path.retain(|_, of| &**of != peer);
    }

    /// Gives the entries of one name to another.
    pub(super) fn rename(&mut self, from: &str, to: &PeerName) {
        for of in self.by_ufrag.values_mut().chain(self.by_path.values_mut()).filter(|of| ***of == *from) {
            *of = to.clone();
        }
    }

    /// The peer that a datagram comes from. A Binding request is assigned by its USERNAME, anything else by its path.
    pub(super) fn route(&self, path: Path, datagram: &[u8]) -> Option<&PeerName> {
        if datagram.len() >= HEADER && datagram[..2] == BINDING_REQUEST {
            let ufrag = username(datagram)?.split(':').next()?;
            return self.by_ufrag.get(ufrag);
        }
        self.by_path.get(&path)
    }
}

/// The local username fragment in the USERNAME of a STUN message.
fn username(message: &[u8]) -> Option<&str> {
    let mut rest = message.get(HEADER..)?;
    while let [t0, t1, l0, l1, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            return std::str::from_utf8(value.get(..length)?).ok();
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(username: &str) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]); // SOFTWARE, padded
        message.extend([0, 6, 0, username.len() as u8]);
        message.extend(username.as_bytes());
        message
    }

    fn path() -> Path {
        Path { remote: "192.0.2.1:9".parse().expect("an address"), base: "192.0.2.2:9".parse().expect("an address") }
    }

    #[test]
    fn a_request_goes_by_its_username_and_the_rest_by_its_path() {
        let path = path();
        let mut demux = Demux::default();
        demux.add_ufrag("ours".into(), &PeerName::Client("ben".into()));
        demux.add_path(path, &PeerName::Client("cleo".into()));
        assert_eq!(demux.route(path, &request("ours:theirs")).map(|p| &**p), Some("ben"));
        assert_eq!(demux.route(path, &request("other:theirs")), None);
        assert_eq!(demux.route(path, &[22, 0]).map(|p| &**p), Some("cleo"));
        let other_base = Path { base: "192.0.2.3:9".parse().expect("an address"), ..path };
        assert_eq!(demux.route(other_base, &[22, 0]), None);
        demux.remove("ben");
        assert_eq!(demux.route(path, &request("ours:theirs")), None);
    }

    #[test]
    fn a_truncated_request_is_nobodys() {
        let whole = request("ours:theirs");
        for length in 0..whole.len() {
            assert_eq!(Demux::default().route(path(), &whole[..length]), None);
        }
    }
}

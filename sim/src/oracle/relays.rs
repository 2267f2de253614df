//! What each TURN server has granted to whom, and what it relays beyond that. RFC 8656.
//!
//! Only allocations over UDP are known: what a server and a client exchange over TCP is not read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use scenarios::TURN_TLS_PORT;
use server::STUN_PORT;

use crate::event::datagrams::{Class, Content, ServerDatagram, StunMessage};
use crate::event::{Event, Fault, MachineEvent, NodeId, PacketEvent, Protocol, TransportAddress, What};
use crate::oracle::cx::{OracleCx, seconds};

const ALLOCATE: u16 = 0x003;
const REFRESH: u16 = 0x004;
const DATA: u16 = 0x007;
const CREATE_PERMISSION: u16 = 0x008;
const CHANNEL_BIND: u16 = 0x009;
/// The lifetime of an allocation whose response names none. RFC 8656 §3.2.
const ALLOCATION: Duration = Duration::from_secs(600);
/// The lifetime of a permission. RFC 8656 §9.
const PERMISSION: Duration = Duration::from_secs(300);
/// The lifetime of a channel. RFC 8656 §12.
const CHANNEL: Duration = Duration::from_secs(600);
/// How late a server may end what has expired: some look for it from time to time.
const SLACK: Duration = Duration::from_secs(10);

/// What is wrong with something that a TURN server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// It granted a request that nobody signed.
    Unsigned,
    /// It relayed between a client and a peer that the client has not permitted.
    NotPermitted,
    /// It relayed for an allocation that has ended.
    Ended,
}

/// Something that a TURN server did and must not do.
pub(super) struct Finding {
    pub(super) wrong: Wrong,
    pub(super) server: NodeId,
    pub(super) message: String,
}

/// The times at which machines started or lost power, as positions in the record.
#[derive(Default)]
pub(super) struct Restarts(Vec<(usize, NodeId)>);

impl Restarts {
    pub(super) fn observe(&mut self, event: &Event, cx: &OracleCx<'_>) {
        let is_one = matches!(
            event.what,
            What::Fault(Fault::PowerLoss | Fault::Boot | Fault::Shutdown)
                | What::Machine(MachineEvent::Booted | MachineEvent::PowerLost | MachineEvent::Ended)
        );
        if is_one {
            self.0.push((cx.now().index, event.node));
        }
    }
}

/// The end of a client's path to a server: the server's machine and address, and the client's address.
type Client = (NodeId, TransportAddress, TransportAddress);

struct Allocation {
    relayed: Vec<TransportAddress>,
    ends: Duration,
    /// When the permission for each peer ends.
    permissions: BTreeMap<IpAddr, Duration>,
    /// The peer of each channel, and when the channel ends.
    channels: BTreeMap<u16, (TransportAddress, Duration)>,
}

#[derive(Default)]
struct Relays {
    requests: BTreeMap<(Client, [u8; 12]), StunMessage>,
    allocations: BTreeMap<Client, Allocation>,
    owners: BTreeMap<(NodeId, TransportAddress), Client>,
    findings: BTreeMap<(Wrong, Client, Option<IpAddr>), Finding>,
}

/// Everything that TURN servers did until now and must not do.
pub(super) fn findings(restarts: &Restarts, cx: &OracleCx<'_>) -> Vec<Finding> {
    let mut relays = Relays::default();
    let mut restarts = restarts.0.iter().peekable();
    let end = cx.now().index;
    for datagram in cx.record.server_datagrams.iter().take_while(|datagram| datagram.event < end) {
        while let Some((_, node)) = restarts.next_if(|(index, _)| *index < datagram.event) {
            relays.forget(*node);
        }
        if datagram.is_sent {
            relays.sent(datagram, cx);
        } else if let Some(request) = datagram.message(Class::Request) {
            relays.requests.insert((client(datagram), request.id), request.clone());
        }
    }
    let mut findings: Vec<_> = relays.findings.into_values().collect();
    // The port of an allocation that has ended may belong to a client that nobody sees here.
    findings.retain(|finding| finding.wrong != Wrong::Ended || !is_used_over_tcp(finding.server, cx));
    findings
}

fn client(datagram: &ServerDatagram) -> Client {
    (datagram.node, datagram.local, datagram.remote)
}

/// Whether clients reach a server over TCP, with or without TLS.
fn is_used_over_tcp(server: NodeId, cx: &OracleCx<'_>) -> bool {
    cx.record.events.iter().any(|event| match &event.what {
        What::Packet(PacketEvent::Delivered(view)) => {
            event.node == server
                && view.protocol == Protocol::Tcp
                && [STUN_PORT, TURN_TLS_PORT].contains(&view.dst.port())
        }
        _ => false,
    })
}

impl Relays {
    /// Forgets what a machine granted: it has lost it itself.
    fn forget(&mut self, node: NodeId) {
        self.requests.retain(|((server, ..), _), _| *server != node);
        self.allocations.retain(|(server, ..), _| *server != node);
        self.owners.retain(|(server, _), _| *server != node);
    }

    fn sent(&mut self, datagram: &ServerDatagram, cx: &OracleCx<'_>) {
        let (client, at) = (client(datagram), datagram.at);
        if !datagram.is_of_server() {
            if let Some(client) = self.owners.get(&(datagram.node, datagram.local)).copied() {
                self.relayed(client, datagram.remote.ip(), at, cx);
            }
        } else if let Content::ChannelData(number) = datagram.content {
            self.channel_data(client, number, at, cx);
        } else if let Some(response) = datagram.message(Class::Success) {
            if let Some(request) = self.requests.remove(&(client, response.id)) {
                self.granted(client, &request, response, at, cx);
            }
        } else if let Some(indication) = datagram.message(Class::Indication)
            && indication.method == DATA
            && let Some(peer) = indication.peers.first()
        {
            self.relayed(client, peer.ip(), at, cx);
        }
    }

    /// Notes what a success response grants.
    fn granted(
        &mut self,
        client: Client,
        request: &StunMessage,
        response: &StunMessage,
        at: Duration,
        cx: &OracleCx<'_>,
    ) {
        let lifetime = response.lifetime.map_or(ALLOCATION, |seconds| Duration::from_secs(seconds.into()));
        let method = match request.method {
            ALLOCATE => {
                for relayed in &response.relayed {
                    self.owners.insert((client.0, *relayed), client);
                }
                let (permissions, channels) = (BTreeMap::new(), BTreeMap::new());
                let relayed = response.relayed.clone();
                // A repeated response to the same request grants nothing new.
                let is_repeated =
                    self.allocations.get(&client).is_some_and(|known| known.relayed == relayed && at < known.ends);
                if !is_repeated {
                    let ends = at + lifetime;
                    self.allocations.insert(client, Allocation { relayed, ends, permissions, channels });
                }
                "Allocate"
            }
            REFRESH => {
                if let Some(allocation) = self.allocations.get_mut(&client) {
                    match request.wants_ipv6.filter(|_| lifetime.is_zero()) {
                        // One of two relayed addresses is given back.
                        Some(is_ipv6) if allocation.relayed.len() > 1 => {
                            allocation.relayed.retain(|relayed| relayed.is_ipv6() != is_ipv6);
                        }
                        _ => allocation.ends = at + lifetime,
                    }
                }
                "Refresh"
            }
            CREATE_PERMISSION => {
                if let Some(allocation) = self.allocations.get_mut(&client) {
                    let permitted = request.peers.iter().map(|peer| (peer.ip(), at + PERMISSION));
                    allocation.permissions.extend(permitted);
                }
                "CreatePermission"
            }
            CHANNEL_BIND => {
                if let (Some(allocation), Some(number), [peer, ..]) =
                    (self.allocations.get_mut(&client), request.channel, &request.peers[..])
                {
                    allocation.channels.insert(number, (*peer, at + CHANNEL));
                    allocation.permissions.insert(peer.ip(), at + PERMISSION);
                }
                "ChannelBind"
            }
            _ => return,
        };
        if !request.is_signed {
            let message = format!(
                "{} granted {} a {method} at {}, but its request has no MESSAGE-INTEGRITY",
                cx.name(client.0),
                client.2,
                seconds(at)
            );
            self.found(Wrong::Unsigned, client, None, message);
        }
    }

    /// Judges data that was relayed between a client and a peer.
    fn relayed(&mut self, client: Client, peer: IpAddr, at: Duration, cx: &OracleCx<'_>) {
        let Some(allocation) = self.living(client, at, cx) else { return };
        let channel = allocation.channels.values().filter(|(bound, _)| bound.ip() == peer).map(|(_, ends)| *ends);
        let ends = allocation.permissions.get(&peer).copied().into_iter().chain(channel).max();
        let why = match ends {
            Some(ends) if at <= ends + SLACK => return,
            Some(ends) => format!("whose permission ended at {}", seconds(ends)),
            None => "for which it has no permission".to_owned(),
        };
        self.not_permitted(client, Some(peer), &format!("{peer}, {why}"), at, cx);
    }

    /// Judges data that was relayed to a client on a channel.
    fn channel_data(&mut self, client: Client, number: u16, at: Duration, cx: &OracleCx<'_>) {
        let Some(allocation) = self.living(client, at, cx) else { return };
        let (peer, why) = match allocation.channels.get(&number) {
            Some((_, ends)) if at <= *ends + SLACK => return,
            Some((peer, ends)) => (Some(peer.ip()), format!("which ended at {}", seconds(*ends))),
            None => (None, "which the client has not bound".to_owned()),
        };
        self.not_permitted(client, peer, &format!("a peer on channel {number:#06x}, {why}"), at, cx);
    }

    /// The allocation of a client, if it is known and has not ended. Notes if it has.
    fn living(&mut self, client: Client, at: Duration, cx: &OracleCx<'_>) -> Option<&Allocation> {
        let ends = self.allocations.get(&client)?.ends;
        if at > ends + SLACK {
            let message = format!(
                "{} relayed data for {} at {}, but its allocation ended at {}",
                cx.name(client.0),
                client.2,
                seconds(at),
                seconds(ends)
            );
            self.found(Wrong::Ended, client, None, message);
            return None;
        }
        self.allocations.get(&client)
    }

    fn not_permitted(&mut self, client: Client, peer: Option<IpAddr>, whom: &str, at: Duration, cx: &OracleCx<'_>) {
        let message = format!("{} relayed data at {} between {} and {whom}", cx.name(client.0), seconds(at), client.2);
        self.found(Wrong::NotPermitted, client, peer, message);
    }

    /// Keeps the first finding of each kind about a client and a peer.
    fn found(&mut self, wrong: Wrong, client: Client, peer: Option<IpAddr>, message: String) {
        let finding = Finding { wrong, server: client.0, message };
        self.findings.entry((wrong, client, peer)).or_insert(finding);
    }
}

//! A TURN client with its allocation (RFC 8656).

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};

use super::auth::{Auth, Challenge};
use super::client::{Answer, Received, UdpClient};
use super::cx::StunCx;
use super::names::{attr, method};
use super::net::DynDatagram;
use super::target::Credential;
use super::wire::{Class, Draft, Message, TransactionId, channel_data, read_channel_data};
use crate::stop::Stop;

/// The protocol number of UDP, as the value of REQUESTED-TRANSPORT.
pub(crate) const UDP: [u8; 4] = [17, 0, 0, 0];
/// The address families in REQUESTED-ADDRESS-FAMILY.
pub(crate) const IPV4: u8 = 1;
pub(crate) const IPV6: u8 = 2;
/// How often a client asks for an allocation, each time on another port.
const ATTEMPTS: usize = 3;
/// The default lifetime of an allocation in seconds, RFC 8656 §6.
pub(crate) const DEFAULT_LIFETIME: u32 = 600;

/// Adds what a request is about.
pub(crate) type Extend<'a> = &'a (dyn Fn(Draft) -> Draft + Send + Sync);

/// A client with a relayed transport address. On drop, it asks the server to delete the allocation.
pub(crate) struct Allocation {
    client: UdpClient,
    pub(crate) auth: Auth,
    pub(crate) relayed: SocketAddr,
    /// The lifetime that the server granted, in seconds.
    pub(crate) lifetime: u32,
    /// The server's answer to the Allocate request.
    pub(crate) granted: Answer,
    /// The Allocate request that was granted.
    pub(crate) request: Draft,
    /// A Refresh that deletes the allocation, with its transaction id already chosen, and another one in case that the
    /// nonce of the first is refused.
    last_words: [Draft; 2],
}

impl Deref for Allocation {
    type Target = UdpClient;

    fn deref(&self) -> &UdpClient {
        &self.client
    }
}

impl DerefMut for Allocation {
    fn deref_mut(&mut self) -> &mut UdpClient {
        &mut self.client
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // An allocation left behind counts against the user's quota for ten minutes.
        let [first, second] = self.last_words.clone();
        let farewell = self.auth.seal(first);
        let _ = self.client.socket.send_now(&farewell.bytes, self.client.server);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (mut auth, farewell, socket) = (self.auth.clone(), farewell.id(), Arc::clone(&self.client.socket));
            let (server, patience) = (self.client.server, self.client.patience());
            runtime.spawn(async move {
                if let Ok(Some(nonce)) = timeout(patience, refused_nonce(&*socket, farewell)).await {
                    auth.challenge.nonce = nonce;
                    let _ = socket.send_now(&auth.seal(second).bytes, server);
                }
            });
        }
    }
}

/// Waits for the answer to a request. Returns the nonce of a 438.
async fn refused_nonce(socket: &dyn DynDatagram, id: TransactionId) -> Option<Vec<u8>> {
    let mut buffer = [0; 2048];
    loop {
        let (length, _) = socket.receive_boxed(&mut buffer).await.ok()?;
        let Ok(message) = Message::parse(&buffer[..length]) else { continue };
        if message.id == id {
            let is_refused = matches!(message.error(), Ok(Some((438, _))));
            return message.get(attr::NONCE).filter(|_| is_refused).map(<[u8]>::to_vec);
        }
    }
}

impl StunCx {
    /// The user that cases authenticate as.
    pub(crate) fn credential(&self) -> Result<&Credential, Stop> {
        self.env
            .credentials
            .first()
            .ok_or_else(|| Stop::Setup("no user is given: use --user and --credential".to_owned()))
    }

    pub(crate) fn send_indication(&self, peer: SocketAddr, data: &[u8]) -> Draft {
        self.indication(method::SEND).with_xor_address(attr::XOR_PEER_ADDRESS, peer).with(attr::DATA, data)
    }

    pub(crate) fn allocate_request(&self) -> Draft {
        self.of_family(self.request(method::ALLOCATE).with(attr::REQUESTED_TRANSPORT, UDP))
    }

    /// Adds to an Allocate the family without which this server allocates nothing. A request with a RESERVATION-TOKEN
    /// must not have one.
    pub(crate) fn of_family(&self, draft: Draft) -> Draft {
        match self.env.family {
            Some(family) if !draft.has(attr::REQUESTED_ADDRESS_FAMILY) && !draft.has(attr::RESERVATION_TOKEN) => {
                draft.with(attr::REQUESTED_ADDRESS_FAMILY, [family, 0, 0, 0])
            }
            _ => draft,
        }
    }

    /// Sends a request that is answered with 401. Cases do this one after another: a server may limit how many of these
    /// answers it sends to one address.
    pub(crate) async fn unauthenticated(&self, client: &mut UdpClient, request: &Draft) -> Result<Answer, Stop> {
        let _turn = self.env.unauthenticated.lock().await;
        client.send_request(request).await
    }

    /// Sends an Allocate without credentials, and takes realm and nonce from the answer.
    pub(crate) async fn challenge(&self, client: &mut UdpClient, credential: &Credential) -> Result<Auth, Stop> {
        let answer = self.unauthenticated(client, &self.allocate_request()).await?;
        let answer = answer.error(401, "an Allocate without credentials")?;
        Ok(Auth::new(credential, Challenge::of(&answer)?))
    }

    /// Credentials for a client of a case that is not about challenges.
    pub(crate) async fn auth(&self, client: &mut UdpClient) -> Result<Auth, Stop> {
        let credential = self.credential()?;
        match &self.env.challenge {
            Some(challenge) => Ok(Auth::borrowing(credential, challenge.clone())),
            None => self.challenge(client, credential).await,
        }
    }

    /// A client with an allocation. If the server refuses it, the case is not tested.
    pub(crate) async fn allocation(&self, name: &str) -> Result<Allocation, Stop> {
        self.allocation_with(name, |request| request).await.map_err(Stop::into_setup)
    }

    pub(crate) async fn allocation_with(
        &self,
        name: &str,
        extend: impl Fn(Draft) -> Draft,
    ) -> Result<Allocation, Stop> {
        self.allocation_changed(name, extend, |sealed| sealed).await
    }

    /// Like [`allocation_with`](Self::allocation_with), with a change to the request after its MESSAGE-INTEGRITY was
    /// computed.
    pub(crate) async fn allocation_changed(
        &self,
        name: &str,
        extend: impl Fn(Draft) -> Draft,
        change: impl Fn(Draft) -> Draft,
    ) -> Result<Allocation, Stop> {
        self.allocation_or_refusal(name, extend, change).await?.map_err(|answer| answer.refused())
    }

    /// The allocation, or the server's refusal.
    pub(crate) async fn allocation_or_refusal(
        &self,
        name: &str,
        extend: impl Fn(Draft) -> Draft,
        change: impl Fn(Draft) -> Draft,
    ) -> Result<Result<Allocation, Answer>, Stop> {
        let mut tries = 0;
        loop {
            let mut client = self.client(name).await?;
            let auth = self.auth(&mut client).await?;
            tries += 1;
            match self.try_allocate(client, auth, &extend, &change).await? {
                // The port may still have the allocation of an earlier client, whose deletion was lost: RFC 8656 §7.4
                // recommends three attempts.
                Err(answer) if answer.code()? == Some(437) && tries < ATTEMPTS => {}
                other => return Ok(other),
            }
        }
    }

    /// Requests an allocation on this client's port.
    pub(crate) async fn allocate(&self, client: UdpClient, auth: Auth) -> Result<Allocation, Stop> {
        self.try_allocate(client, auth, &|draft| draft, &|sealed| sealed).await?.map_err(|answer| answer.refused())
    }

    /// The allocation or the refusal. If other clients of this run have used up the quota, it waits for them.
    pub(crate) async fn try_allocate(
        &self,
        mut client: UdpClient,
        mut auth: Auth,
        extend: &impl Fn(Draft) -> Draft,
        change: &impl Fn(Draft) -> Draft,
    ) -> Result<Result<Allocation, Answer>, Stop> {
        let start = Instant::now();
        loop {
            let draft = || self.of_family(extend(self.request(method::ALLOCATE).with(attr::REQUESTED_TRANSPORT, UDP)));
            let (request, answer) = auth.send_changed(&mut client, draft, change).await?;
            match answer.code()? {
                None => return self.granted(client, auth, request, answer).map(Ok),
                Some(486 | 508) if start.elapsed() < self.env.patience => sleep(self.env.rto).await,
                Some(_) => return Ok(Err(answer)),
            }
        }
    }

    pub(crate) fn granted(
        &self,
        client: UdpClient,
        auth: Auth,
        request: Draft,
        granted: Answer,
    ) -> Result<Allocation, Stop> {
        let granted = granted.success("an Allocate with credentials")?;
        let relayed = granted.xor_address(attr::XOR_RELAYED_ADDRESS)?;
        let lifetime = granted.message.number(attr::LIFETIME);
        let lifetime = lifetime.ok_or_else(|| granted.stop("the allocation has no LIFETIME of 4 bytes"))?;
        let last_words = [(), ()].map(|()| self.request(method::REFRESH).with(attr::LIFETIME, [0; 4]));
        Ok(Allocation { client, auth, relayed, lifetime, granted, request, last_words })
    }
}

impl Allocation {
    /// A client on another port that acts as if it had this allocation.
    pub(crate) async fn as_if_allocated(&self, cx: &StunCx, name: &str) -> Result<Self, Stop> {
        let mut client = cx.client(name).await?;
        let auth = cx.auth(&mut client).await?;
        cx.granted(client, auth, self.request.clone(), self.granted.clone())
    }

    /// Sends a request with credentials.
    pub(crate) async fn request(
        &mut self,
        cx: &StunCx,
        method: u16,
        extend: impl Fn(Draft) -> Draft,
    ) -> Result<Answer, Stop> {
        self.request_changed(cx, method, extend, |sealed| sealed).await
    }

    /// Like [`request`](Self::request), with a change to the request after its MESSAGE-INTEGRITY was computed.
    pub(crate) async fn request_changed(
        &mut self,
        cx: &StunCx,
        method: u16,
        extend: impl Fn(Draft) -> Draft,
        change: impl Fn(Draft) -> Draft,
    ) -> Result<Answer, Stop> {
        let draft = || extend(cx.request(method));
        self.auth.send_changed(&mut self.client, draft, change).await.map(|(_, answer)| answer)
    }

    /// Sends another Allocate from the same port.
    pub(crate) async fn allocate_again(&mut self, cx: &StunCx) -> Result<Answer, Stop> {
        self.request(cx, method::ALLOCATE, |draft| cx.of_family(draft.with(attr::REQUESTED_TRANSPORT, UDP))).await
    }

    pub(crate) async fn refresh(&mut self, cx: &StunCx, lifetime: Option<u32>) -> Result<Answer, Stop> {
        let with = |draft: Draft| match lifetime {
            Some(lifetime) => draft.with(attr::LIFETIME, lifetime.to_be_bytes()),
            None => draft,
        };
        self.request(cx, method::REFRESH, with).await
    }

    pub(crate) async fn create_permission(&mut self, cx: &StunCx, peers: &[SocketAddr]) -> Result<Answer, Stop> {
        let with = |draft| {
            peers.iter().fold(draft, |draft: Draft, peer| draft.with_xor_address(attr::XOR_PEER_ADDRESS, *peer))
        };
        self.request(cx, method::CREATE_PERMISSION, with).await
    }

    /// Installs a permission that later steps need.
    pub(crate) async fn permit(&mut self, cx: &StunCx, peer: &UdpClient) -> Result<(), Stop> {
        let answer = self.create_permission(cx, &[peer.local]).await?;
        answer.success("CreatePermission").map(drop)
    }

    pub(crate) async fn bind(&mut self, cx: &StunCx, channel: u16, peer: SocketAddr) -> Result<Answer, Stop> {
        let number = [&channel.to_be_bytes()[..], &[0, 0]].concat();
        let with =
            |draft: Draft| draft.with(attr::CHANNEL_NUMBER, &number).with_xor_address(attr::XOR_PEER_ADDRESS, peer);
        self.request(cx, method::CHANNEL_BIND, with).await
    }

    /// Sends a Send indication.
    pub(crate) fn send_data(&self, cx: &StunCx, peer: SocketAddr, data: &[u8]) {
        self.client.send(&cx.send_indication(peer, data).bytes);
    }

    pub(crate) fn send_on_channel(&self, channel: u16, data: &[u8]) {
        self.client.send(&channel_data(channel, data));
    }

    /// Waits for a peer's data in a Data indication; returns it with the peer address in it.
    pub(crate) async fn receive_data(&mut self, data: &[u8]) -> Result<(Received, SocketAddr), Stop> {
        let what = format!("the data {:?} from its peer", String::from_utf8_lossy(data));
        let received = self.client.receive(&what, |received| carries(received, data)).await?;
        let message = received.message().expect("it was read to find the data");
        match message.xor_address(attr::XOR_PEER_ADDRESS) {
            Ok(Some(peer)) => Ok((received, peer)),
            _ => Err(Stop::at("the Data indication has no XOR-PEER-ADDRESS", received.line)),
        }
    }

    /// The message that carried this data of a peer, in any form, if it has arrived.
    pub(crate) fn received_data(&self, data: &[u8]) -> Option<&Received> {
        self.client.received.iter().find(|received| {
            carries(received, data) || read_channel_data(&received.bytes).is_some_and(|(_, found)| found == data)
        })
    }
}

/// Whether it is a Data indication with this data.
fn carries(received: &Received, data: &[u8]) -> bool {
    received.message().is_ok_and(|message| {
        (message.class, message.method) == (Class::Indication, method::DATA) && message.get(attr::DATA) == Some(data)
    })
}

impl UdpClient {
    /// Waits for a relayed datagram with exactly this data.
    pub(crate) async fn receive_relayed(&mut self, data: &[u8]) -> Result<Received, Stop> {
        let what = format!("the relayed data {:?}", String::from_utf8_lossy(data));
        self.receive(&what, |received| received.bytes == data).await
    }

    /// Like [`receive_relayed`](Self::receive_relayed), and checks that it comes from this relayed address.
    pub(crate) async fn receive_relayed_from(&mut self, data: &[u8], relayed: SocketAddr) -> Result<(), Stop> {
        let received = self.receive_relayed(data).await?;
        if received.from == relayed {
            return Ok(());
        }
        let why = format!("the peer received the data from {}, expected the relayed address {relayed}", received.from);
        Err(Stop::at(why, received.line))
    }
}

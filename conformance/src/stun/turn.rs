//! A TURN client with its allocation (RFC 8656).

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use tokio::time::{Instant, sleep};

use super::auth::Auth;
use super::client::{Answer, Received, UdpClient};
use super::cx::StunCx;
use super::names::{attr, method};
use super::target::Credential;
use super::wire::{Class, Draft, channel_data, read_channel_data};
use crate::stop::Stop;

/// The protocol number of UDP, as the value of REQUESTED-TRANSPORT.
pub(crate) const UDP: [u8; 4] = [17, 0, 0, 0];
/// The default lifetime of an allocation in seconds, RFC 8656 §6.
pub(crate) const DEFAULT_LIFETIME: u32 = 600;

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
    /// A Refresh that deletes the allocation, with its transaction id already chosen.
    last_word: Draft,
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
        let farewell = self.auth.seal(self.last_word.clone());
        let _ = self.client.socket.send_now(&farewell.bytes, self.client.server);
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

    pub(crate) fn allocate_request(&self) -> Draft {
        self.request(method::ALLOCATE).with(attr::REQUESTED_TRANSPORT, UDP)
    }

    /// Sends an Allocate without credentials, and takes realm and nonce from the answer.
    pub(crate) async fn challenge(&self, client: &mut UdpClient, credential: &Credential) -> Result<Auth, Stop> {
        let answer = client.send_request(&self.allocate_request()).await?;
        Auth::challenged(credential, &answer.error(401, "an Allocate without credentials")?)
    }

    /// Like [`challenge`](Self::challenge), with a Refresh instead: for a client that already has an allocation.
    pub(crate) async fn challenge_of(&self, client: &mut UdpClient, credential: &Credential) -> Result<Auth, Stop> {
        let answer = client.send_request(&self.request(method::REFRESH)).await?;
        Auth::challenged(credential, &answer.error(401, "a Refresh without credentials")?)
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
        // The port may still have the allocation of an earlier client, whose deletion was lost: RFC 8656 §7.4
        // recommends three attempts.
        for _ in 0..2 {
            let mut client = self.client(name).await?;
            let auth = self.challenge(&mut client, self.credential()?).await?;
            match self.try_allocate(client, auth, &extend).await? {
                Err(answer) if answer.code()? == Some(437) => {}
                other => return other.map_err(|answer| answer.refused()),
            }
        }
        let mut client = self.client(name).await?;
        let auth = self.challenge(&mut client, self.credential()?).await?;
        self.allocate(client, auth, extend).await
    }

    /// Requests an allocation on this client's port.
    pub(crate) async fn allocate(
        &self,
        client: UdpClient,
        auth: Auth,
        extend: impl Fn(Draft) -> Draft,
    ) -> Result<Allocation, Stop> {
        self.try_allocate(client, auth, &extend).await?.map_err(|answer| answer.refused())
    }

    /// The allocation or the refusal. If other clients of this run have used up the quota, it waits for them.
    async fn try_allocate(
        &self,
        mut client: UdpClient,
        mut auth: Auth,
        extend: &impl Fn(Draft) -> Draft,
    ) -> Result<Result<Allocation, Answer>, Stop> {
        let start = Instant::now();
        loop {
            let request = auth.seal(extend(self.allocate_request()));
            let answer = client.send_request(&request).await?;
            match answer.code()? {
                None => return self.granted(client, auth, request, answer).map(Ok),
                Some(438) if start.elapsed() < self.env.patience => auth = auth.renewed(&answer)?,
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
        let last_word = self.request(method::REFRESH).with(attr::LIFETIME, [0; 4]);
        Ok(Allocation { client, auth, relayed, lifetime, granted, request, last_word })
    }
}

impl Allocation {
    /// A client on another port that acts as if it had this allocation.
    pub(crate) async fn as_if_allocated(&self, cx: &StunCx, name: &str) -> Result<Self, Stop> {
        let mut client = cx.client(name).await?;
        let auth = cx.challenge(&mut client, cx.credential()?).await?;
        cx.granted(client, auth, self.request.clone(), self.granted.clone())
    }

    /// Sends a request with credentials, and repeats it once if the nonce is stale.
    pub(crate) async fn request(
        &mut self,
        cx: &StunCx,
        method: u16,
        extend: impl Fn(Draft) -> Draft,
    ) -> Result<Answer, Stop> {
        let request = self.auth.seal(extend(cx.request(method)));
        let answer = self.client.send_request(&request).await?;
        if answer.code()? != Some(438) {
            return Ok(answer);
        }
        self.auth = self.auth.clone().renewed(&answer)?;
        let request = self.auth.seal(extend(cx.request(method)));
        self.client.send_request(&request).await
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
        let draft = cx.indication(method::SEND).with_xor_address(attr::XOR_PEER_ADDRESS, peer).with(attr::DATA, data);
        self.client.send(&draft.bytes);
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

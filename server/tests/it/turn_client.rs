//! A TURN client that does what a test says, right or wrong, over any network.

use std::collections::VecDeque;
use std::net::SocketAddr;

use server::net::{Network, Tokio, Udp};
use tokio::time::{Duration, timeout};

use crate::client::PATIENCE;
use crate::wire::{Response, key, message_with_id, with_integrity, xor_address};

pub(crate) const ALLOCATE: u16 = 0x003;
pub(crate) const REFRESH: u16 = 0x004;
pub(crate) const CREATE_PERMISSION: u16 = 0x008;
pub(crate) const CHANNEL_BIND: u16 = 0x009;
pub(crate) const UDP: (u16, &[u8]) = (0x0019, &[17, 0, 0, 0]);

pub(crate) struct TurnClient<U: Udp = <Tokio as Network>::Udp> {
    pub(crate) socket: U,
    pub(crate) server: SocketAddr,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) nonce: String,
    /// What came that nobody has asked for yet.
    inbox: VecDeque<Vec<u8>>,
    sent: u64,
}

impl TurnClient {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let ip = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self::on(Tokio.bind_udp(ip.parse().expect("an address")).await.expect("port 0 is free"), server)
    }

    /// With an allocation made.
    pub(crate) async fn allocated(server: SocketAddr) -> (Self, SocketAddr) {
        let mut client = Self::new(server).await;
        let relayed = client.allocate().await;
        (client, relayed)
    }
}

impl<U: Udp> TurnClient<U> {
    pub(crate) fn on(socket: U, server: SocketAddr) -> Self {
        let (user, password) = ("u".to_owned(), "p".to_owned());
        Self {
            socket,
            server,
            user,
            password,
            realm: String::new(),
            nonce: String::new(),
            inbox: VecDeque::new(),
            sent: 0,
        }
    }

    pub(crate) fn next_id(&mut self) -> [u8; 12] {
        self.sent += 1;
        let mut id = [7; 12];
        id[4..].copy_from_slice(&self.sent.to_be_bytes());
        id
    }

    /// Makes an allocation and returns the relayed transport address.
    pub(crate) async fn allocate(&mut self) -> SocketAddr {
        let response = self.request(ALLOCATE, &[UDP]).await;
        assert_eq!(response.code(), 0, "{response:?}");
        response.address(0x0016)
    }

    /// Sends a signed request, after having fetched a realm and a nonce if there is none. The answer must be signed unless
    /// it is about the credential.
    pub(crate) async fn request(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Response {
        if self.nonce.is_empty() {
            let id = self.next_id();
            let response = self.ask(&message_with_id(ALLOCATE, id, &[UDP])).await;
            assert_eq!(response.code(), 401, "{response:?}");
            (self.realm, self.nonce) = (response.text(0x0014), response.text(0x0015));
        }
        let id = self.next_id();
        let request = self.signed(method, id, attributes);
        let response = self.ask(&request).await;
        let key = key(&self.user, &self.realm, &self.password);
        let is_about_credential = matches!(response.code(), 401 | 438);
        assert_eq!(response.is_signed_with(&key), !is_about_credential, "{response:?}");
        response
    }

    pub(crate) fn signed(&self, method: u16, id: [u8; 12], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut attributes = attributes.to_vec();
        attributes.push((0x0006, self.user.as_bytes()));
        attributes.push((0x0014, self.realm.as_bytes()));
        attributes.push((0x0015, self.nonce.as_bytes()));
        with_integrity(message_with_id(method, id, &attributes), &key(&self.user, &self.realm, &self.password))
    }

    /// A request with an XOR-PEER-ADDRESS, which needs the id beforehand.
    pub(crate) async fn with_peer(&mut self, method: u16, peer: SocketAddr, more: &[(u16, &[u8])]) -> u16 {
        let id = {
            let mut id = [7; 12];
            id[4..].copy_from_slice(&(self.sent + 1 + u64::from(self.nonce.is_empty())).to_be_bytes());
            id
        };
        let peer = xor_address(peer, id);
        let mut attributes = more.to_vec();
        attributes.push((0x0012, &peer));
        self.request(method, &attributes).await.code()
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) -> u16 {
        self.with_peer(CREATE_PERMISSION, peer, &[]).await
    }

    pub(crate) async fn bind(&mut self, channel: u16, peer: SocketAddr) -> u16 {
        let number = [&channel.to_be_bytes()[..], &[0, 0]].concat();
        self.with_peer(CHANNEL_BIND, peer, &[(0x000c, &number)]).await
    }

    pub(crate) async fn refresh(&mut self, seconds: u32) -> Response {
        self.request(REFRESH, &[(0x000d, &seconds.to_be_bytes())]).await
    }

    /// Sends a Send indication.
    pub(crate) async fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let id = self.next_id();
        self.raw(&message_with_id(0x0016, id, &[(0x0012, &xor_address(peer, id)), (0x0013, data)])).await;
    }

    pub(crate) async fn send_on(&mut self, channel: u16, data: &[u8]) {
        self.raw(&channel_data(channel, data)).await;
    }

    pub(crate) async fn raw(&mut self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.server).await.expect("the network takes it");
    }

    /// The next datagram, which must come from the address to which requests are sent.
    async fn receive(&self) -> Vec<u8> {
        let (datagram, from) = receive(&self.socket).await.expect("something comes");
        assert_eq!(from, self.server);
        datagram
    }

    /// Sends a request and waits for the answer with its id.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Response {
        self.raw(request).await;
        loop {
            let datagram = self.receive().await;
            if datagram.len() >= 20 && datagram[0] < 4 && datagram[8..20] == request[8..20] {
                return Response::read(&datagram);
            }
            self.inbox.push_back(datagram);
        }
    }

    /// Waits until all that was sent has been worked off, and forgets the answers.
    pub(crate) async fn drain(&mut self) {
        let id = self.next_id();
        self.ask(&message_with_id(0x0001, id, &[])).await;
        self.inbox.clear();
    }

    /// The next datagram that is no answer.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        match self.inbox.pop_front() {
            Some(datagram) => datagram,
            None => self.receive().await,
        }
    }

    /// Nothing has come, and nothing comes before the answer to a request that is sent afterwards.
    pub(crate) async fn hears_nothing(&mut self) {
        let id = self.next_id();
        self.ask(&message_with_id(0x0001, id, &[])).await;
        assert_eq!(self.inbox, [] as [Vec<u8>; 0]);
    }
}

pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    [&channel.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

/// The next datagram and its source, `None` after a long silence.
pub(crate) async fn receive<U: Udp>(socket: &U) -> Option<(Vec<u8>, SocketAddr)> {
    let mut datagram = vec![0; 65_536];
    let (length, from) = timeout(PATIENCE, socket.recv_from(&mut datagram)).await.ok()?.expect("it is open");
    datagram.truncate(length);
    Some((datagram, from))
}

/// Whether a socket stays silent for a while.
pub(crate) async fn is_silent<U: Udp>(socket: &U, time: Duration) -> bool {
    timeout(time, socket.recv_from(&mut [0; 2048])).await.is_err()
}

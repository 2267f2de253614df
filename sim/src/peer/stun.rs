//! A STUN Binding client: what address does the world see? RFC 8489.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use stun_rs::attributes::stun::XorMappedAddress;
use stun_rs::methods::BINDING;
use stun_rs::{
    MessageClass, MessageDecoder, MessageDecoderBuilder, MessageEncoder, MessageEncoderBuilder, StunMessageBuilder,
    TransactionId,
};

/// First retransmission timeout. RFC 8489 §6.2.1: at least 500 ms, doubled after each.
const RTO: Duration = Duration::from_millis(500);
/// Requests of a transaction at most, `Rc` of RFC 8489 §6.2.1.
const REQUESTS_MAX: u32 = 7;
/// How long an answer counts as true.
const FRESH: Duration = Duration::from_secs(5);

/// Asks one server, and asks again while there is no answer.
#[derive(Debug)]
pub(crate) struct BindingClient {
    pub(crate) server: SocketAddr,
    transaction: Option<Transaction>,
    answer: Option<(SocketAddrV4, Instant)>,
    encoder: MessageEncoder,
    decoder: MessageDecoder,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Transaction {
    id: [u8; 12],
    request: Vec<u8>,
    sent: u32,
    next: Option<Instant>,
}

impl BindingClient {
    /// `seed` decides the transaction ids.
    pub(crate) fn new(server: SocketAddr, seed: u64) -> Self {
        let (encoder, decoder) = (MessageEncoderBuilder::default().build(), MessageDecoderBuilder::default().build());
        Self { server, transaction: None, answer: None, encoder, decoder, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The mapped address, if it is known and fresh; else asks for it, and it will come from [`on_datagram`](Self::on_datagram).
    pub(crate) fn mapped(&mut self, now: Instant) -> Option<SocketAddrV4> {
        match self.answer {
            Some((address, at)) if now < at + FRESH => Some(address),
            _ => {
                if self.transaction.is_none() {
                    self.start(now);
                }
                None
            }
        }
    }

    fn start(&mut self, now: Instant) {
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        let message =
            StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(TransactionId::from(id));
        let mut request = vec![0; 64];
        let length = self.encoder.encode(&mut request, &message.build()).expect("a bare request fits");
        request.truncate(length);
        self.transaction = Some(Transaction { id, request, sent: 0, next: Some(now) });
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.transaction.as_ref().and_then(|transaction| transaction.next)
    }

    /// The request to send now, if one is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<&[u8]> {
        if self.transaction.as_ref().is_some_and(|t| t.sent == REQUESTS_MAX && t.next.is_some_and(|next| next <= now)) {
            self.transaction = None;
        }
        let transaction = self.transaction.as_mut().filter(|t| t.next.is_some_and(|next| next <= now))?;
        transaction.next = Some(now + RTO * 2u32.pow(transaction.sent));
        transaction.sent += 1;
        Some(&transaction.request)
    }

    /// Takes a datagram from the server; the mapped address if it answers the open request.
    pub(crate) fn on_datagram(&mut self, datagram: &[u8], now: Instant) -> Option<SocketAddrV4> {
        let (message, _) = self.decoder.decode(datagram).ok()?;
        let open = self.transaction.as_ref()?;
        if message.class() != MessageClass::SuccessResponse || message.transaction_id().as_bytes() != &open.id {
            return None;
        }
        let mapped = message.get::<XorMappedAddress>()?.as_xor_mapped_address().ok()?;
        let SocketAddr::V4(mapped) = *mapped.socket_address() else { return None };
        self.transaction = None;
        self.answer = Some((mapped, now));
        Some(mapped)
    }
}

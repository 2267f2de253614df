//! A STUN Binding client, which learns the mapped address of a socket from a server. RFC 8489.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use stun_rs::attributes::stun::XorMappedAddress;
use stun_rs::methods::BINDING;
use stun_rs::{
    MessageClass, MessageDecoder, MessageDecoderBuilder, MessageEncoder, MessageEncoderBuilder, StunMessageBuilder,
    TransactionId,
};

/// First retransmission timeout. RFC 8489 §6.2.1: at least 500 ms, doubled after each retransmission.
const RTO: Duration = Duration::from_millis(500);
/// Maximum number of requests in a transaction: `Rc` of RFC 8489 §6.2.1.
const REQUESTS_MAX: u32 = 7;

/// Asks one server, one transaction at a time.
#[derive(Debug)]
pub(crate) struct BindingClient {
    transaction: Option<Transaction>,
    encoder: MessageEncoder,
    decoder: MessageDecoder,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Transaction {
    id: [u8; 12],
    request: Vec<u8>,
    sent: u32,
    /// When to send again, or to end the transaction.
    next: Instant,
}

impl BindingClient {
    /// A client without an open transaction. `seed` determines the transaction ids.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            transaction: None,
            encoder: MessageEncoderBuilder::default().build(),
            decoder: MessageDecoderBuilder::default().build(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Starts a transaction unless one is open. [`on_datagram`](Self::on_datagram) will return the mapped address.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.transaction.is_some() {
            return;
        }
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        let message =
            StunMessageBuilder::new(BINDING, MessageClass::Request).with_transaction_id(TransactionId::from(id));
        let mut request = vec![0; 64];
        let length = self.encoder.encode(&mut request, &message.build()).expect("a bare request fits");
        request.truncate(length);
        self.transaction = Some(Transaction { id, request, sent: 0, next: now });
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.transaction.as_ref().map(|transaction| transaction.next)
    }

    /// The request to send now, if one is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<&[u8]> {
        let is_due = |transaction: &&mut Transaction| transaction.next <= now;
        if self.transaction.as_mut().filter(is_due)?.sent == REQUESTS_MAX {
            self.transaction = None;
        }
        let transaction = self.transaction.as_mut()?;
        transaction.next = now + RTO * 2u32.pow(transaction.sent);
        transaction.sent += 1;
        Some(&transaction.request)
    }

    /// Handles a datagram from the server. Returns the mapped address if it answers the open request.
    pub(crate) fn on_datagram(&mut self, datagram: &[u8]) -> Option<SocketAddr> {
        let (message, _) = self.decoder.decode(datagram).ok()?;
        let open = self.transaction.as_ref()?;
        if message.class() != MessageClass::SuccessResponse || message.transaction_id().as_bytes() != &open.id {
            return None;
        }
        let mapped = message.get::<XorMappedAddress>()?.as_xor_mapped_address().ok()?;
        self.transaction = None;
        Some(*mapped.socket_address())
    }
}

//! The client against a server of a few lines, by the RFC's timers.

use std::time::Duration;

use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{LifeTime, XorPeerAddress, XorRelayedAddress};
use stun_rs::methods::{ALLOCATE, CHANNEL_BIND, CREATE_PERMMISSION, REFRESH};
use stun_rs::{
    Algorithm, AlgorithmId, DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder, MessageEncoderBuilder,
    MessageMethod, StunMessage, StunMessageBuilder,
};

use super::*;

const RELAYED: &str = "203.0.113.1:49152";
const PEER: &str = "198.51.100.7:4000";
const CHECK: &[u8] = &[0, 1, 0, 0];
const DATA: &[u8] = &[20, 254, 253];
const REALM: &str = "example.org";

struct Bench {
    client: TurnClient,
    now: Instant,
    start: Instant,
    nonce: String,
    lifetime: u32,
}

impl Bench {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods)] // only differences count
        let now = Instant::now();
        let credential = Credential { username: "ana".to_owned(), password: "secret".to_owned() };
        Self { client: TurnClient::new(credential, false, 1), now, start: now, nonce: "n1".to_owned(), lifetime: 600 }
    }

    /// A client that has an allocation.
    fn allocated() -> Self {
        let mut bench = Self::new();
        bench.client.start(bench.now);
        bench.serve();
        assert_eq!(bench.client.relayed(), Some(address(RELAYED)));
        bench
    }

    /// Lets time pass, and returns all messages and changes.
    fn wait(&mut self, time: Duration) -> (Vec<BytesMut>, Vec<TurnChange>) {
        self.now += time;
        self.client.on_time(self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> (Vec<BytesMut>, Vec<TurnChange>) {
        let (mut sent, mut changes) = (Vec::new(), Vec::new());
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(bytes) => sent.push(bytes),
                Output::Change(change) => changes.push(change),
                Output::Confirmed { .. } => {}
            }
        }
        (sent, changes)
    }

    /// The one request that is due now.
    fn request(&mut self) -> StunMessage {
        let (sent, _) = self.wait(Duration::ZERO);
        let [request] = &sent[..] else { panic!("{} messages", sent.len()) };
        read(request)
    }

    /// Answers all requests as a server does that knows the credential. Returns the methods of the signed requests, and
    /// what else was sent.
    fn serve(&mut self) -> (Vec<MessageMethod>, Vec<BytesMut>, Vec<TurnChange>) {
        let (mut methods, mut data, mut all) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let (sent, changes) = self.wait(Duration::ZERO);
            all.extend(changes);
            if sent.is_empty() {
                return (methods, data, all);
            }
            for message in sent {
                if message[0] >= 0x40 || message[..2] == [0, 0x16] {
                    data.push(message);
                    continue;
                }
                let request = read(&message);
                if self.is_signed(&message) {
                    methods.push(request.method());
                    self.grant(&request);
                } else {
                    self.refuse(&request, 401);
                }
            }
        }
    }

    /// Whether a request is signed with the key, and has the current nonce.
    fn is_signed(&self, request: &[u8]) -> bool {
        let context = DecoderContextBuilder::default().with_key(key("secret")).with_validation().build();
        let Ok((message, _)) = MessageDecoderBuilder::default().with_context(context).build().decode(request) else {
            return false;
        };
        let nonce = message.get::<Nonce>().and_then(|nonce| nonce.as_nonce().ok());
        let has_all = message.get::<MessageIntegrity>().is_some() && message.get::<UserName>().is_some();
        has_all && nonce.is_some_and(|nonce| nonce.as_str() == self.nonce)
    }

    fn grant(&mut self, request: &StunMessage) {
        self.answer(request, |answer, lifetime| {
            let relayed = XorRelayedAddress::from(address(RELAYED));
            match request.method() {
                ALLOCATE => answer.with_attribute(relayed).with_attribute(LifeTime::from(lifetime)),
                REFRESH => answer.with_attribute(LifeTime::from(lifetime)),
                _ => answer,
            }
        });
    }

    fn answer(&mut self, request: &StunMessage, with: impl FnOnce(StunMessageBuilder, u32) -> StunMessageBuilder) {
        let answer = StunMessageBuilder::new(request.method(), MessageClass::SuccessResponse)
            .with_transaction_id(*request.transaction_id());
        let answer = with(answer, self.lifetime).with_attribute(MessageIntegrity::new(key("secret")));
        self.client.on_response(&written(answer), self.now);
    }

    fn refuse(&mut self, request: &StunMessage, code: u16) {
        let error = stun_rs::ErrorCode::new(code, "No").expect("a code");
        let mut answer = StunMessageBuilder::new(request.method(), MessageClass::ErrorResponse)
            .with_transaction_id(*request.transaction_id())
            .with_attribute(ErrorCode::new(error));
        if matches!(code, 401 | 438) {
            answer = answer
                .with_attribute(Realm::new(REALM).expect("a realm"))
                .with_attribute(Nonce::new(&self.nonce).expect("a nonce"));
        } else {
            answer = answer.with_attribute(MessageIntegrity::new(key("secret")));
        }
        self.client.on_response(&written(answer), self.now);
    }

    fn seconds(&self) -> u64 {
        (self.now - self.start).as_secs()
    }

    /// Goes from deadline to deadline until something is to be sent, and returns what the server is asked.
    fn next(&mut self) -> (u64, Vec<MessageMethod>) {
        loop {
            let deadline = self.client.deadline().expect("there is something to do");
            self.now = self.now.max(deadline);
            let (methods, ..) = self.serve();
            if !methods.is_empty() {
                return (self.seconds(), methods);
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.3.1
//# In other words, the first request is sent as if there were no authentication or message-integrity applied.
#[test]
fn the_first_request_has_no_credential_and_the_second_has_what_the_server_demands() {
    let mut bench = Bench::new();
    bench.client.start(bench.now);
    let first = bench.request();
    assert!(first.get::<UserName>().is_none() && first.get::<MessageIntegrity>().is_none());
    bench.refuse(&first, 401);
    let (sent, _) = bench.wait(Duration::ZERO);
    assert!(bench.is_signed(&sent[0]));
    let second = read(&sent[0]);
    assert_ne!(second.transaction_id(), first.transaction_id());
    bench.grant(&second);
    let (_, changes) = bench.outputs();
    let relayed = address(RELAYED).into();
    assert_eq!(changes, [TurnChange::Allocated { relayed }]);
}

#[test]
fn a_stale_nonce_is_replaced_but_not_for_ever() {
    let mut bench = Bench::new();
    bench.client.start(bench.now);
    for (number, code) in [401, 438, 438].into_iter().enumerate() {
        bench.nonce = format!("n{number}");
        let request = bench.request();
        bench.refuse(&request, code);
        assert_eq!(bench.client.relayed(), None);
    }
    let (sent, _) = bench.wait(Duration::ZERO);
    assert!(bench.is_signed(&sent[0]), "with the newest nonce");
    bench.refuse(&read(&sent[0]), 438);
    assert_eq!(bench.outputs().1, [TurnChange::Refused { code: 438, reason: "No".into() }]);
    assert_eq!(bench.client.deadline(), None);
}

#[test]
fn a_wrong_credential_is_refused_once_and_for_good() {
    let mut bench = Bench::new();
    bench.client.start(bench.now);
    let first = bench.request();
    bench.refuse(&first, 401);
    let second = bench.request();
    bench.refuse(&second, 401);
    assert_eq!(bench.outputs().1, [TurnChange::Refused { code: 401, reason: "No".into() }]);
    assert_eq!(bench.client.deadline(), None);
}

#[test]
fn a_response_that_is_not_signed_with_the_key_is_no_response() {
    let mut bench = Bench::new();
    bench.client.start(bench.now);
    let first = bench.request();
    bench.refuse(&first, 401);
    let request = bench.request();
    for forged in [None, Some("guessed")] {
        let mut answer = StunMessageBuilder::new(ALLOCATE, MessageClass::SuccessResponse)
            .with_transaction_id(*request.transaction_id())
            .with_attribute(XorRelayedAddress::from(address(RELAYED)))
            .with_attribute(LifeTime::from(600));
        if let Some(password) = forged {
            answer = answer.with_attribute(MessageIntegrity::new(key(password)));
        }
        bench.client.on_response(&written(answer), bench.now);
        assert_eq!(bench.client.relayed(), None);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-6.2.1
//# For example, assuming an RTO of 500ms, requests would be sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms,
//# 15500 ms, and 31500 ms.
#[test]
fn requests_are_sent_again_seven_in_all_and_then_it_says_so() {
    let mut bench = Bench::new();
    bench.client.start(bench.now);
    let (mut sent, mut changes) = (Vec::new(), Vec::new());
    while let Some(deadline) = bench.client.deadline() {
        let (messages, more) = bench.wait(deadline - bench.now);
        sent.extend(messages.iter().map(|_| (bench.now - bench.start).as_millis()));
        changes.extend(more);
    }
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert_eq!(changes, [TurnChange::Unanswered]);
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-7.4
//# it is suggested that the client refresh the allocation 1 minute before it expires.
#[test]
fn an_allocation_is_refreshed_a_minute_before_it_expires() {
    let mut bench = Bench::allocated();
    assert_eq!(bench.next(), (540, vec![REFRESH]));
    assert_eq!(bench.next(), (1080, vec![REFRESH]));
    let mut short = Bench::new();
    short.lifetime = 100;
    short.client.start(short.now);
    short.serve();
    assert_eq!(short.next(), (50, vec![REFRESH]), "not at once again");
}

#[test]
fn without_a_refresh_it_is_lost_when_it_expires() {
    let mut bench = Bench::allocated();
    let mut all = Vec::new();
    while let Some(deadline) = bench.client.deadline() {
        let (_, changes) = bench.wait(deadline.saturating_duration_since(bench.now));
        all.extend(changes.into_iter().map(|change| (bench.seconds(), change)));
    }
    assert_eq!(all, [(579, TurnChange::Unanswered), (600, TurnChange::Lost)]);
}

#[test]
fn an_allocation_is_asked_for_before_it_is_used_again_and_made_anew_if_it_is_gone() {
    let mut bench = Bench::allocated();
    bench.client.start(bench.now);
    assert!(bench.serve().0.is_empty(), "it was confirmed a moment ago");
    bench.wait(FRESH);
    bench.client.start(bench.now);
    assert_eq!(bench.serve().0, [REFRESH]);
    bench.wait(FRESH);
    bench.client.start(bench.now);
    let request = bench.request();
    bench.refuse(&request, 437);
    let (methods, _, changes) = bench.serve();
    assert_eq!(methods, [ALLOCATE]);
    assert!(matches!(changes[..], [TurnChange::Lost, TurnChange::Allocated { .. }]), "{changes:?}");
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-9
//# The Permission Lifetime MUST be 300 seconds (= 5 minutes).
#[test]
fn data_waits_for_the_permission_which_is_refreshed_as_long_as_it_is_used() {
    let mut bench = Bench::allocated();
    bench.client.send(address(PEER), CHECK, bench.now);
    bench.client.send(address(PEER), CHECK, bench.now);
    let request = bench.request();
    assert_eq!(request.method(), CREATE_PERMMISSION);
    let peer = request.get::<XorPeerAddress>().and_then(|peer| peer.as_xor_peer_address().ok()).expect("a peer");
    assert_eq!(peer.socket_address().ip(), address(PEER).ip());
    bench.grant(&request);
    let (methods, data, _) = bench.serve();
    assert!(methods.is_empty(), "checks need no channel");
    assert_eq!(data.len(), 2);
    assert!(data.iter().all(|message| message[..2] == [0, 0x16] && message.windows(4).any(|at| at == CHECK)));
    assert_eq!(bench.next(), (240, vec![CREATE_PERMMISSION]));
    assert_eq!(bench.next(), (540, vec![REFRESH]), "it was not used since, so its permission ends");
    bench.client.send(address(PEER), CHECK, bench.now);
    assert_eq!(bench.serve().0, [CREATE_PERMMISSION]);
}

#[test]
fn a_peer_that_the_server_forbids_is_not_asked_for_again() {
    let mut bench = Bench::allocated();
    bench.client.send(address(PEER), CHECK, bench.now);
    let request = bench.request();
    bench.refuse(&request, 403);
    bench.client.send(address(PEER), CHECK, bench.now);
    let (sent, changes) = bench.wait(Duration::ZERO);
    assert_eq!((sent.len(), changes.len()), (0, 0));
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-12
//# Channel bindings last for 10 minutes unless refreshed.
#[test]
fn more_than_checks_binds_a_channel_which_is_refreshed_as_long_as_it_is_used() {
    let mut bench = Bench::allocated();
    bench.client.send(address(PEER), DATA, bench.now);
    let (methods, data, _) = bench.serve();
    assert_eq!(methods, [CREATE_PERMMISSION, CHANNEL_BIND]);
    assert_eq!(data[0][..2], [0, 0x16], "until the channel is bound");
    bench.client.send(address(PEER), DATA, bench.now);
    assert_eq!(bench.serve().1[0][..], [&[0x40, 0, 0, 3], DATA].concat()[..]);
    assert_eq!(bench.client.data(&[0x40, 0, 0, 2, 7, 8, 0, 0]), Some((address(PEER), &[7, 8][..])));
    assert_eq!(bench.client.data(&[0x40, 1, 0, 2, 7, 8]), None, "another channel");
    assert_eq!(bench.client.data(&[0x40, 0, 0, 9, 7, 8]), None, "shorter than it says");
    let mut asked = Vec::new();
    while bench.seconds() < 600 {
        bench.client.send(address(PEER), DATA, bench.now);
        asked.push(bench.next());
    }
    let due = [(240, vec![CREATE_PERMMISSION]), (480, vec![CREATE_PERMMISSION])];
    assert_eq!(asked[..2], due);
    assert!(asked[2].0 == 540 && asked[2].1.contains(&CHANNEL_BIND) && asked[2].1.contains(&REFRESH), "{asked:?}");
}

#[test]
fn data_of_a_peer_without_a_channel_comes_in_an_indication() {
    let bench = Bench::allocated();
    let mut indication = wire::send_indication([1; 12], address(PEER), DATA);
    indication[1] = 0x17;
    assert!(TurnClient::carries_data(&indication));
    assert_eq!(bench.client.data(&indication), Some((address(PEER), DATA)));
    for length in 0..indication.len() {
        _ = bench.client.data(&indication[..length]);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-6.2.2
//# Reliability of STUN over TCP and TLS-over-TCP is handled by TCP itself
#[test]
fn over_tcp_a_request_is_sent_once_and_channel_data_is_padded() {
    let mut bench = Bench::new();
    bench.client.is_tcp = true;
    bench.client.start(bench.now);
    let (sent, _) = bench.wait(Duration::ZERO);
    assert_eq!(sent.len(), 1);
    let deadline = bench.client.deadline().expect("it waits");
    assert_eq!(deadline - bench.now, Duration::from_millis(39_500));
    let (sent, changes) = bench.wait(deadline - bench.now);
    assert_eq!((sent.len(), &changes[..]), (0, &[TurnChange::Unanswered][..]));
    bench.client.start(bench.now);
    bench.serve();
    bench.client.send(address(PEER), DATA, bench.now);
    bench.serve();
    bench.client.send(address(PEER), DATA, bench.now);
    let padded = [&[0x40, 0, 0, 3], DATA, &[0]].concat();
    assert_eq!(bench.serve().1[0][..], padded[..]);
    assert_eq!(message_length(&padded), Some(8));
    assert_eq!(message_length(&padded[..3]), None);
    bench.client.disconnected();
    assert_eq!(bench.outputs().1, [TurnChange::Lost]);
    assert_eq!(bench.client.deadline(), None);
}

#[test]
fn who_leaves_deletes_its_allocation() {
    let mut bench = Bench::allocated();
    bench.client.release(bench.now);
    let (sent, changes) = bench.outputs();
    let request = read(&sent[0]);
    let lifetime = request.get::<LifeTime>().and_then(|it| it.as_life_time().ok()).map(|it| it.as_u32());
    assert_eq!((request.method(), lifetime), (REFRESH, Some(0)));
    assert!(bench.is_signed(&sent[0]));
    assert_eq!(changes, [TurnChange::Released]);
    assert_eq!((bench.client.relayed(), bench.client.deadline()), (None, None));
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn key(password: &str) -> HMACKey {
    HMACKey::new_long_term("ana", REALM, password, Algorithm::from(AlgorithmId::MD5)).expect("a key")
}

fn read(message: &[u8]) -> StunMessage {
    MessageDecoderBuilder::default().build().decode(message).expect("a message").0
}

fn written(message: StunMessageBuilder) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let length = MessageEncoderBuilder::default().build().encode(&mut bytes, &message.build()).expect("it fits");
    bytes.truncate(length);
    bytes
}

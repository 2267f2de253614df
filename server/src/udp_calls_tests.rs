use std::net::SocketAddr;

use tokio::time::{Duration, timeout};

use super::*;
use crate::net::{Buffers, Udp};
use crate::tokio_udp::TokioUdp;

async fn bound(address: &str) -> TokioUdp {
    UdpSocket::bind(address).await.expect("port 0 is free").into()
}

/// Everything that `to` receives until `count` datagrams have come.
async fn received(to: &TokioUdp, count: usize) -> Vec<(Vec<u8>, SocketAddr, Option<IpAddr>)> {
    let (buffers, mut all) = (Buffers::default(), Vec::new());
    while all.len() < count {
        let batch =
            timeout(Duration::from_secs(10), to.receive(&buffers)).await.expect("it arrives").expect("loopback");
        all.extend(batch.received.datagrams().map(|one| (one.data.to_vec(), one.from, one.destination)));
    }
    all
}

fn all(lengths: &[usize], to: SocketAddr) -> (Outgoing, Vec<Vec<u8>>) {
    let mut outgoing = Outgoing::default();
    let data: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(at, length)| vec![at as u8; *length]).collect();
    data.iter().for_each(|data| outgoing.push(&[data], data.len(), None, to));
    (outgoing, data)
}

#[tokio::test]
async fn datagrams_of_all_lengths_arrive_in_order_and_whole() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (from, to) = (bound(address).await, bound(address).await);
        let mut lengths = vec![200; 70];
        lengths.extend([100, 0, 0, 200, 201, 200, 1400, 1400, 3000, 3000, 9000, 1]);
        lengths.extend([5; 40]);
        let (outgoing, expected) = all(&lengths, to.local_addr().expect("it is bound"));
        let sent = from.send_all(&outgoing);
        assert_eq!((sent.datagrams, sent.failed), (lengths.len(), 0), "{:?}", sent.error);
        assert_eq!(sent.payload, lengths.iter().sum::<usize>());
        let received = received(&to, lengths.len()).await;
        assert_eq!(received.iter().map(|(data, ..)| data.clone()).collect::<Vec<_>>(), expected);
        assert!(received.iter().all(|(_, source, _)| *source == from.local_addr().expect("it is bound")));
    }
}

#[tokio::test]
async fn datagrams_to_several_peers_reach_each_of_them() {
    let (from, one, two) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
    let addresses = [&one, &two].map(|socket| socket.local_addr().expect("it is bound"));
    let mut outgoing = Outgoing::default();
    for at in 0..50_u8 {
        outgoing.push(&[&[at], &[7; 20]], 1, None, addresses[usize::from(at) % 3 % 2]);
    }
    assert_eq!(from.send_all(&outgoing).datagrams, 50);
    for (socket, which) in [(one, 0), (two, 1)] {
        let expected: Vec<u8> = (0..50).filter(|at| at % 3 % 2 == which).collect();
        let received = received(&socket, expected.len()).await;
        assert_eq!(received.iter().map(|(data, ..)| data[0]).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn one_that_cannot_be_sent_keeps_no_other_back() {
    let (from, to) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
    let address = to.local_addr().expect("it is bound");
    let mut outgoing = Outgoing::default();
    outgoing.push(&[b"first"], 5, None, address);
    // IPv4 has no room for so many bytes, a socket of IPv4 no way to IPv6, and port 0 is nobody's.
    outgoing.push(&[&vec![0; 65_530]], 65_530, None, address);
    outgoing.push(&[b"lost"], 4, None, "[::1]:9".parse().expect("an address"));
    outgoing.push(&[b"same", b" length"], 11, None, ([127, 0, 0, 1], 0).into());
    outgoing.push(&[b"same length"], 11, None, ([127, 0, 0, 1], 0).into());
    outgoing.push(&[b"last"], 4, None, address);
    let sent = from.send_all(&outgoing);
    assert_eq!((sent.datagrams, sent.payload, sent.failed, sent.error.is_some()), (2, 9, 4, true));
    let received = received(&to, 2).await;
    assert_eq!(received.iter().map(|(data, ..)| &data[..]).collect::<Vec<_>>(), [&b"first"[..], b"last"]);
}

#[tokio::test]
async fn a_burst_is_answered_from_the_address_that_was_asked() {
    let (server, client) = (bound("0.0.0.0:0").await, bound("127.0.0.1:0").await);
    let port = server.local_addr().expect("it is bound").port();
    let (outgoing, _) = all(&[100; 20], ([127, 0, 0, 9], port).into());
    assert_eq!(client.send_all(&outgoing).datagrams, 20);
    let mut answers = Outgoing::default();
    for (data, from, destination) in received(&server, 20).await {
        assert_eq!(destination, Some([127, 0, 0, 9].into()));
        answers.push(&[&data], data.len(), destination, from);
    }
    assert_eq!(server.send_all(&answers).datagrams, 20);
    assert!(received(&client, 20).await.iter().all(|(_, from, _)| *from == ([127, 0, 0, 9], port).into()));
}

#[tokio::test]
async fn one_that_must_stay_whole_is_sent_whole_or_not_at_all_and_the_next_ones_as_ever() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (from, to) = (bound(address).await, bound(address).await);
        let address = to.local_addr().expect("it is bound");
        let mut outgoing = Outgoing::default();
        for (at, length) in [100, 100, 65_530, 100].into_iter().enumerate() {
            outgoing.push(&[&vec![at as u8; length]], length, None, address);
            if at == 1 || at == 2 {
                outgoing.keep_last_whole();
            }
        }
        let sent = from.send_all(&outgoing);
        assert_eq!((sent.datagrams, sent.failed), (3, 1), "{:?}", sent.error);
        let firsts: Vec<_> = received(&to, 3).await.iter().map(|(data, ..)| data[0]).collect();
        assert_eq!(firsts, [0, 1, 3]);
    }
}

#[tokio::test]
async fn more_than_one_call_takes_is_received() {
    let (from, to) = (bound("127.0.0.1:0").await, bound("127.0.0.1:0").await);
    let address = to.local_addr().expect("it is bound");
    for round in 0..200_u8 {
        let (outgoing, _) = all(&[usize::from(round) + 1], address);
        assert_eq!(from.send_all(&outgoing).datagrams, 1);
    }
    assert_eq!(
        received(&to, 200).await.iter().map(|(data, ..)| data.len()).collect::<Vec<_>>(),
        (1..=200).collect::<Vec<_>>()
    );
}

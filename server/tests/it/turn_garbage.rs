//! Garbage of every kind at the STUN port: no panic, nobody else disturbed, the next request answered.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use server::net::{Network, Tokio, Udp};

use crate::turn::turn;
use crate::turn_client::{TurnClient, UDP, channel_data, receive};
use crate::wire::{message_with_id, xor_address};

/// Datagrams that a bounded run sends; each is one of our own messages, damaged, or plain noise.
const DATAGRAMS: usize = 20_000;

#[tokio::test]
async fn garbage_neither_kills_nor_disturbs() {
    let server = turn().await;
    let (mut victim, relayed) = TurnClient::allocated(server.stun).await;
    let peer = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
    let address = peer.local_addr().expect("it is bound");
    assert_eq!(victim.bind(0x4000, address).await, 0);
    // One who has an allocation too, and the right to ask for things.
    let (mut vandal, vandal_relayed) = TurnClient::allocated(server.stun).await;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut below = |n: usize| rng.next_u64() as usize % n;
    for n in 0..DATAGRAMS {
        let id = [n as u8; 12];
        let noise: Vec<u8> = (0..below(64)).map(|_| below(256) as u8).collect();
        let target = xor_address(address, id);
        let mut datagram = match below(8) {
            0 => noise.clone(),
            1 => channel_data(0x4000 + below(3) as u16, &noise),
            2 => message_with_id(0x0016, id, &[(0x0012, &target), (0x0013, &noise)]),
            3 => message_with_id(0x0001, id, &[(below(0x30) as u16, &noise), (0x8028, &noise)]),
            // Sealed, so that what is damaged lies behind authentication.
            4 => vandal.signed(0x003, id, &[UDP, (below(0x30) as u16, &noise)]),
            5 => vandal.signed(0x008, id, &[(0x0012, &target), (0x0012, &noise)]),
            6 => vandal.signed(0x009, id, &[(0x000c, &noise), (0x0012, &noise)]),
            _ => vandal.signed(0x004, id, &[(0x000d, &[0, 0, 2, below(256) as u8]), (0x0017, &noise)]),
        };
        for _ in 0..below(4) {
            match below(3) {
                0 if !datagram.is_empty() => {
                    let at = below(datagram.len());
                    datagram[at] ^= 1 << below(8);
                }
                1 => datagram.truncate(below(datagram.len() + 1)),
                _ => datagram.extend(&noise),
            }
        }
        vandal.raw(&datagram).await;
        if n % 64 == 0 {
            vandal.socket.send_to(&datagram, vandal_relayed).await.expect("loopback takes it");
            // Neither socket's queue may fill up, or the victim's own packets would be lost.
            vandal.drain().await;
        }
        if n % 1000 == 0 {
            victim.send_on(0x4000, b"still here").await;
            // Some of the garbage is sound enough to reach the peer.
            let heard = loop {
                let (data, from) = receive(&peer).await.expect("the victim is served");
                if from == relayed {
                    break data;
                }
            };
            assert_eq!(heard, b"still here");
            peer.send_to(b"so am I", relayed).await.expect("loopback takes it");
            assert_eq!(victim.next().await, channel_data(0x4000, b"so am I"));
        }
    }
    vandal.drain().await;
    assert_eq!(victim.refresh(600).await.code(), 0);
    assert_eq!(victim.refresh(0).await.code(), 0);
    assert!(server.handle.turn().expect("it is on").allocations <= 1);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!server.task.is_finished());
}

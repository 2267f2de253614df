//! Tests of the network between real sockets: what it does to packets, and what it never does.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use scenarios::Dependence::{AddressAndPortDependent, EndpointIndependent};
use scenarios::{ActorIndex, Jitter, Link, Machine as Which, NatBehavior, NetworkIndex, OneWay};
use server::net::{Listener, Network, Udp};
use sim::event::{Drop, NatEvent, NodeKind, PacketEvent, Protocol, Record, Refusal, What};
use sim::fabric::Packet;
use sim::fabric::fault::{FaultCx, Verdict};
use sim::host::Host;
use sim::world::{Machine, NetworkConfig, Realm, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::nat::behavior;
use crate::played::{LINK, link, way};

/// Longer than any expected wait. Virtual time costs nothing.
pub(crate) const LONG: Duration = Duration::from_secs(600);

// ---- links

#[test]
fn a_datagram_takes_the_latency_of_both_links() {
    play(async |net| {
        let (a, b) = net.sockets(link(7), link(30)).await;
        let sent = Instant::now();
        a.send_to(b"hello", b.local_addr()?).await?;
        let (_, from) = receive(&b).await.expect("a link without loss loses nothing");
        assert_eq!((sent.elapsed(), from), (ms(37), a.local_addr()?));
        Ok(())
    });
}

#[test]
fn a_tcp_connection_takes_one_round_trip_and_a_byte_half_of_one() {
    play(async |net| {
        let (a, b) = (net.boot(link(7)), net.boot(link(30)));
        let listener = b.listen(any(80)).await?;
        let start = Instant::now();
        let mut stream = a.connect(at(&b, 80)).await?;
        assert_eq!(start.elapsed(), ms(74));
        let (mut accepted, _) = listener.accept().await?;
        let start = Instant::now();
        stream.write_all(b"x").await?;
        accepted.read_u8().await?;
        assert_eq!(start.elapsed(), ms(37));
        Ok(())
    });
}

#[test]
fn one_in_ten_is_lost_where_one_in_ten_is_asked_for() {
    let numbers = datagrams(Link::both(OneWay { loss_ppm: 100_000, ..way(10) }), 10_000);
    // Four standard deviations of a binomial distribution: √(10,000 · 0.1 · 0.9) = 30.
    assert!((8880..=9120).contains(&numbers.len()), "{} of 10,000 arrived", numbers.len());
}

#[test]
fn one_in_ten_comes_twice_where_one_in_ten_is_asked_for() {
    let numbers = datagrams(Link::both(OneWay { duplicate_ppm: 100_000, ..way(10) }), 10_000);
    assert!((10_880..=11_120).contains(&numbers.len()), "{} of 10,000 arrived", numbers.len());
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!(once, Vec::from_iter(0..10_000), "a second copy comes right after the first");
}

#[test]
fn one_in_ten_is_overtaken_where_one_in_ten_is_asked_for() {
    let mut numbers = datagrams(Link::both(OneWay { reorder_ppm: 100_000, ..way(10) }), 10_000);
    // One datagram is sent per millisecond, and each is held back by at least one: nearly all that are reordered are
    // overtaken.
    let overtaken = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((700..=1100).contains(&overtaken), "{overtaken} of 10,000 overtaken");
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..10_000), "re-ordering loses nothing");
}

#[test]
fn jitter_spreads_but_never_reorders_a_flow() {
    let arrivals = arrivals(Link::both(OneWay { jitter: Jitter::Uniform { max: ms(50) }, ..way(10) }), 2000);
    assert!(arrivals.iter().map(|(number, _)| *number).eq(0..2000), "in the order of sending");
    let delays = || arrivals.iter().map(|(number, at)| *at - ms(u64::from(*number)));
    assert!(delays().min() >= Some(ms(20)) && delays().max() <= Some(ms(70)));
    assert!(delays().max() > Some(ms(65)) && delays().any(|delay| delay < ms(50)), "and spread");
}

#[test]
fn bandwidth_limits_datagrams_to_what_is_asked_for() {
    // 1000 bytes and headers per millisecond are 8.2 Mbit/s, eight times the bandwidth.
    let numbers = datagrams(Link::both(OneWay { bandwidth_bps: Some(1_000_000), ..way(10) }), 10_000);
    let bits = numbers.len() as f64 * (f64::from(DATAGRAM_BYTES) + 28.0) * 8.0;
    // The sending takes ten seconds, and the queue takes half a second more to empty.
    let rate = bits / 10.5;
    assert!((950_000.0..=1_050_000.0).contains(&rate), "{rate} bit/s");
}

#[test]
fn bandwidth_limits_a_stream_to_what_is_asked_for() {
    let took = transfer(Link::both(OneWay { bandwidth_bps: Some(8_000_000), ..way(5) }), 4_000_000).0;
    let rate = 4_000_000.0 * 8.0 / took.as_secs_f64();
    // 40 bytes of headers on about 1460 bytes are 3 %.
    assert!((7_400_000.0..=8_000_000.0).contains(&rate), "{rate} bit/s");
}

#[test]
fn tcp_delivers_every_byte_in_order_over_a_link_that_loses_a_fifth() {
    let bad = Link::both(OneWay {
        loss_ppm: 200_000,
        duplicate_ppm: 200_000,
        reorder_ppm: 200_000,
        jitter: Jitter::Uniform { max: ms(30) },
        ..way(10)
    });
    let (took, record) = transfer(bad, 500_000);
    assert!(took > transfer(link(10), 500_000).0, "loss costs time");
    let only_of_udp = |what: &What| {
        matches!(
            what,
            What::Packet(PacketEvent::Duplicated { .. } | PacketEvent::Reordered { .. } | PacketEvent::Dropped { .. })
        )
    };
    assert_eq!(record.events.iter().filter(|event| only_of_udp(&event.what)).count(), 0);
}

// ---- partitions

#[test]
fn a_partition_drops_datagrams_and_holds_segments_until_it_heals() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let (udp_a, udp_b) = (a.bind_udp(any(1)).await?, b.bind_udp(any(2)).await?);
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        net.world.partition(vec![a.node()], vec![b.node()]);
        net.world.partition(vec![b.node()], vec![a.node()]);
        stream.write_all(b"held").await?;
        udp_a.send_to(b"dropped", at(&b, 2)).await?;
        udp_b.send_to(b"dropped", at(&a, 1)).await?;
        let mut bytes = [0; 4];
        assert!(timeout(LONG, accepted.read(&mut bytes)).await.is_err(), "nothing passes");
        net.world.heal();
        accepted.read_exact(&mut bytes).await?;
        assert_eq!(&bytes, b"held");
        accepted.write_all(b"back").await?;
        stream.read_exact(&mut bytes).await?;
        assert_eq!(&bytes, b"back");
        assert_eq!((receive(&udp_a).await, receive(&udp_b).await), (None, None), "what was dropped is gone");
        udp_a.send_to(b"again", at(&b, 2)).await?;
        assert!(receive(&udp_b).await.is_some(), "datagrams pass again");
        assert_eq!(drops(&net.record(), Drop::Partition), 2);
        Ok(())
    });
}

/// A real sender backs its retransmissions off. Measured with a Linux kernel: after a cut of 16.8 s, held data arrives
/// 10.0 s later.
#[test]
fn after_a_partition_a_stream_goes_on_with_its_next_retransmission() {
    play(async |net| {
        let (a, b) = (net.boot(link(2)), net.boot(link(3)));
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        net.world.partition(vec![a.node()], vec![b.node()]);
        stream.write_all(b"x").await?;
        sleep(ms(16_800)).await;
        net.world.heal();
        let healed = Instant::now();
        // What is sent after the partition waits too: the receiver still lacks the first byte.
        stream.write_all(b"y").await?;
        assert_eq!(accepted.read_u8().await?, b'x');
        // The first retransmission comes 210 ms after the first transmission, and each pause is twice the one before.
        // The seventh comes 210 · (2⁷ - 1) ms after it.
        assert_eq!(healed.elapsed(), ms(5 + 210 * 127 - 16_800));
        assert_eq!(accepted.read_u8().await?, b'y');
        assert_eq!(healed.elapsed(), ms(5 + 210 * 127 - 16_800));
        stream.write_all(b"z").await?;
        assert_eq!(accepted.read_u8().await?, b'z', "then it flows again");
        assert_eq!(healed.elapsed(), ms(10 + 210 * 127 - 16_800));
        Ok(())
    });
}

#[test]
fn a_connection_that_a_partition_keeps_from_opening_opens_after_it() {
    play(async |net| {
        let (a, b) = (net.boot(link(2)), net.boot(link(3)));
        let listener = b.listen(any(80)).await?;
        net.world.partition(vec![a.node()], vec![b.node()]);
        let start = Instant::now();
        let (dialled, ()) = tokio::join! { biased;
            a.connect(at(&b, 80)),
            async {
                sleep(ms(4000)).await;
                net.world.heal();
            },
        };
        dialled?;
        // A SYN is sent again after 1 s, 3 s and 7 s.
        assert_eq!(start.elapsed(), ms(7000 + 10));
        listener.accept().await?;
        Ok(())
    });
}

#[test]
fn a_second_partition_makes_a_stream_back_off_further() {
    play(async |net| {
        let (a, b) = (net.boot(link(2)), net.boot(link(3)));
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        let start = Instant::now();
        net.world.partition(vec![a.node()], vec![b.node()]);
        stream.write_all(b"x").await?;
        sleep(ms(500)).await;
        net.world.heal();
        sleep(ms(50)).await;
        net.world.partition(vec![a.node()], vec![b.node()]);
        sleep(ms(150)).await;
        net.world.heal();
        accepted.read_u8().await?;
        // The retransmissions at 210 ms and 630 ms are stopped, the next one comes at 1470 ms.
        assert_eq!(start.elapsed(), ms(5 + 1470));
        Ok(())
    });
}

#[test]
fn a_one_way_partition_lets_the_other_way_pass() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        net.world.partition(vec![net.host(0).node()], vec![net.host(1).node()]);
        a.send_to(b"stopped", b.local_addr()?).await?;
        b.send_to(b"passes", a.local_addr()?).await?;
        assert!(receive(&a).await.is_some());
        assert_eq!(receive(&b).await, None);
        Ok(())
    });
}

#[test]
fn a_partition_leaves_others_alone() {
    play(async |net| {
        let (a, _b) = net.sockets(LINK, LINK).await;
        let c = net.boot(LINK).bind_udp(any(3)).await?;
        net.world.partition(vec![net.host(0).node()], vec![net.host(1).node()]);
        a.send_to(b"passes", c.local_addr()?).await?;
        assert!(receive(&c).await.is_some());
        Ok(())
    });
}

// ---- injected faults

#[test]
fn an_injected_fault_decides_about_every_packet_until_it_heals() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        let mut seen = 0;
        net.world.inject(move |_: &Packet, _: &mut FaultCx<'_>| {
            seen += 1;
            if seen % 2 == 0 { Verdict::Drop(Drop::Loss) } else { Verdict::Pass }
        });
        for number in 0..4 {
            send_number(&a, b.local_addr()?, number).await;
        }
        let mut arrived = Vec::new();
        while let Some(number) = receive_number(&b).await {
            arrived.push(number);
        }
        assert_eq!(arrived, [0, 2]);
        net.world.heal();
        for number in 4..6 {
            send_number(&a, b.local_addr()?, number).await;
            assert_eq!(receive_number(&b).await, Some(number));
        }
        Ok(())
    });
}

#[test]
fn a_fault_that_would_lose_a_tcp_segment_ends_the_run() {
    let error = World::run(1, LONG, async |world| {
        let net = Net::new(world);
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        net.world.inject(|_: &Packet, _: &mut FaultCx<'_>| Verdict::Drop(Drop::Loss));
        let _ = connect(&a, &b).await;
    });
    let message = error.expect_err("it panics").downcast_ref::<String>().cloned();
    assert_eq!(message.as_deref(), Some("a fault may only delay or hold a TCP segment: Drop(Loss)"));
}

// ---- power

#[test]
fn a_machine_that_loses_power_says_nothing_more() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        let node = a.node();
        let socket = a.bind_udp(any(1)).await?;
        stream.write_all(b"last words").await?;
        a.lose_power();
        let lost_at = net.world.recorder().now();
        let _ = socket.send_to(b"from beyond", at(&b, 2)).await;
        drop((stream, socket));
        let mut bytes = [0; 16];
        let read = timeout(LONG, accepted.read(&mut bytes)).await;
        assert!(read.is_err(), "no FIN, no RST, no bytes: {read:?}");
        let sent = |event: &&sim::event::Event| {
            event.node == node && event.at >= lost_at && matches!(event.what, What::Packet(PacketEvent::Sent(_)))
        };
        assert_eq!(net.record().events.iter().find(sent), None);
        Ok(())
    });
}

#[test]
fn what_was_under_way_to_a_machine_without_power_is_dropped() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        a.send_to(b"hello", b.local_addr()?).await?;
        net.host(1).lose_power();
        sleep(LONG).await;
        assert_eq!(drops(&net.record(), Drop::HostDown), 1);
        Ok(())
    });
}

//= https://www.rfc-editor.org/rfc/rfc9293#section-3.5.2
//# If the connection does not exist (CLOSED), then a reset is sent
//# in response to any incoming segment except another reset.
#[test]
fn after_a_reboot_the_same_address_resets_connections_of_its_former_life() {
    play(async |net| {
        let machine = net.machine(LINK);
        let (before, b) = (net.world.boot(machine), net.boot(LINK));
        let (_stream, mut accepted) = connect(&before, &b).await?;
        before.lose_power();
        let after = net.world.boot(machine);
        assert_eq!(after.address(), before.address());
        accepted.write_all(b"are you there?").await?;
        let read = timeout(LONG, accepted.read(&mut [0; 16])).await.expect("a RST comes");
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
        let (mut stream, mut accepted) = connect(&after, &b).await?;
        stream.write_all(b"x").await?;
        assert_eq!(accepted.read_u8().await?, b'x');
        Ok(())
    });
}

#[test]
fn a_machine_that_never_had_power_answers_nobody() {
    play(async |net| {
        let a = net.boot(LINK);
        net.machine(LINK);
        let dial = timeout(LONG, a.connect(SocketAddr::new(net.address(1).into(), 80))).await;
        assert!(dial.is_err(), "silence, not a refusal");
        Ok(())
    });
}

// ---- sockets

#[test]
fn a_port_where_nobody_listens_refuses() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let dial = timeout(LONG, a.connect(at(&b, 80))).await.expect("a RST comes");
        assert_eq!(dial.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        Ok(())
    });
}

//= https://www.rfc-editor.org/rfc/rfc1122#section-4.2.2.13
//# its TCP SHOULD send a RST to show that data was lost
#[test]
fn data_for_a_closed_socket_is_reset() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let (stream, mut accepted) = connect(&a, &b).await?;
        drop(stream);
        assert_eq!(timeout(LONG, accepted.read(&mut [0; 16])).await.expect("a FIN comes")?, 0);
        accepted.write_all(b"to nobody").await?;
        let read = timeout(LONG, async {
            sleep(ms(100)).await;
            accepted.write_all(b"to nobody").await?;
            accepted.read(&mut [0; 16]).await
        });
        let error = read.await.expect("a RST comes").expect_err("the connection is reset");
        assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
        Ok(())
    });
}

#[test]
fn a_half_closed_connection_still_takes_data_the_other_way() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        stream.shutdown().await?;
        assert_eq!(timeout(LONG, accepted.read(&mut [0; 16])).await.expect("a FIN comes")?, 0);
        accepted.write_all(b"goodbye").await?;
        drop(accepted);
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert_eq!(text, "goodbye");
        Ok(())
    });
}

#[test]
fn a_receive_buffer_that_is_full_drops_and_counts() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        for _ in 0..500 {
            a.send_to(&[0; DATAGRAM_BYTES as usize], b.local_addr()?).await?;
        }
        sleep(LONG).await;
        let mut received = 0;
        while receive(&b).await.is_some() {
            received += 1;
        }
        // Linux' default of 212,992 bytes, with 256 bytes of overhead for each datagram.
        assert_eq!(received, 212_992 / (1000 + 256));
        assert_eq!(drops(&net.record(), Drop::ReceiveBufferFull), 500 - received);
        a.send_to(b"room again", b.local_addr()?).await?;
        assert!(receive(&b).await.is_some());
        Ok(())
    });
}

#[test]
fn a_datagram_to_an_unbound_port_is_dropped() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        let to = b.local_addr()?;
        drop(b);
        a.send_to(b"hello", to).await?;
        sleep(LONG).await;
        assert_eq!(drops(&net.record(), Drop::PortUnreachable), 1);
        Ok(())
    });
}

#[test]
fn a_datagram_that_no_frame_carries_is_refused() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, LINK).await;
        assert!(a.send_to(&[0; 1473], b.local_addr()?).await.is_err());
        a.send_to(&[0; 1472], b.local_addr()?).await?;
        assert_eq!(receive(&b).await.map(|(datagram, _)| datagram.len()), Some(1472));
        Ok(())
    });
}

#[test]
fn port_zero_is_a_free_ephemeral_one() {
    play(async |net| {
        let a = net.boot(LINK);
        let mut sockets = Vec::new();
        for _ in 0..1000 {
            sockets.push(a.bind_udp(any(0)).await?);
        }
        let ports = || sockets.iter().map(|socket| socket.local_addr().expect("it is bound").port());
        assert_eq!(ports().collect::<std::collections::BTreeSet<_>>().len(), 1000);
        assert!(ports().all(|port| (32_768..=60_999).contains(&port)), "Linux' net.ipv4.ip_local_port_range");
        let (one, two) = (a.listen(any(0)).await?, a.listen(any(0)).await?);
        assert_ne!(one.local_addr()?.port(), 0);
        assert_ne!(one.local_addr()?, two.local_addr()?);
        Ok(())
    });
}

#[test]
fn a_port_is_bound_once_until_it_is_closed() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let udp = a.bind_udp(any(1)).await?;
        assert_eq!(kind(a.bind_udp(any(1)).await), Some(io::ErrorKind::AddrInUse));
        let _another_machine = b.bind_udp(any(1)).await?;
        drop(udp);
        a.bind_udp(any(1)).await?;
        let tcp = a.listen(any(1)).await?;
        assert_eq!(kind(a.listen(any(1)).await), Some(io::ErrorKind::AddrInUse));
        drop(tcp);
        a.listen(any(1)).await?;
        assert_eq!(kind(a.bind_udp(at(&b, 1)).await), Some(io::ErrorKind::AddrNotAvailable));
        assert_eq!(kind(a.listen(at(&b, 1)).await), Some(io::ErrorKind::AddrNotAvailable));
        Ok(())
    });
}

#[test]
fn what_is_closed_is_not_counted() {
    play(async |net| {
        let (a, b) = (net.boot(LINK), net.boot(LINK));
        let (stream, accepted) = connect(&a, &b).await?;
        let udp = a.bind_udp(any(0)).await?;
        a.spawn(std::future::pending());
        assert_eq!((net.world.sockets(), net.world.tasks()), (3, 1));
        drop((stream, accepted, udp));
        a.lose_power();
        sleep(LONG).await;
        assert_eq!((net.world.sockets(), net.world.tasks(), net.world.packets_in_flight()), (0, 0, 0));
        Ok(())
    });
}

// ---- NATs

/// A prober knows nothing about the NAT. It requests a response after a delay, and searches for the longest delay after
/// which the response still arrives.
#[test]
fn a_prober_recovers_the_lifetime_of_a_mapping_that_was_never_answered() {
    for lifetime in [30, 35, 65, 120, 180] {
        let nat = NatBehavior { udp_lifetime_new: s(lifetime), udp_lifetime: s(400), ..cone() };
        assert_eq!(probe(nat, false), s(lifetime), "the first idle time that is too long");
    }
}

#[test]
fn a_prober_recovers_the_lifetime_of_a_mapping_that_was_answered() {
    for lifetime in [30, 35, 65, 120, 180] {
        let nat = NatBehavior { udp_lifetime_new: s(7), udp_lifetime: s(lifetime), ..cone() };
        assert_eq!(probe(nat, true), s(lifetime), "the first idle time that is too long");
    }
}

#[test]
fn a_nat_with_a_full_table_refuses_until_a_mapping_expires() {
    play(async |net| {
        let realm = net.nat(NatBehavior { max_mappings: 3, ..cone() });
        let (server, inside) = (net.boot(LINK).bind_udp(any(9)).await?, net.boot_in(realm, LINK));
        for port in 1..=4 {
            inside.bind_udp(any(port)).await?.send_to(b"hello", server.local_addr()?).await?;
        }
        let mut arrived = 0;
        while receive(&server).await.is_some() {
            arrived += 1;
        }
        assert_eq!((arrived, drops(&net.record(), Drop::Refused(Refusal::TableFull))), (3, 1));
        inside.bind_udp(any(4)).await?.send_to(b"hello", server.local_addr()?).await?;
        assert!(receive(&server).await.is_some(), "all three have expired");
        Ok(())
    });
}

#[test]
fn a_stream_through_a_nat_that_reboots_is_silent_or_reset_as_asked() {
    for (resets_tcp, expected) in [(false, None), (true, Some(io::ErrorKind::ConnectionReset))] {
        play(async move |net| {
            let realm = net.nat(cone());
            let (server, inside) = (net.boot(LINK), net.boot_in(realm, LINK));
            let (mut stream, mut accepted) = connect(&inside, &server).await?;
            stream.write_all(b"x").await?;
            assert_eq!(accepted.read_u8().await?, b'x');
            net.world.reboot_nat(realm, scenarios::NatReboot { resets_tcp, new_address: None });
            stream.write_all(b"y").await?;
            let read = timeout(LONG, stream.read(&mut [0; 1])).await;
            assert_eq!(read.ok().and_then(Result::err).map(|error| error.kind()), expected);
            assert!(timeout(LONG, accepted.read(&mut [0; 1])).await.is_err(), "the other end learns nothing");
            Ok(())
        });
    }
}

/// Linux picks up a connection that it does not know when the inside sends. What the outside has sent meanwhile comes
/// with its next retransmission.
#[test]
fn a_stream_goes_on_through_a_linux_router_that_reboots_at_the_same_address() {
    play(async move |net| {
        let realm = net.nat(linux());
        let (server, inside) = (net.boot(link(2)), net.boot_in(realm, link(1)));
        let (mut stream, mut accepted) = connect(&inside, &server).await?;
        stream.write_all(b"x").await?;
        assert_eq!(accepted.read_u8().await?, b'x');
        sleep(s(1)).await;
        net.world.reboot_nat(realm, scenarios::NatReboot { resets_tcp: false, new_address: None });
        let start = Instant::now();
        accepted.write_all(b"a").await?;
        assert!(timeout(s(4), stream.read_u8()).await.is_err(), "nobody inside has sent");
        accepted.write_all(b"b").await?;
        stream.write_all(b"y").await?;
        assert_eq!(accepted.read_u8().await?, b'y');
        assert!(start.elapsed() < s(5), "what the inside sends passes at once");
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).await?;
        assert_eq!(&bytes, b"ab");
        // The first way to the router takes 12 ms, so that the first retransmission comes after 224 ms, and the fifth
        // after 224 · (2⁵ - 1) ms.
        assert_eq!(start.elapsed(), ms(12 + 224 * 31 + 1));
        Ok(())
    });
}

/// With a new address, the server's machine knows no connection to it and answers with an RST.
#[test]
fn a_stream_through_a_linux_router_that_gets_a_new_address_is_reset_when_the_inside_sends() {
    play(async move |net| {
        let realm = net.nat(linux());
        let (server, inside) = (net.boot(LINK), net.boot_in(realm, LINK));
        let (mut stream, mut accepted) = connect(&inside, &server).await?;
        stream.write_all(b"x").await?;
        assert_eq!(accepted.read_u8().await?, b'x');
        let new_address = Some(Ipv4Addr::new(198, 51, 100, 2));
        net.world.reboot_nat(realm, scenarios::NatReboot { resets_tcp: false, new_address });
        stream.write_all(b"y").await?;
        let read = timeout(s(1), stream.read(&mut [0; 1])).await.expect("an RST comes");
        assert_eq!(read.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionReset));
        assert!(timeout(LONG, accepted.read(&mut [0; 1])).await.is_err(), "the other end learns nothing");
        Ok(())
    });
}

#[test]
fn a_router_that_rejects_resets_what_the_outside_sends_without_a_mapping() {
    for unsolicited in [scenarios::Unsolicited::Reject, scenarios::Unsolicited::Accept] {
        play(async move |net| {
            let realm = net.nat(NatBehavior { unsolicited, ..linux() });
            let (server, inside) = (net.boot(LINK), net.boot_in(realm, LINK));
            let (mut stream, mut accepted) = connect(&inside, &server).await?;
            stream.write_all(b"x").await?;
            assert_eq!(accepted.read_u8().await?, b'x');
            net.world.reboot_nat(realm, scenarios::NatReboot { resets_tcp: false, new_address: None });
            accepted.write_all(b"y").await?;
            let read = timeout(s(1), accepted.read(&mut [0; 1])).await.expect("an RST comes");
            assert_eq!(read.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionReset));
            Ok(())
        });
    }
}

/// The NAT's table has a mapping with a long life when the short one is created.
#[test]
fn a_mapping_that_expires_is_recorded_when_its_lifetime_ends() {
    play(async |net| {
        let realm = net.nat(cone());
        let (server, inside) = (net.boot(LINK), net.boot_in(realm, LINK));
        let (_stream, _accepted) = connect(&inside, &server).await?;
        sleep(s(5)).await;
        let socket = inside.bind_udp(any(1)).await?;
        socket.send_to(b"hello", at(&server, 9)).await?;
        // Refreshed once, so that the check for the first end finds nothing.
        sleep(s(20)).await;
        socket.send_to(b"hello", at(&server, 9)).await?;
        sleep(s(60)).await;
        let record = net.record();
        let at = |wanted: fn(&What) -> bool| {
            record.events.iter().filter(|event| wanted(&event.what)).map(|event| event.at).collect::<Vec<_>>()
        };
        let used = at(|what| matches!(what, What::Nat(NatEvent::Used(mapping)) if mapping.protocol == Protocol::Udp));
        let expired = at(|what| matches!(what, What::Nat(NatEvent::Expired(_))));
        assert_eq!(used.len(), 2);
        assert_eq!(expired, [used[1] + s(30)]);
        Ok(())
    });
}

// ---- hangs and panics

#[test]
fn a_play_that_never_ends_is_an_error_that_names_the_limit() {
    let error = World::run(1, s(77), async |_| std::future::pending::<()>().await).expect_err("it never ends");
    let text = error.downcast_ref::<String>().expect("a formatted panic");
    assert_eq!(text, "the simulation did not end within 77s of virtual time");
}

#[test]
fn a_play_that_spins_at_one_instant_is_an_error() {
    let error = in_real_time(|| {
        World::run(1, LONG, async |_| {
            sleep(s(5)).await;
            loop {
                tokio::task::yield_now().await;
            }
        })
    });
    assert_eq!(error, "the simulation hangs at 5s");
}

#[test]
fn a_task_that_spins_at_one_instant_is_an_error() {
    let error = in_real_time(|| {
        World::run(1, LONG, async |world| {
            sleep(s(5)).await;
            Net::new(world).boot(LINK).spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
            std::future::pending::<()>().await;
        })
    });
    assert_eq!(error, "the simulation hangs at 5s");
}

#[test]
fn two_machines_that_answer_each_other_without_delay_are_an_error() {
    let error = in_real_time(|| {
        World::run(1, LONG, async |world| {
            let (a, b) = Net::new(world).sockets(link(0), link(0)).await;
            let echo = async |socket: &<Host as Network>::Udp| {
                while let Some((datagram, from)) = receive(socket).await {
                    socket.send_to(&datagram, from).await.expect("it fits");
                }
            };
            a.send_to(b"x", b.local_addr().expect("it is bound")).await.expect("it fits");
            tokio::join!(biased; echo(&a), echo(&b));
        })
    });
    assert_eq!(error, "the simulation hangs at 0ns");
}

#[test]
fn a_task_that_panics_fails_the_run() {
    let error = World::run(1, LONG, async |world| {
        Net::new(world).boot(LINK).spawn(async {
            sleep(s(3)).await;
            panic!("on purpose");
        });
        sleep(s(100)).await;
    });
    let error = error.expect_err("a task panicked");
    assert_eq!(error.downcast_ref::<String>().map(String::as_str), Some("a task panicked at 3s: on purpose"));
}

#[test]
fn a_play_that_panics_fails_the_run_with_its_message() {
    let error = World::run(1, LONG, async |_| panic!("on purpose")).map(|(): ()| ()).expect_err("it panics");
    assert_eq!(error.downcast_ref::<&str>(), Some(&"on purpose"));
}

// ---- helpers

/// Payload size of a numbered datagram.
pub(crate) const DATAGRAM_BYTES: u16 = 1000;

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn any(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

pub(crate) fn at(host: &Host, port: u16) -> SocketAddr {
    SocketAddr::new(host.address(), port)
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

fn cone() -> NatBehavior {
    behavior(EndpointIndependent, AddressAndPortDependent, scenarios::FilterState::PerMapping)
}

fn linux() -> NatBehavior {
    scenarios::profile("home-linux").and_then(|profile| profile.behavior).expect("a shipped profile")
}

/// Runs a scene on a fresh network; any error fails the test.
pub(crate) fn play<F: Future<Output = io::Result<()>>>(scene: impl FnOnce(Net) -> F + Send + 'static) {
    played(scene);
}

pub(crate) fn played<T: Send + 'static, F: Future<Output = io::Result<T>>>(
    scene: impl FnOnce(Net) -> F + Send + 'static,
) -> T {
    let limit = Duration::from_secs(1_000_000);
    match World::run(1, limit, |world| scene(Net::new(world))) {
        Ok(result) => result.expect("no socket reports an error"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Returns the panic of a run, with a limit in real time, because the loop itself may hang. The limit only catches such
/// a hang, even on a busy machine.
fn in_real_time(run: impl FnOnce() -> std::thread::Result<()> + Send + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    let running = move || sender.send(run().map_err(|panic| panic.downcast_ref::<String>().cloned()));
    std::thread::Builder::new().spawn(running).expect("the system has room for a thread");
    let result = receiver.recv_timeout(Duration::from_secs(600)).expect("the run ends");
    result.expect_err("the run fails").expect("a formatted panic")
}

/// A network to which a test adds machines.
pub(crate) struct Net {
    pub(crate) world: World,
    machines: RefCell<Vec<(Machine, Ipv4Addr)>>,
    hosts: RefCell<Vec<Host>>,
}

impl Net {
    fn new(world: World) -> Self {
        Self { world, machines: RefCell::default(), hosts: RefCell::default() }
    }

    /// Adds a machine without power.
    fn machine_in(&self, realm: Option<Realm>, link: Link) -> Machine {
        let mut machines = self.machines.borrow_mut();
        let (number, kind) = (machines.len(), NodeKind::Machine(Which::Actor(ActorIndex(machines.len()))));
        let last = 10 + number as u8;
        let address = realm.map_or(Ipv4Addr::new(203, 0, 113, last), |_| Ipv4Addr::new(192, 168, 1, last));
        let machine = self.world.add_machine(&format!("m{number}"), kind, realm, address, link);
        machines.push((machine, address));
        machine
    }

    fn machine(&self, link: Link) -> Machine {
        self.machine_in(None, link)
    }

    pub(crate) fn boot_in(&self, realm: impl Into<Option<Realm>>, link: Link) -> Host {
        let host = self.world.boot(self.machine_in(realm.into(), link));
        self.hosts.borrow_mut().push(host.clone());
        host
    }

    /// Adds a machine on the internet, and powers it on.
    pub(crate) fn boot(&self, link: Link) -> Host {
        self.boot_in(None, link)
    }

    /// Adds two machines on the internet, with one socket each.
    pub(crate) async fn sockets(&self, a: Link, b: Link) -> (<Host as Network>::Udp, <Host as Network>::Udp) {
        let (a, b) = (self.boot(a), self.boot(b));
        let socket = async |host: Host| host.bind_udp(at(&host, 1000)).await.expect("a fresh machine has free ports");
        (socket(a).await, socket(b).await)
    }

    pub(crate) fn nat(&self, behavior: NatBehavior) -> Realm {
        self.world.add_network(NetworkConfig {
            name: "home",
            kind: NodeKind::Nat(NetworkIndex(0)),
            behind: None,
            external: &[Ipv4Addr::new(198, 51, 100, 1)],
            inside: Ipv4Addr::new(192, 168, 1, 1),
            nat: Some(behavior),
            link: LINK,
        })
    }

    fn address(&self, machine: usize) -> Ipv4Addr {
        self.machines.borrow()[machine].1
    }

    pub(crate) fn host(&self, host: usize) -> Host {
        self.hosts.borrow()[host].clone()
    }

    /// The events since the last call.
    pub(crate) fn record(&self) -> Record {
        self.world.recorder().take()
    }
}

/// The next datagram; `None` if none arrives.
pub(crate) async fn receive(socket: &impl Udp) -> Option<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 1500];
    let (length, from) = timeout(LONG, socket.recv_from(&mut buffer)).await.ok()?.expect("receiving never fails");
    Some((buffer[..length].to_vec(), from))
}

/// Number of packets that were dropped for a reason.
pub(crate) fn drops(record: &Record, reason: Drop) -> usize {
    let is = |what: &What| matches!(what, What::Packet(PacketEvent::Dropped { why, .. }) if *why == reason);
    record.events.iter().filter(|event| is(&event.what)).count()
}

/// Opens a connection from `a` to `b`, and returns both ends.
pub(crate) async fn connect(a: &Host, b: &Host) -> io::Result<(<Host as Network>::Stream, <Host as Network>::Stream)> {
    let listener = b.listen(any(0)).await?;
    let stream = a.connect(listener.local_addr()?).await?;
    Ok((stream, listener.accept().await?.0))
}

/// Sends `count` numbered datagrams, one per millisecond. Returns the numbers of those that arrive, in order of
/// arrival.
pub(crate) fn datagrams(link: Link, count: u32) -> Vec<u32> {
    arrivals(link, count).into_iter().map(|(number, _)| number).collect()
}

/// Does what [`datagrams`] does, and also returns the arrival times.
pub(crate) fn arrivals(link: Link, count: u32) -> Vec<(u32, Duration)> {
    played(async move |net| {
        let (a, b) = net.sockets(link, LINK).await;
        let (to, start) = (b.local_addr()?, Instant::now());
        net.host(0).spawn(async move {
            for number in 0..count {
                send_number(&a, to, number).await;
                sleep(ms(1)).await;
            }
        });
        let mut arrivals = Vec::new();
        while let Some(number) = receive_number(&b).await {
            arrivals.push((number, start.elapsed()));
        }
        Ok(arrivals)
    })
}

pub(crate) async fn send_number(socket: &impl Udp, to: SocketAddr, number: u32) {
    let mut datagram = [0; DATAGRAM_BYTES as usize];
    datagram[..4].copy_from_slice(&number.to_be_bytes());
    socket.send_to(&datagram, to).await.expect("it fits");
}

pub(crate) async fn receive_number(socket: &impl Udp) -> Option<u32> {
    let (datagram, _) = receive(socket).await?;
    Some(u32::from_be_bytes(datagram[..4].try_into().expect("a number is four bytes")))
}

/// Sends `bytes` bytes over a link and checks each of them. Returns the time that this took, and the record.
pub(crate) fn transfer(link: Link, bytes: usize) -> (Duration, Record) {
    played(async move |net| {
        let (a, b) = (net.boot(link), net.boot(LINK));
        let (mut stream, mut accepted) = connect(&a, &b).await?;
        let start = Instant::now();
        a.spawn(async move {
            let all: Vec<u8> = (0..bytes).map(pattern).collect();
            stream.write_all(&all).await.expect("the other end reads");
            stream.shutdown().await.expect("it is open");
            // Dropping the stream at once would close it while the last bytes are in flight.
            sleep(LONG).await;
        });
        let mut all = Vec::new();
        timeout(LONG, accepted.read_to_end(&mut all)).await.expect("the stream ends")?;
        assert_eq!(all.len(), bytes);
        assert!(all.iter().enumerate().all(|(place, byte)| *byte == pattern(place)), "each byte in its place");
        Ok((start.elapsed(), net.record()))
    })
}

/// A byte value that depends on its position.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8 ^ (place / 251) as u8
}

/// The shortest idle time, in milliseconds, after which a response no longer passes through a NAT.
fn probe(nat: NatBehavior, answered_before: bool) -> Duration {
    played(async move |net| {
        let realm = net.nat(nat);
        let (server, inside) = (net.boot(LINK), net.boot_in(realm, LINK));
        let service = server.bind_udp(any(9)).await?;
        server.spawn(async move {
            while let Some((wish, from)) = receive(&service).await {
                let wait = u64::from_be_bytes(wish.try_into().expect("a wish is eight bytes"));
                sleep(ms(wait)).await;
                service.send_to(b"answer", from).await.expect("it fits");
            }
        });
        // There are two links between the NAT and the server, each crossed in both directions.
        let path = 4 * LINK.up.latency.as_millis() as u64;
        let (mut lives, mut dead) = (path, 599_000);
        while lives + 1 < dead {
            let idle = lives.midpoint(dead);
            let socket = inside.bind_udp(any(0)).await?;
            if answered_before {
                socket.send_to(&0u64.to_be_bytes(), at(&server, 9)).await?;
                receive(&socket).await.expect("an answer at once comes through");
            }
            socket.send_to(&(idle - path).to_be_bytes(), at(&server, 9)).await?;
            match receive(&socket).await {
                Some(_) => lives = idle,
                None => dead = idle,
            }
        }
        Ok(ms(dead))
    })
}

//! Links: what each setting does to packets, measured on many of them.

use std::sync::Arc;
use std::time::Duration;

use scenarios::{
    Action, ActorIndex, Builder, GilbertElliott, Jitter, Link, Machine, MachineAction, OneWay, Oversized, Queue,
};
use server::net::{Network, Udp};
use sim::event::{Drop, NatEvent, PacketEvent, Record, What};
use tokio::time::{Instant, sleep};

use crate::faults::{
    DATAGRAM_BYTES, LONG, any, arrivals, at, datagrams, drops, ms, play, played, receive, send_number, transfer,
};
use crate::nat;
use crate::played::{LINK, Played, link, scenario, way};

// ---- directions

#[test]
fn each_direction_has_its_own_latency_and_loss() {
    play(async |net| {
        let apart = Link { up: way(7), down: OneWay { loss_ppm: 1_000_000, ..way(70) } };
        let (a, b) = net.sockets(apart, link(30)).await;
        let sent = Instant::now();
        a.send_to(b"up", b.local_addr()?).await?;
        assert!(receive(&b).await.is_some());
        assert_eq!(sent.elapsed(), ms(37));
        b.send_to(b"down", a.local_addr()?).await?;
        assert_eq!(receive(&a).await, None);
        assert_eq!(drops(&net.record(), Drop::Loss), 1);
        Ok(())
    });
}

#[test]
fn a_link_that_changes_changes_each_direction() {
    play(async |net| {
        let machine = net.world.add_machine(
            "a",
            sim::event::NodeKind::Machine(Machine::Actor(ActorIndex(7))),
            None,
            std::net::Ipv4Addr::new(203, 0, 113, 77),
            LINK,
        );
        let (a, b) = (net.world.boot(machine), net.boot(LINK));
        let (ours, theirs) = (a.bind_udp(any(1)).await?, b.bind_udp(any(2)).await?);
        net.world.set_machine_link(machine, Link { up: way(100), down: way(1) });
        let start = Instant::now();
        ours.send_to(b"x", at(&b, 2)).await?;
        let (_, from) = receive(&theirs).await.expect("it arrives");
        assert_eq!(start.elapsed(), ms(110));
        theirs.send_to(b"x", from).await?;
        receive(&ours).await.expect("it arrives");
        assert_eq!(start.elapsed(), ms(121));
        Ok(())
    });
}

// ---- burst loss

/// The share of lost packets and the lengths of the bursts, against the formulas of the model.
#[test]
fn bursts_of_losses_are_as_the_model_says() {
    const COUNT: u32 = 50_000;
    for (p_ppm, r_ppm, h_ppm, k_ppm) in
        [(10_000, 250_000, 0, 1_000_000), (50_000, 200_000, 300_000, 990_000), (100_000, 900_000, 0, 1_000_000)]
    {
        let model = GilbertElliott { p_ppm, r_ppm, h_ppm, k_ppm };
        let arrived = datagrams(Link::both(OneWay { burst_loss: Some(model), ..way(10) }), COUNT);
        let [p, r, h, k] = [p_ppm, r_ppm, h_ppm, k_ppm].map(|ppm| f64::from(ppm) / 1e6);
        let expected = (p * (1.0 - h) + r * (1.0 - k)) / (p + r);
        let lost = 1.0 - arrived.len() as f64 / f64::from(COUNT);
        // Losses of one burst depend on each other, which makes the standard error larger.
        let dependence = 1.0 - p - r;
        let error = (expected * (1.0 - expected) / f64::from(COUNT) * (1.0 + dependence) / (1.0 - dependence)).sqrt();
        assert!((lost - expected).abs() < 4.0 * error, "{model:?}: {lost}, expected {expected} ± {error}");
        if h_ppm == 0 {
            let bursts: Vec<f64> =
                arrived.windows(2).map(|pair| f64::from(pair[1] - pair[0] - 1)).filter(|lost| *lost > 0.0).collect();
            let mean = bursts.iter().sum::<f64>() / bursts.len() as f64;
            let error = (1.0 - r).sqrt() / r / (bursts.len() as f64).sqrt();
            assert!((mean - 1.0 / r).abs() < 4.0 * error, "{model:?}: bursts of {mean}, expected {}", 1.0 / r);
        }
    }
}

#[test]
fn independent_losses_are_shorter_than_bursts() {
    let longest = |way: OneWay| {
        let arrived = datagrams(Link::both(way), 20_000);
        arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).max().expect("some arrive")
    };
    let model = GilbertElliott { p_ppm: 5_000, r_ppm: 95_000, h_ppm: 0, k_ppm: 1_000_000 };
    let bursts = longest(OneWay { burst_loss: Some(model), ..way(10) });
    let alone = longest(OneWay { loss_ppm: 50_000, ..way(10) });
    assert!(bursts > 4 * alone, "both lose 5 %: {bursts} and {alone} in a row");
}

// ---- jitter

/// Delays of datagrams that are sent one at a time, so that none waits for an earlier one.
fn delays(link: Link, count: usize) -> Vec<Duration> {
    played(async move |net| {
        let (a, b) = net.sockets(link, LINK).await;
        let mut delays = Vec::new();
        for _ in 0..count {
            let sent = Instant::now();
            a.send_to(b"x", b.local_addr()?).await?;
            receive(&b).await.expect("nothing is lost");
            delays.push(sent.elapsed() - ms(20));
        }
        Ok(delays)
    })
}

#[test]
fn jitter_has_the_distribution_that_is_asked_for() {
    const COUNT: usize = 20_000;
    let of = |jitter| {
        let delays = delays(Link::both(OneWay { jitter, ..way(10) }), COUNT);
        let mut times: Vec<f64> = delays.iter().map(|time| time.as_millis() as f64).collect();
        times.sort_unstable_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / COUNT as f64;
        [mean, times[COUNT / 2], times[COUNT * 99 / 100]]
    };
    // The formulas of mean, median and 99th percentile, and their standard errors with so many draws. That of a percentile
    // is √(q · (1 - q) / count) divided by the density there. Times are rounded to milliseconds.
    let close = |found: [f64; 3], expected: [f64; 3], errors: [f64; 3]| {
        let near = |place: usize| (found[place] - expected[place]).abs() <= 4.0 * errors[place] + 1.0;
        assert!((0..3).all(near), "{found:?}, expected {expected:?} ± {errors:?}");
    };
    close(of(Jitter::Uniform { max: ms(100) }), [50.0, 50.0, 99.0], [0.2, 0.35, 0.07]);
    close(of(Jitter::Normal { mean: ms(100), deviation: ms(20) }), [100.0, 100.0, 146.5], [0.14, 0.18, 0.53]);
    // Twice the mean, times 0.5^(-1/3) - 1 and 0.01^(-1/3) - 1.
    close(of(Jitter::Pareto { mean: ms(100) }), [100.0, 52.0, 728.3], [1.22, 0.6, 21.7]);
}

#[test]
fn a_flow_stays_in_order_with_any_distribution() {
    for jitter in [Jitter::Normal { mean: ms(30), deviation: ms(20) }, Jitter::Pareto { mean: ms(3) }] {
        let arrivals = arrivals(Link::both(OneWay { jitter, ..way(10) }), 2000);
        assert!(arrivals.iter().map(|(number, _)| *number).eq(0..2000), "{jitter:?}");
    }
}

// ---- queues

/// Sends 8.2 times as much as the link carries, for ten seconds. Returns the longest delay of a datagram and the record.
fn flood(queue: Queue) -> (Duration, usize, usize) {
    let link = Link::both(OneWay { bandwidth_bps: Some(1_000_000), queue, ..way(10) });
    played(async move |net| {
        let (a, b) = net.sockets(link, LINK).await;
        let to = b.local_addr()?;
        let start = Instant::now();
        net.host(0).spawn(async move {
            for number in 0..10_000 {
                send_number(&a, to, number).await;
                sleep(ms(1)).await;
            }
        });
        let (mut longest, mut arrived) = (Duration::ZERO, 0);
        while let Some((datagram, _)) = receive(&b).await {
            let number = u32::from_be_bytes(datagram[..4].try_into().expect("a number is four bytes"));
            longest = longest.max(start.elapsed() - ms(u64::from(number)));
            arrived += 1;
        }
        Ok((longest, arrived, drops(&net.record(), Drop::Congestion)))
    })
}

#[test]
fn a_full_queue_drops_its_tail_and_its_length_is_the_delay() {
    // One datagram of 1028 bytes takes 8.2 ms.
    let own = (f64::from(DATAGRAM_BYTES) + 28.0) * 8.0 / 1000.0;
    for (queue, longest) in [
        (Queue::Time(ms(50)), 50.0 + own),
        (Queue::DEFAULT, 500.0 + own),
        (Queue::Time(ms(5000)), 5000.0 + own),
        (Queue::Bytes(64_000), 64_000.0 * 8.0 / 1000.0),
    ] {
        let (found, arrived, dropped) = flood(queue);
        assert_eq!(arrived + dropped, 10_000, "{queue:?}: what does not arrive is told as dropped");
        let found = found.as_secs_f64() * 1000.0 - 20.0;
        assert!(found <= longest + 1.0 && found > longest - 2.0 * own, "{queue:?}: {found} ms, expected {longest}");
    }
}

/// A stream fills the queue, and a datagram waits behind it: bufferbloat.
#[test]
fn a_stream_delays_datagrams_by_the_queue_that_it_fills() {
    let wait = |queue| {
        let up = OneWay { bandwidth_bps: Some(1_000_000), queue, ..way(10) };
        played(async move |net| {
            let (a, b) = (net.boot(Link { up, down: way(10) }), net.boot(LINK));
            let (mut stream, _accepted) = crate::faults::connect(&a, &b).await?;
            let (ours, theirs) = (a.bind_udp(any(1)).await?, b.bind_udp(any(2)).await?);
            a.spawn(async move {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0; 30_000]).await;
                sleep(LONG).await;
            });
            sleep(ms(21)).await;
            let sent = Instant::now();
            ours.send_to(b"x", at(&b, 2)).await?;
            Ok(receive(&theirs).await.map(|_| sent.elapsed()))
        })
    };
    let behind = wait(Queue::Time(ms(5000))).expect("it waits");
    assert!(behind > ms(150), "30 kB take 240 ms: {behind:?}");
    assert_eq!(wait(Queue::Time(ms(50))), None, "there is no room behind the stream");
}

// ---- MTU

fn limited(mtu: u16, oversized: Oversized) -> Link {
    Link::both(OneWay { mtu: Some(mtu), oversized, ..way(10) })
}

fn count(record: &Record, is: impl Fn(&PacketEvent) -> bool) -> usize {
    record.events.iter().filter(|event| matches!(&event.what, What::Packet(packet) if is(packet))).count()
}

#[test]
fn a_black_hole_swallows_what_is_longer_than_the_mtu() {
    play(async |net| {
        let (a, b) = net.sockets(limited(1000, Oversized::Drop), LINK).await;
        for _ in 0..2 {
            a.send_to(&[7; 973], b.local_addr()?).await?;
            assert_eq!(receive(&b).await, None, "28 bytes of headers do not fit as well");
        }
        a.send_to(&[7; 972], b.local_addr()?).await?;
        assert_eq!(receive(&b).await.map(|(payload, _)| payload.len()), Some(972));
        let record = net.record();
        assert_eq!(drops(&record, Drop::Oversized), 2);
        assert_eq!(count(&record, |event| matches!(event, PacketEvent::FragmentationNeeded { .. })), 0);
        Ok(())
    });
}

//= https://www.rfc-editor.org/rfc/rfc1191#section-6.3
//# Since this information may become stale, a host must age it.
#[test]
fn icmp_makes_a_sender_split_what_is_too_long_for_ten_minutes() {
    play(async |net| {
        let (a, b) = net.sockets(LINK, limited(1000, Oversized::Reject)).await;
        let to = b.local_addr()?;
        let arrives = async |length: usize| {
            a.send_to(&vec![7; length], to).await.expect("it fits");
            receive(&b).await.map(|(payload, _)| payload.len())
        };
        let start = Instant::now();
        a.send_to(&[7; 1400], to).await?;
        sleep(ms(100)).await;
        a.send_to(&[7; 1400], to).await?;
        assert_eq!(receive(&b).await.map(|(payload, _)| payload.len()), Some(1400), "the second arrives");
        assert!(start.elapsed() < ms(200));
        let record = net.record();
        assert_eq!(drops(&record, Drop::FragmentationNeeded { mtu: 1000 }), 1);
        assert_eq!(count(&record, |event| matches!(event, PacketEvent::FragmentationNeeded { mtu: 1000, .. })), 1);
        // 1408 bytes in pieces of at most 976, the largest multiple of 8 that fits.
        assert_eq!(count(&record, |event| matches!(event, PacketEvent::Fragmented { pieces: 2, .. })), 1);
        assert_eq!(arrives(972).await, Some(972));
        assert_eq!(count(&net.record(), |event| matches!(event, PacketEvent::Fragmented { .. })), 0);
        sleep(LONG).await;
        assert_eq!(arrives(1400).await, None, "it has forgotten");
        Ok(())
    });
}

/// The narrow link is inside the receiver's home, where the datagram has another destination than the sender gave.
#[test]
fn icmp_finds_its_way_back_through_a_nat() {
    play(async |net| {
        let realm = net.nat(nat::behavior(
            scenarios::Dependence::EndpointIndependent,
            scenarios::Dependence::EndpointIndependent,
            scenarios::FilterState::PerMapping,
        ));
        let (a, inside) = (net.boot(LINK), net.boot_in(realm, limited(500, Oversized::Reject)));
        let (a, inside) = (a.bind_udp(any(1)).await?, inside.bind_udp(any(2)).await?);
        inside.send_to(b"open", std::net::SocketAddr::from(([203, 0, 113, 10], 1))).await?;
        let (_, mapped) = receive(&a).await.expect("it arrives");
        a.send_to(&[7; 800], mapped).await?;
        sleep(ms(100)).await;
        assert_eq!(drops(&net.record(), Drop::FragmentationNeeded { mtu: 500 }), 1);
        a.send_to(&[7; 800], mapped).await?;
        assert_eq!(receive(&inside).await.map(|(payload, _)| payload.len()), Some(800));
        Ok(())
    });
}

#[test]
fn a_datagram_in_fragments_is_lost_with_any_of_them() {
    const COUNT: usize = 10_000;
    // 1028 bytes in pieces of at most 280: four.
    let way = OneWay { mtu: Some(300), oversized: Oversized::Fragment, loss_ppm: 50_000, ..way(10) };
    let arrived = datagrams(Link::both(way), COUNT as u32).len();
    let expected = COUNT as f64 * 0.95_f64.powi(4);
    // Four standard deviations: √(10,000 · 0.8145 · 0.1855) = 39.
    assert!((arrived as f64 - expected).abs() < 156.0, "{arrived} of {COUNT}, expected {expected}");
}

#[test]
fn a_small_mtu_leaves_streams_alone() {
    let (plain, _) = transfer(link(10), 100_000);
    for oversized in [Oversized::Drop, Oversized::Reject, Oversized::Fragment] {
        assert_eq!(transfer(limited(300, oversized), 100_000).0, plain);
    }
}

/// What a black hole does to a call: the ICE checks fit, and the certificates do not.
#[test]
fn a_call_through_a_black_hole_has_ice_and_no_channel() {
    let call = |oversized| {
        let narrow = |actor: &mut scenarios::Actor| actor.link = limited(400, oversized);
        Played::of(scenario(30).peer(None).with(narrow).peer(None), 1)
    };
    let hole = call(Oversized::Drop);
    assert!(hole.ice_connected(0, 1).is_some() && !hole.connected(0, 1), "{}", hole.story());
    for oversized in [Oversized::Reject, Oversized::Fragment] {
        let played = call(oversized);
        assert!(played.connected(0, 1), "{oversized:?}: {}", played.story());
    }
}

// ---- corruption

//= https://www.rfc-editor.org/rfc/rfc768
//# Checksum is the 16-bit one's complement of the one's complement sum of a
//# pseudo header of information from the IP header, the UDP header, and the
//# data,  padded  with zero octets  at the end (if  necessary)  to  make  a
//# multiple of two octets.
#[test]
fn a_corrupted_datagram_crosses_nats_and_is_dropped_by_its_receiver() {
    play(async |net| {
        let realm = net.nat(nat::behavior(
            scenarios::Dependence::EndpointIndependent,
            scenarios::Dependence::EndpointIndependent,
            scenarios::FilterState::PerMapping,
        ));
        let bad = Link { up: OneWay { corrupt_ppm: 1_000_000, ..way(10) }, down: way(10) };
        let (outside, inside) = (net.boot(LINK), net.boot_in(realm, bad));
        let (ours, theirs) = (inside.bind_udp(any(1)).await?, outside.bind_udp(any(2)).await?);
        ours.send_to(b"x", at(&outside, 2)).await?;
        assert_eq!(receive(&theirs).await, None);
        let record = net.record();
        assert_eq!(count(&record, |event| matches!(event, PacketEvent::Corrupted { .. })), 1);
        assert_eq!(drops(&record, Drop::Checksum), 1);
        let created = |what: &What| matches!(what, What::Nat(NatEvent::Created(_)));
        assert_eq!(record.events.iter().filter(|event| created(&event.what)).count(), 1, "the NAT does not look");
        Ok(())
    });
}

#[test]
fn one_in_ten_is_corrupted_where_one_in_ten_is_asked_for() {
    let bad = OneWay { corrupt_ppm: 100_000, ..way(10) };
    let arrived = datagrams(Link::both(bad), 10_000).len();
    assert!((8880..=9120).contains(&arrived), "{arrived} of 10,000 arrived");
    let (took, _) = transfer(Link::both(bad), 500_000);
    assert!(took > transfer(link(10), 500_000).0, "segments are sent again, and every byte arrives");
}

// ---- all together

/// A call over links with all settings, which change in the middle.
fn all_at_once() -> Builder {
    let model = GilbertElliott { p_ppm: 5_000, r_ppm: 300_000, h_ppm: 100_000, k_ppm: 1_000_000 };
    let up = OneWay {
        jitter: Jitter::Pareto { mean: ms(4) },
        loss_ppm: 5_000,
        burst_loss: Some(model),
        corrupt_ppm: 10_000,
        duplicate_ppm: 10_000,
        reorder_ppm: 10_000,
        bandwidth_bps: Some(2_000_000),
        queue: Queue::Bytes(20_000),
        mtu: Some(500),
        oversized: Oversized::Fragment,
        ..way(9)
    };
    let down = OneWay {
        jitter: Jitter::Normal { mean: ms(8), deviation: ms(3) },
        mtu: Some(400),
        oversized: Oversized::Reject,
        ..way(5)
    };
    let home = scenarios::profile("home-median").and_then(|profile| profile.behavior).expect("a shipped profile");
    let change = |link| Action::Machine(Machine::Actor(ActorIndex(0)), MachineAction::Link(link));
    scenario(40)
        .home(home.clone())
        .home(home)
        .peer(0)
        .with(|actor| actor.link = Link { up, down })
        .peer(1)
        .with(|actor| actor.link = Link { up: down, down: up })
        .at(Duration::from_secs(10), change(Link { up: down, down: up }))
        .at(Duration::from_secs(20), change(link(10)))
        .at(Duration::from_secs(25), change(Link { up, down }))
}

#[test]
fn with_all_settings_at_once_no_promise_is_broken_and_a_seed_is_one_run() {
    let scenario = Arc::new(all_at_once().build());
    let mut seen = [0; 4];
    for seed in 0..5 {
        let outcome = sim::run::run(&scenario, seed).unwrap_or_else(|crash| panic!("{crash:?}"));
        assert_eq!(outcome.violations, [], "seed {seed}");
        let again = sim::run::record(&scenario, seed).unwrap_or_else(|crash| panic!("{crash:?}"));
        assert_eq!(sim::hash::event_hash(&again), sim::hash::event_hash(&outcome.record), "seed {seed}");
        let record = &outcome.record;
        seen[0] += count(record, |event| matches!(event, PacketEvent::Fragmented { .. }));
        seen[1] += count(record, |event| matches!(event, PacketEvent::Corrupted { .. }));
        seen[2] += count(record, |event| matches!(event, PacketEvent::FragmentationNeeded { .. }));
        seen[3] += drops(record, Drop::Checksum);
    }
    assert!(seen.iter().all(|count| *count > 0), "each happened: {seen:?}");
}

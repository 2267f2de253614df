//! Measures the cost of a Binding request without sockets, and with them beside a program that sends everything back.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use server::net::Tokio;
use server::stun::{Origin, answer};
use server::{Config, Server};

/// As many clients as ask at once, and requests of each.
const CLIENTS: usize = 16;
const WINDOW: usize = 8;

fn binding(c: &mut Criterion) {
    let from: SocketAddr = ([192, 0, 2, 1], 32_853).into();
    let four = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| [3478, 3479].map(|port| SocketAddr::from((ip, port))));
    let four = four.concat();
    let plain = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let change = [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12], &[0, 3, 0, 4, 0, 0, 0, 6]].concat();
    let mut out = Vec::new();
    for (name, request, addresses) in [("plain", &plain, &four[..1]), ("change both", &change, &four[..])] {
        let origin = Origin { addresses, index: 0 };
        assert!(answer(request, from, origin, &mut out).is_some());
        c.bench_function(&format!("stun/binding/{name}"), |b| {
            b.iter(|| answer(black_box(request), from, origin, &mut out));
        });
    }
    c.bench_function("stun/garbage", |b| {
        b.iter(|| answer(black_box(&plain[..19]), from, Origin { addresses: &four[..1], index: 0 }, &mut out));
    });
}

/// Every client sends its requests, then takes the answers.
#[expect(clippy::disallowed_methods, reason = "nothing is simulated here, and the echo must not share a thread")]
fn sockets(c: &mut Criterion) {
    let echo = UdpSocket::bind("127.0.0.1:0").expect("port 0 is free");
    let echoing = echo.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..length], from);
        }
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let config = Config { listen: Vec::new(), stun: Some(([127, 0, 0, 1], 0).into()), ..Config::default() };
    let server = runtime.block_on(Server::bind(Tokio, config)).expect("port 0 is free");
    let address = server.address("stun").expect("asked for");
    runtime.spawn(server.run());
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let mut group = c.benchmark_group("stun/sockets");
    group.throughput(Throughput::Elements((CLIENTS * WINDOW) as u64));
    for (name, to) in [("binding", address), ("echo", echoing)] {
        let clients: Vec<UdpSocket> = (0..CLIENTS)
            .map(|_| {
                let client = UdpSocket::bind("127.0.0.1:0").expect("port 0 is free");
                client.connect(to).expect("loopback");
                client.set_read_timeout(Some(Duration::from_secs(5))).expect("a duration");
                client
            })
            .collect();
        let mut buffer = [0; 2048];
        group.bench_function(name, |b| {
            b.iter(|| {
                for client in &clients {
                    for _ in 0..WINDOW {
                        client.send(black_box(&request)).expect("loopback takes it");
                    }
                }
                for client in &clients {
                    for _ in 0..WINDOW {
                        client.recv(&mut buffer).expect("it answers");
                    }
                }
            });
        });
    }
}

criterion_group!(benches, binding, sockets);
criterion_main!(benches);

//! Measures the cost of a Binding request without sockets.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, criterion_group, criterion_main};
use server::stun::{Origin, answer};

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

criterion_group!(benches, binding);
criterion_main!(benches);

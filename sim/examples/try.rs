use std::sync::Arc;
fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap();
    let seed: u64 = args.next().map_or(1, |s| s.parse().unwrap());
    let n: u64 = args.next().map_or(1, |s| s.parse().unwrap());
    let scenario = Arc::new(scenarios::load(&name).unwrap_or_else(|e| panic!("{e}")));
    for s in seed..seed + n {
        #[allow(clippy::disallowed_methods)]
        let t = std::time::Instant::now();
        match sim::run::run(&scenario, s) {
            Ok(o) => {
                println!(
                    "seed {s} {} events {} wall {:?} violations {:?}",
                    o.hash,
                    o.record.events.len(),
                    t.elapsed(),
                    o.violations
                );
                if std::env::var("SHOW").is_ok() {
                    for e in &o.record.events {
                        if !matches!(e.what, sim::event::What::Packet(_) | sim::event::What::Nat(_)) {
                            println!("{}", o.record.json_line(e).chars().take(260).collect::<String>());
                        }
                    }
                }
                if std::env::var("TAIL").is_ok() {
                    println!("{}", o.record.json_line(o.record.events.last().unwrap()));
                }
            }
            Err(c) => println!("crash {c:?}"),
        }
    }
}

//! Measures the cost of rendering a page, and of reading and comparing two results.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use reports::diff::Diff;
use reports::model::{Case, Finding, Opening, Suite, VERSION, Verdict};
use reports::{Detail, Frames, Replay, Results, Writer};

const WALL: Duration = Duration::from_millis(40);

/// A page with all events of a run and their frames, and the same with the events repeated until there are 100,000.
fn html(c: &mut Criterion) {
    let mut group = c.benchmark_group("html");
    group.sample_size(10);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    let result = mesh_6(&dir);
    group.bench_function("mesh-6", |bench| bench.iter(|| reports::html(std::slice::from_ref(&result))));
    let file = dir.join("mesh-6-1/events.jsonl");
    let text = std::fs::read_to_string(&file).expect("events");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("tear-down")).collect();
    let many: String = lines.iter().cycle().take(100_000).flat_map(|line| [*line, "\n"]).collect();
    std::fs::write(&file, many).expect("a scratch file");
    group.bench_function("100,000 events", |bench| bench.iter(|| reports::html(std::slice::from_ref(&result))));
    group.finish();
}

/// Two results of 10,000 cases, of which 100 differ.
fn diff(c: &mut Criterion) {
    let before = written(Suite::Conformance, (0..10_000).map(|n| case(n, Verdict::Pass)).collect());
    let failing = |n| if n % 100 == 0 { Verdict::Fail } else { Verdict::Pass };
    let after = written(Suite::Conformance, (0..10_000).map(|n| case(n, failing(n))).collect());
    let read = |text: &str| Results::parse(text.as_bytes(), PathBuf::new()).expect("a result");
    let mut group = c.benchmark_group("diff");
    group.sample_size(10);
    group.bench_function("10,000 cases", |bench| {
        bench.iter(|| Diff::of(&read(&before), &read(&after)).expect("comparable"));
    });
    group.finish();
}

fn mesh_6(dir: &Path) -> Results {
    let scenario = Arc::new(scenarios::load("mesh-6").expect("it is shipped"));
    let (outcome, capture) = sim::run::run_captured(&scenario, 1).expect("no crash");
    let replay = Replay { program: "glare".to_owned(), scenario: "mesh-6".to_owned(), options: Vec::new() };
    reports::write_outcome(dir, &outcome, WALL, &replay).expect("a scratch folder");
    let frames = Frames::of(&outcome.record, &capture);
    let mut file = std::fs::File::create(dir.join("frames.jsonl")).expect("a scratch file");
    frames.write(&mut file).expect("a scratch file");
    let events = Some("mesh-6-1/events.jsonl".to_owned());
    let mut case = reports::case_of_outcome(&outcome, WALL, &replay, Detail::Full, events);
    frames.add_to(&mut case, "run.pcapng", Some("frames.jsonl".to_owned()));
    let text = written(Suite::Sim, vec![case]);
    Results { dir: dir.to_owned(), ..Results::parse(text.as_bytes(), PathBuf::new()).expect("a result") }
}

fn case(n: usize, verdict: Verdict) -> Case {
    let id = format!("group-{}/case-{n}", n % 40);
    let finding = Finding { rule: id.clone(), message: format!("{id} is broken"), ..Finding::default() };
    let replay = format!("glare conformance --url ws://127.0.0.1:8787/ --case {id}");
    let findings = if verdict == Verdict::Pass { Vec::new() } else { vec![finding] };
    Case { verdict, wall: 0.01, findings, ..Case::new(id.clone(), format!("What {id} asks."), replay) }
}

fn written(suite: Suite, cases: Vec<Case>) -> String {
    let opening = Opening {
        version: VERSION,
        suite,
        name: "bench".to_owned(),
        tool: "glare".to_owned(),
        target: "reference server".to_owned(),
        command: "glare".to_owned(),
        started_ms: 1_700_000_000_000,
    };
    let mut writer = Writer::new(Vec::new(), &opening).expect("memory");
    cases.into_iter().try_for_each(|case| writer.case(case)).expect("memory");
    String::from_utf8(writer.close(WALL).expect("memory")).expect("UTF-8")
}

criterion_group!(benches, html, diff);
criterion_main!(benches);

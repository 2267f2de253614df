//! No text makes the loader panic, and its errors always have a line.

use proptest::collection::vec;
use proptest::prelude::*;
use scenarios::{parse, shipped};

/// Pieces that scenario files are made of, and some that they should not be.
const PIECES: &[&str] = &[
    "[[actor]]\n",
    "[[network]]\n",
    "[[step]]\n",
    "[server]\n",
    "[link]\n",
    "[expect]\n",
    "name = \"ana\"\n",
    "name = \"server\"\n",
    "= ",
    "\"",
    "[",
    "]",
    "{ }",
    "{",
    "}",
    "\n",
    "count = 200\n",
    "count = 4294967295\n",
    "every = \"1h\"\n",
    "at = \"720h\"\n",
    "do = \"boot\"\n",
    "do = \"link\"\n",
    "do = \"partition\"\n",
    "machine = \"server\"\n",
    "from = [\"ana\"]\n",
    "to = [\"server\"]\n",
    "network = \"ana\"\n",
    "nat = \"open\"\n",
    "nat = \"home-linux\"\n",
    "behind = \"ana\"\n",
    "subnet = \"10.0.0.0/8\"\n",
    "subnet = \"255.255.255.252/30\"\n",
    "subnet = \"0.0.0.0/8\"\n",
    "external = 256\n",
    "external = [\"1.2.3.4\"]\n",
    "address = \"0.0.0.0\"\n",
    "new-address = true\n",
    "link = { loss = \"100%\" }\n",
    "link = { up = { mtu = 68, oversized = \"drop\" }, queue = \"2kB\" }\n",
    "gilbert-elliott = { p = \"1%\", r = \"25%\" }\n",
    "jitter = { distribution = \"pareto\", mean = \"1s\" }\n",
    "joins = \"never\"\n",
    "duration = \"0s\"\n",
    "unconnected = [[], [\"ana\", \"ana\"]]\n",
    "nan",
    "inf",
    "-1",
    "1e400",
    "0x7f",
    "1979-05-27",
    "'''",
    "é",
    "\0",
    "\r",
    "#",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_scenarios_never_panic(which in any::<prop::sample::Index>(), edits in vec((any::<prop::sample::Index>(), 0_usize..40, any::<prop::sample::Index>()), 1..6)) {
        let texts: Vec<&str> = shipped().map(|shipped| shipped.text).collect();
        let mut text: Vec<char> = which.get(&texts).chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, piece.get(PIECES).chars());
        }
        check(&text.into_iter().collect::<String>());
    }

    #[test]
    fn shuffled_lines_never_panic(which in any::<prop::sample::Index>(), order in vec(any::<prop::sample::Index>(), 0..60)) {
        let texts: Vec<&str> = shipped().map(|shipped| shipped.text).collect();
        let lines: Vec<&str> = which.get(&texts).lines().collect();
        check(&order.iter().map(|line| *line.get(&lines)).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn pieces_in_any_order_never_panic(pieces in vec(prop::sample::select(PIECES), 0..40)) {
        check(&pieces.concat());
        check(&format!("name = \"x\"\nduration = \"720h\"\n{}", pieces.concat()));
    }

    #[test]
    fn any_text_never_panics(text in any::<String>()) {
        check(&text);
    }
}

/// Every prefix of every shipped file.
#[test]
fn cut_scenarios_never_panic() {
    for shipped in shipped() {
        for (end, _) in shipped.text.char_indices() {
            check(&shipped.text[..end]);
        }
    }
}

#[test]
fn deep_and_long_texts_never_panic() {
    check(&"[".repeat(100_000));
    check(&format!("a = {}", "{ a = ".repeat(10_000)));
    check(&format!("name = \"{}\"", "é".repeat(100_000)));
    let chain: String = (1..2000)
        .map(|index| format!("[[network]]\nname = \"n{index}\"\nnat = \"home-linux\"\nbehind = \"n{}\"\n", index - 1))
        .collect();
    check(&format!("name = \"x\"\nduration = \"1s\"\n[[actor]]\nname = \"a\"\n{chain}"));
}

fn check(text: &str) {
    let lines = text.split('\n').count();
    if let Err(error) = parse("x.toml", text) {
        assert!(!error.problems.is_empty(), "{text}");
        for problem in &error.problems {
            let line = problem.line.expect("a line");
            assert!((1..=lines).contains(&line), "{problem:?} of {lines} lines\n{text}");
            assert!(!problem.message.chars().any(char::is_control), "{problem:?}");
        }
    }
}

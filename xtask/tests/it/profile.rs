//! The debug profile: what is not optimised is what no simulation uses.

use std::path::Path;
use std::process::Command;

#[test]
fn nothing_that_a_simulation_uses_is_left_without_optimisation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let crates = manifest["profile"]["dev"]["package"].as_table().expect("a list");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--offline", "--package", "sim", "--edges", "normal", "--prefix", "none"]);
    let tree = cargo.current_dir(root).output().expect("cargo runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    let used: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(used.contains(&"rtc") && crates.contains_key("clap"), "both lists are read");
    for name in crates.keys().filter(|name| *name != "*") {
        assert!(!used.contains(&name.as_str()), "{name} would slow down simulations: their crates share its functions");
    }
}

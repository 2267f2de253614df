//! Lists the shipped dialect files for the crate, so that adding one takes no code.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("Cargo sets it")).join("../dialects");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of dialects")
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8");
        // Not a dialect, but the defaults for dialects of adapters.
        if name != "adapter-defaults" {
            writeln!(list, "    ({name:?}, include_str!({:?})),", file.display().to_string()).expect("a string");
        }
    }
    list.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR").expect("Cargo sets it")).join("dialects.rs");
    fs::write(out, list).expect("the build's own folder");
}

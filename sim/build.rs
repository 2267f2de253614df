//! Builds the library that is preloaded into foreign programs. `src/foreign/library.rs` embeds it.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let sources = Path::new("shim");
    println!("cargo::rerun-if-changed={}", sources.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("shim.so");
    let mut files: Vec<_> = fs::read_dir(sources)
        .expect("the sources are beside this file")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    // The order is part of the library's layout, and so of every run.
    files.sort();
    // The flags are the library's own, whatever the profile of this build: it must be the same in all of them.
    let compiler = cc::Build::new().no_default_flags(true).warnings(false).get_compiler();
    let mut command = compiler.to_command();
    command.args([
        "-std=gnu11",
        "-O2",
        "-g0",
        "-fPIC",
        "-fvisibility=hidden",
        "-fno-plt",
        "-Wall",
        "-Wextra",
        "-shared",
    ]);
    command.arg("-o").arg(&out).args(files).args(["-ldl", "-lpthread"]);
    let status = command.status().unwrap_or_else(|error| panic!("cannot run the C compiler {command:?}: {error}"));
    assert!(status.success(), "the C compiler failed: {command:?}");
}

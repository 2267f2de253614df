//! The npm packages: the launcher, and what it says where it has nothing to launch.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{packed, refused, said, scratch};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Installs from the packed files into an empty folder.
fn installed(name: &str, packages: &[&str], options: &[&str]) -> Option<PathBuf> {
    let packed = packed()?;
    let folder = scratch(name);
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(options)
        .current_dir(&folder);
    npm.env("npm_config_cache", folder.join("cache"));
    let files = packages.iter().map(|package| packed.join(format!("glare-webrtc-{package}-{VERSION}.tgz")));
    let done = npm.args(files).output().expect("npm starts");
    assert!(done.status.success(), "{done:?}");
    Some(folder)
}

/// Runs the installed command; `before` is JavaScript that is run before the launcher.
fn run(folder: &Path, before: &str, arguments: &[&str]) -> Output {
    let preload = folder.join("before.js");
    fs::write(&preload, before).expect("a scratch file");
    let mut node = Command::new("node");
    node.arg("--require").arg(preload).arg(folder.join("node_modules/.bin/glare")).args(arguments);
    node.env_remove("npm_command").output().expect("node starts")
}

#[test]
fn the_command_runs_the_program_and_ends_as_it_ends() {
    let Some(folder) = installed("npm", &["glare", "linux-x64"], &[]) else { return };
    let command = folder.join("node_modules/.bin/glare");
    let run = |arguments: &[&str]| Command::new(&command).args(arguments).output().expect("the command starts");
    assert_eq!(said(&run(&["sim", "a b"])), (Some(0), "stand-in: sim a b\n".to_owned(), String::new()));
    assert_eq!(run(&["exit", "3"]).status.code(), Some(3));
    assert_eq!(run(&["signal", "KILL"]).status.code(), Some(128 + 9));
    assert_eq!(run(&["signal", "SEGV"]).status.code(), Some(128 + 11), "the program's own, as its file is not damaged");
    let mut npx = Command::new("npx");
    npx.args(["--offline", "@glare-webrtc/glare", "program"]).current_dir(&folder);
    assert_eq!(said(&npx.output().expect("npx starts")).1, "npx @glare-webrtc/glare\n", "what it prints can be pasted");
}

#[test]
fn a_request_to_end_reaches_the_program() {
    let Some(folder) = installed("npm-signal", &["glare", "linux-x64"], &[]) else { return };
    let mut command = Command::new("node");
    command.arg(folder.join("node_modules/.bin/glare")).arg("wait").stdout(Stdio::piped());
    let mut child = command.spawn().expect("node starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("kill starts").success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("UTF-8");
    assert_eq!((child.wait().expect("it ends").code(), rest.as_str()), (Some(5), "ended\n"));
}

#[test]
fn without_the_package_of_the_platform_it_says_how_to_install_it() {
    let Some(folder) = installed("npm-omit", &["glare"], &["--omit=optional"]) else { return };
    let expected = format!(
        "glare: the package @glare-webrtc/linux-x64, which contains the program, is not installed: npm leaves it out with \
         --omit=optional, and with a lock file that was written on another platform\n\
         Install again without that option, or install that package too: npm install @glare-webrtc/linux-x64@{VERSION}"
    );
    refused(&run(&folder, &linux("x64"), &[]), 2, &expected);
}

#[test]
fn a_damaged_program_is_named_with_what_to_do() {
    let Some(folder) = installed("npm-damaged", &["glare", "linux-x64"], &[]) else { return };
    let package = folder.join("node_modules/@glare-webrtc/linux-x64");
    let program = package.join("glare");
    // Not a program; a shell's syntax error; a program of which something is missing may start, and crash.
    for content in ["\x7fELF", "(", "#!/bin/sh\nkill -SEGV $$\n"] {
        fs::write(&program, content).expect("it is there");
        let (code, _, error) = said(&run(&folder, &linux("x64"), &[]));
        let start = format!("glare: {} is damaged: its SHA-256 is ", program.display());
        let end = format!("\nDelete {} and install again\n", package.display());
        assert!(code == Some(2) && error.contains(&start) && error.ends_with(&end), "{error}");
    }
    fs::remove_file(&program).expect("it is there");
    let (_, _, error) = said(&run(&folder, &linux("x64"), &[]));
    assert!(error.contains("is damaged: its SHA-256 is missing, and should be "), "{error}");
}

#[test]
fn a_platform_without_a_program_is_told_so() {
    let Some(folder) = installed("npm-platforms", &["glare", "linux-x64"], &[]) else { return };
    let say = |platform: &str, arch: &str, glibc: &str| {
        let before = format!(
            "for (const [name, value] of [['platform', {platform:?}], ['arch', {arch:?}]]) \
             Object.defineProperty(process, name, {{ value }});\n\
             process.report.getReport = () => ({{ header: {{ glibcVersionRuntime: {glibc} }} }});"
        );
        run(&folder, &before, &["sim"])
    };
    for (platform, arch) in [("darwin", "arm64"), ("win32", "x64"), ("linux", "riscv64")] {
        let expected = format!(
            "glare: there is no program for {platform} {arch}: simulations need Linux, on x86-64 or ARM64\n\
             Use the container image, or Linux in a virtual machine (on Windows: WSL 2): {}#install",
            env!("CARGO_PKG_REPOSITORY")
        );
        refused(&say(platform, arch, "'2.36'"), 2, &expected);
    }
    let musl = "glare: this system has another C library than glibc, such as Alpine's musl, and the program needs glibc 2.28 or \
                newer\nUse an image with glibc, such as node:22-slim in place of node:22-alpine";
    refused(&say("linux", "x64", "undefined"), 2, musl);
    let old = "glare: this system has glibc 2.9, and the program needs 2.28 or newer\n\
               Use a newer system or image, such as node:22-slim";
    refused(&say("linux", "x64", "'2.9'"), 2, old);
    assert_eq!(said(&say("linux", "x64", "'2.28'")).1, "stand-in: sim\n");
}

/// JavaScript that makes the platform the one of the stand-in.
fn linux(arch: &str) -> String {
    format!("Object.defineProperty(process, 'arch', {{ value: {arch:?} }});")
}

//! `install.sh`, which downloads a release: from a folder, with the same program for downloads.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{archive, executable, packed, refused, said, scratch};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// A folder of releases with a copy of the packed one.
fn released(name: &str) -> Option<std::path::PathBuf> {
    let packed = packed()?;
    let folder = scratch(name);
    let release = folder.join(format!("releases/v{VERSION}"));
    fs::create_dir_all(&release).expect("a scratch folder");
    for file in fs::read_dir(packed).expect("it is packed") {
        let file = file.expect("it is packed");
        fs::copy(file.path(), release.join(file.file_name())).expect("a scratch file");
    }
    Some(folder)
}

/// Runs the script with programs of its own in front of the system's.
fn install(folder: &Path, version: Option<&str>, programs: &[(&str, &str)]) -> Output {
    let own = folder.join("programs");
    fs::create_dir_all(&own).expect("a scratch folder");
    for (name, script) in programs {
        executable(&own.join(name), format!("#!/bin/sh\n{script}\n").as_bytes());
    }
    let mut sh = Command::new("sh");
    sh.arg(folder.join(format!("releases/v{VERSION}/install.sh"))).args(version).current_dir(folder);
    sh.env("GLARE_RELEASES", format!("file://{}/releases", folder.display())).env("HOME", folder);
    sh.env("PATH", format!("{}:{}", own.display(), std::env::var("PATH").expect("there are programs")));
    sh.output().expect("sh starts")
}

#[test]
fn it_installs_the_release_that_it_belongs_to() {
    let Some(folder) = released("install") else { return };
    let program = folder.join(".local/bin/glare");
    let (code, out, error) = said(&install(&folder, None, &[]));
    let expected = format!(
        "installed glare {VERSION}: {0}/.local/bin/glare\nadd it to PATH: export PATH=\"{0}/.local/bin:$PATH\"\n",
        folder.display()
    );
    assert_eq!((code, out), (Some(0), expected), "{error}");
    assert_eq!(said(&Command::new(&program).arg("sim").output().expect("it is installed")).1, "stand-in: sim\n");
    // Again, while it runs.
    let mut running = Command::new(&program).arg("wait").stdout(Stdio::null()).spawn().expect("it is installed");
    assert_eq!(install(&folder, Some(VERSION), &[]).status.code(), Some(0));
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

#[test]
fn a_damaged_download_is_not_installed() {
    let Some(folder) = released("install-damaged") else { return };
    let release = folder.join(format!("releases/v{VERSION}"));
    let right = fs::read_to_string(release.join("SHA256SUMS")).expect("it is packed");
    let name = format!("glare-{VERSION}-{}-unknown-linux-gnu", std::env::consts::ARCH);
    archive(&release, std::env::consts::ARCH, b"#!/bin/sh\necho something else\n");
    let (code, _, error) = said(&install(&folder, None, &[]));
    let line = right.lines().find(|line| line.ends_with(&format!("{name}.tar.gz"))).expect("it is listed");
    let start = format!("glare: the download of {name}.tar.gz is damaged: its SHA-256 is ");
    let end = format!(
        ", and should be {}\nglare: nothing was installed: try again; if a proxy or mirror is between, it may serve another file\n",
        line.split(' ').next().expect("a checksum")
    );
    assert!(code == Some(1) && error.starts_with(&start) && error.ends_with(&end), "{error}");
    fs::write(release.join("SHA256SUMS"), "").expect("a scratch file");
    let expected = format!(
        "glare: SHA256SUMS of {VERSION} does not list {name}.tar.gz: the download is damaged, or the release is incomplete: try \
         again later"
    );
    refused(&install(&folder, None, &[]), 1, &expected);
    assert!(!folder.join(".local").exists());
}

#[test]
fn a_version_that_does_not_exist_is_named() {
    let Some(folder) = released("install-version") else { return };
    let (code, _, error) = said(&install(&folder, Some("9.9.9"), &[]));
    let expected = format!(
        "glare: cannot download file://{}/releases/v9.9.9/SHA256SUMS: is 9.9.9 a release, and is the network there?\n",
        folder.display()
    );
    assert!(code == Some(3) && error.ends_with(&expected), "{error}");
    refused(&install(&folder, Some("latest"), &[]), 2, "glare: `latest` is not a version, such as 0.1.0");
}

#[test]
fn a_system_without_a_program_is_told_so() {
    let Some(folder) = released("install-systems") else { return };
    let uname = |system: &str, machine: &str| format!("[ \"$1\" = -s ] && echo {system} || echo {machine}");
    let linux = uname("Linux", "x86_64");
    let say = |uname: &str, glibc: &str| install(&folder, None, &[("uname", uname), ("getconf", glibc)]);
    let mac = format!(
        "glare: there is no program for Darwin: simulations need Linux\nglare: use the container image, or Linux in a virtual \
         machine (on Windows: WSL 2): {REPOSITORY}#install"
    );
    refused(&say(&uname("Darwin", "arm64"), "exit 1"), 2, &mac);
    let risc = format!(
        "glare: there is no program for Linux on riscv64: build it from source with cargo: {REPOSITORY}#from-source"
    );
    refused(&say(&uname("Linux", "riscv64"), "echo glibc 2.36"), 3, &risc);
    let musl = "glare: this system has another C library than glibc, such as Alpine's musl, and the program needs glibc 2.28 or \
                newer\nglare: use an image with glibc, such as debian:stable-slim, or build from source with cargo";
    refused(&say(&linux, "exit 1"), 3, musl);
    let old = "glare: this system has glibc 2.9, and the program needs 2.28 or newer: use a newer system, or build from source \
               with cargo";
    refused(&say(&linux, "echo glibc 2.9"), 3, old);
    assert!(!folder.join(".local").exists());
}

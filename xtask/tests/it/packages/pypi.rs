//! The wheels: which of them pip takes, and what the one without the program says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use super::{packed, refused, said, scratch};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An empty virtual environment, without pip: unpacking that takes seconds.
fn environment(name: &str) -> PathBuf {
    made(name, &["--without-pip"])
}

fn made(name: &str, options: &[&str]) -> PathBuf {
    let folder = scratch(name);
    let made = Command::new("python3").args(["-m", "venv"]).args(options).arg(&folder).output().expect("Python starts");
    assert!(made.status.success(), "{made:?}");
    folder
}

fn pip(environment: &Path, arguments: &[&str]) -> Output {
    static PIP: LazyLock<PathBuf> = LazyLock::new(|| made("pip-itself", &[]));
    let mut pip = Command::new(PIP.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "--python"])
        .arg(environment.join("bin/python"))
        .args(arguments);
    // No other folder of wheels than the one that is named.
    pip.env("PIP_CONFIG_FILE", "/dev/null").env_remove("PIP_FIND_LINKS").output().expect("Python starts")
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_wheel_with_the_program_is_installed_and_runs() {
    let Some(packed) = packed() else { return };
    let environment = environment("pip");
    let done =
        pip(&environment, &["install", "--no-index", "--find-links", packed.to_str().expect("UTF-8"), "glare-webrtc"]);
    assert!(done.status.success(), "{done:?}");
    let run =
        |arguments: &[&str]| Command::new(environment.join("bin/glare")).args(arguments).output().expect("it starts");
    assert_eq!(said(&run(&["sim", "a b"])), (Some(0), "stand-in: sim a b\n".to_owned(), String::new()));
    assert_eq!(run(&["exit", "4"]).status.code(), Some(4));
    // What `pipx run` and `uvx` call.
    let named = |arguments: &[&str]| {
        Command::new(environment.join("bin/glare-webrtc")).args(arguments).output().expect("it starts")
    };
    assert_eq!(said(&named(&["sim", "a b"])).1, "stand-in: sim a b\n");
    assert_eq!(named(&["exit", "4"]).status.code(), Some(4));
    assert_eq!(said(&named(&["program"])).1, "glare-webrtc\n", "what it prints can be pasted");
    let shown = said(&pip(&environment, &["show", "glare-webrtc"])).1;
    assert!(shown.contains(&format!("Version: {VERSION}")), "{shown}");
    let checked = pip(&environment, &["check"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(pip(&environment, &["uninstall", "--yes", "glare-webrtc"]).status.success());
    assert!(!environment.join("bin/glare").exists());
}

#[test]
fn each_platform_gets_the_wheel_that_fits_and_others_the_one_that_says_why() {
    let Some(packed) = packed() else { return };
    let environment = environment("pip-platforms");
    for (platform, expected) in [
        ("manylinux_2_28_x86_64", "manylinux_2_28_x86_64"),
        ("manylinux_2_28_aarch64", "manylinux_2_28_aarch64"),
        ("manylinux_2_17_x86_64", "any"),
        ("musllinux_1_2_x86_64", "any"),
        ("macosx_14_0_arm64", "any"),
        ("win_amd64", "any"),
    ] {
        let to = environment.join(platform);
        let (from, to_text) = (packed.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
        let source = ["--no-index", "--find-links", from, "--only-binary=:all:"];
        let done = pip(
            &environment,
            &[&["download", "--dest", to_text, "--platform", platform], &source[..], &["glare-webrtc"]].concat(),
        );
        assert!(done.status.success(), "{done:?}");
        let wheel = fs::read_dir(&to).expect("a folder").next().expect("one wheel").expect("one wheel").file_name();
        assert!(wheel.to_str().expect("UTF-8").ends_with(&format!("-{expected}.whl")), "{platform}: {wheel:?}");
    }
}

#[test]
fn the_wheel_without_the_program_says_why() {
    let Some(packed) = packed() else { return };
    let environment = environment("pip-why");
    let wheel = packed.join(format!("glare_webrtc-{VERSION}-py3-none-any.whl"));
    let done = pip(&environment, &["install", "--no-index", wheel.to_str().expect("UTF-8")]);
    assert!(done.status.success(), "{done:?}");
    let say = |system: &str, machine: &str, libc: &str| {
        let code = format!(
            "import platform, runpy, sys\nplatform.system = lambda: {system:?}\nplatform.machine = lambda: {machine:?}\n\
             platform.libc_ver = lambda: {libc}\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')"
        );
        let mut python = Command::new(environment.join("bin/python"));
        python.args(["-c", &code]).arg(environment.join("bin/glare")).output().expect("Python starts")
    };
    for (system, machine) in [("Darwin", "arm64"), ("Windows", "AMD64"), ("Linux", "riscv64")] {
        let expected = format!(
            "glare: there is no program for {system} {machine}: simulations need Linux, on x86-64 or ARM64\n\
             Use the container image, or Linux in a virtual machine (on Windows: WSL 2): {}#install",
            env!("CARGO_PKG_REPOSITORY")
        );
        refused(&say(system, machine, "('', '')"), 2, &expected);
    }
    let musl = "glare: this system has another C library than glibc, such as Alpine's musl, and the program needs glibc 2.28 or \
                newer\nUse an image with glibc, such as python:3.13-slim in place of python:3.13-alpine";
    refused(&say("Linux", "x86_64", "('musl', '1.2.5')"), 2, musl);
    let old = "glare: this system has glibc 2.17, and the program needs 2.28 or newer\n\
               Use a newer system or image, such as python:3.13-slim";
    refused(&say("Linux", "x86_64", "('glibc', '2.17')"), 2, old);
    let wrong = "glare: the package without the program is installed, although there is one with the program for this system\n\
                 Install again with a newer pip: pip install --upgrade pip, then pip install --force-reinstall glare-webrtc";
    refused(&say("Linux", "x86_64", "('glibc', '2.36')"), 2, wrong);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn pip_refuses_a_damaged_wheel() {
    let Some(packed) = packed() else { return };
    let environment = environment("pip-damaged");
    let name = format!("glare_webrtc-{VERSION}-py3-none-manylinux_2_28_x86_64.whl");
    let mut wheel = fs::read(packed.join(&name)).expect("it is packed");
    // A byte of the program, after the entry's header and name.
    let name_of_it = format!("glare_webrtc-{VERSION}.data/scripts/glare");
    let at = wheel.windows(name_of_it.len()).position(|bytes| bytes == name_of_it.as_bytes()).expect("an entry");
    wheel[at + name_of_it.len() + 20] ^= 0xff;
    let damaged = environment.join(name);
    fs::write(&damaged, wheel).expect("a scratch file");
    let done = pip(&environment, &["install", "--no-index", damaged.to_str().expect("UTF-8")]);
    assert!(!done.status.success(), "{done:?}");
}

//! `glare conformance --record`, `glare conformance replay` and `--repeat`, from the outside.

use std::path::{Path, PathBuf};

use crate::glare;
use crate::server::Server;

const TOKEN: &str = "token-5ecret";

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recordings").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn server() -> (Server, String) {
    let mut server =
        Server::start_with(&["--dialects", "mesh", "--port", "0", "--no-stun"], &[("GLARE_TOKENS", TOKEN)]);
    let address = server.address("mesh  ws://");
    (server, format!("ws://{address}?token={TOKEN}"))
}

#[test]
fn a_case_is_kept_without_secrets_and_played_again() {
    let ((_server, url), folder) = (server(), folder("kept"));
    let (dir, out) = (folder.join("wire"), folder.join("result"));
    let (dir, out) = (dir.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    let run = glare(&["conformance", "--url", &url, "--bearer", TOKEN, "--record", dir, "--out", out]);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    let mut files = 0;
    for dir in [dir, out] {
        for file in std::fs::read_dir(dir).expect("it was written").flatten() {
            let text = std::fs::read_to_string(file.path()).expect("UTF-8");
            assert!(!text.contains(TOKEN), "{} has the token in it", file.path().display());
            files += 1;
        }
    }
    assert!(files > 50 && !run.out().contains(TOKEN), "{files} files\n{}", run.out());

    let file = format!("{dir}/mesh.unicast.jsonl");
    let replay = |more: &[&str]| glare(&[&["conformance", "replay", &file], more].concat());
    let same = replay(&["--url", &url]);
    assert_eq!(same.code(), 0, "{}{}", same.out(), same.err());
    assert!(same.out().contains("SAME") && same.out().contains("mesh/unicast"), "{}", same.out());
    let simulated = replay(&["--sim", "--seed", "7", "--delay", "40ms"]);
    assert_eq!(simulated.code(), 0, "{}{}", simulated.out(), simulated.err());
    assert_eq!(replay(&["--sim", "--seed", "7", "--delay", "40ms"]).out(), simulated.out());
    // Nobody is let in without the token; nobody is there.
    for url in [url.split('?').next().expect("a URL"), "ws://127.0.0.1:9/"] {
        let run = replay(&["--url", url]);
        assert_eq!(run.code(), 3, "{}{}", run.out(), run.err());
    }
    let text = std::fs::read_to_string(&file).expect("it was written");
    let changed = text.replacen(r#"\"action\":\"joined\""#, r#"\"action\":\"peer-left\""#, 1);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).expect("ours");
    let differs = replay(&["--url", &url]);
    assert_eq!(differs.code(), 1, "{}{}", differs.out(), differs.err());
    assert!(differs.out().contains("DIFFERS"), "{}", differs.out());
}

#[test]
fn a_bad_file_is_refused() {
    let folder = folder("bad");
    std::fs::create_dir_all(&folder).expect("the target folder is ours");
    let file = folder.join("bad.jsonl");
    let file = file.to_str().expect("UTF-8");
    let head = |dialect: &str| {
        format!(
            r#"{{"recording":1,"dialect":"{dialect}","case":"a/b","verdict":"pass","url":"ws://127.0.0.1:9/","clients":["ana"]}}"#
        )
    };
    for (text, says) in [
        ("nonsense".to_owned(), "bad.jsonl:1: is not a recording"),
        (format!("{}\nnonsense", head("mesh")), "bad.jsonl:2: "),
        (head("mesh"), "bad.jsonl: no client of a/b opened a connection"),
        (head("STUN (RFC 8489, RFC 5780)"), "which is not a shipped dialect: only signaling can be replayed"),
    ] {
        std::fs::write(file, text).expect("ours");
        let run = glare(&["conformance", "replay", file]);
        assert_eq!(run.code(), 2, "{}", run.err());
        assert!(run.err().contains(says), "{says:?} is not in\n{}", run.err());
    }
    let run = glare(&["conformance", "replay", "/nowhere.jsonl"]);
    assert_eq!((run.code(), run.err().contains("/nowhere.jsonl: cannot be read")), (2, true), "{}", run.err());
}

#[test]
fn runs_are_repeated_and_counted() {
    let run = glare(&["conformance", "--sim", "--case", "mesh/unicast", "--repeat", "3", "--seed", "4"]);
    assert_eq!(run.code(), 0, "{}", run.out());
    assert!(
        run.out().starts_with("PASS  3 runs of 3 cases on ws://reference:8787/: none fails; a run takes "),
        "{}",
        run.out()
    );
    // A server without tokens fails the case that is about them, in every run.
    let folder = folder("known");
    std::fs::create_dir_all(&folder).expect("the target folder is ours");
    let known = folder.join("known.toml");
    std::fs::write(&known, "[[known]]\ncase = \"mesh/unicast\"\nreason = \"a test\"\n").expect("ours");
    let known = known.to_str().expect("UTF-8");
    let run = glare(&["conformance", "--sim", "--case", "mesh/unicast", "--repeat", "2", "--known", known]);
    assert_eq!(run.code(), 1, "{}", run.out());
    assert!(
        run.out().contains("fails  mesh/unicast: in 2 of 2 runs, first in run 1: pass: it is known to fail"),
        "{}",
        run.out()
    );
}

//! `glare nat-matrix`.

use crate::glare;

#[test]
fn pairs_of_profiles_are_a_table_json_and_a_page() {
    let profiles = ["nat-matrix", "--profiles", "open,port-restricted-cone,symmetric"];
    let run = glare(&profiles);
    assert_eq!(run.code(), 0, "{}{}", run.out(), run.err());
    assert!(run.out().contains("PASS  9 pairs: 6 direct, 0 relayed, 3 failed; all as predicted"), "{}", run.out());
    let run = glare(&[&profiles[..], &["--turn", "--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&run.out()).expect("JSON");
    let cells = json["cells"].as_array().expect("cells");
    let relayed = cells.iter().filter(|cell| cell["result"] == "relayed").count();
    assert_eq!((run.code(), cells.len(), relayed), (0, 9, 3), "{}", run.out());
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/nat-matrix.html");
    let run = glare(&[&profiles[..], &["--format", "html", "--output", file]].concat());
    assert_eq!(run.code(), 0, "{}", run.err());
    let page = std::fs::read_to_string(file).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("port-restricted-cone with symmetric"), "{page}");
}

#[test]
fn wrong_profiles_are_named_with_what_would_be_right() {
    for (profiles, says) in [
        ("symetric", "--profiles: there is no NAT profile `symetric`; did you mean `symmetric`?"),
        ("open,open", "--profiles: `open` is listed twice: remove one"),
    ] {
        let run = glare(&["nat-matrix", "--profiles", profiles]);
        assert_eq!(run.code(), 2, "{}", run.out());
        assert!(run.err().contains(says), "{}", run.err());
    }
}

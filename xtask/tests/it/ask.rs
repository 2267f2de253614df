//! `glare ask`: questions over runs that `sim` has written, and over the stories of a campaign.

use std::fs;

use crate::campaign::{folder, short};
use crate::glare;

#[test]
fn what_precedes_and_follows_is_found_in_runs() {
    let dir = folder("ask-runs");
    for seed in ["1", "2"] {
        let run = glare(&["sim", "--scenario", "mesh-3", "--seed", seed, "--out", &format!("{dir}/{seed}"), "--quiet"]);
        assert_eq!(run.code(), 0, "{}", run.err());
    }
    let ask = |query: &str| {
        let run = glare(&["ask", &dir, query]);
        assert_eq!((run.code(), run.err().as_str()), (0, ""), "{query}");
        run.out()
    };
    // Three peers have two connections each, in two runs.
    let all = ask("channel-open");
    assert!(all.ends_with("\n12 events in 2 of 2 runs\n"), "{all}");
    assert!(all.starts_with(&format!("{dir}/1/mesh-3-1\n  0.")), "{all}");
    assert!(all.contains(" s  ben  channel-open attempt=1 peer="), "{all}");
    assert!(
        ask("channel-open of X peer=P preceded by opened of X peer=P within 10s")
            .ends_with("12 events in 2 of 2 runs\n")
    );
    assert_eq!(ask("channel-open of X peer=P not preceded by opened of X peer=P"), "0 events in 0 of 2 runs\n");
    assert!(ask("closed of ana why=leaving preceded by tear-down").ends_with("\n4 events in 2 of 2 runs\n"));
    // What may come after the end of the run is not known.
    let run = glare(&["ask", &dir, "closed of ana why=leaving not followed by channel-open within 1h"]);
    assert_eq!(run.out(), "0 events in 0 of 2 runs\n");
    assert!(run.code() == 0 && run.err().starts_with("4 more are too close to the end"), "{}", run.err());
}

#[test]
fn the_stories_of_a_campaign_are_asked_by_playing_them_again() {
    let (dir, profile) = (folder("ask-campaign"), short("ask-profile"));
    assert_eq!(glare(&["campaign", "--profile", &profile, "--seeds", "0..6", "--out", &dir, "--quiet"]).code(), 0);
    let query = "received of X message=joined";
    let [one, many] = ["1", "3"].map(|jobs| glare(&["ask", &dir, query, "--jobs", jobs]).out());
    assert_eq!(one, many);
    assert!(one.starts_with("story 0\n") && one.ends_with(" of 6 runs\n"), "{one}");
    // The events of a story are those of its file.
    let (file, out) = (format!("{dir}-3.toml"), folder("ask-story"));
    fs::write(&file, glare(&["campaign", "story", &dir, "3"]).out()).expect("a scratch file");
    assert_eq!(glare(&["sim", "--scenario", &file, "--seed", "3", "--out", &out, "--quiet"]).code(), 0);
    let of_file = glare(&["ask", &out, query]).out();
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("  ")).map(str::to_owned).collect::<Vec<_>>();
    let story = one.split("story ").find(|part| part.starts_with("3\n")).expect("it has answers");
    assert_eq!(lines(story), lines(&of_file));
}

#[test]
fn a_question_that_means_nothing_is_no_success() {
    let dir = folder("ask-wrong");
    assert_eq!(glare(&["sim", "--scenario", "mesh-3", "--out", &dir, "--quiet"]).code(), 0);
    for (words, code, says) in [
        (
            [&*dir, "chanel-open"],
            4,
            "no run has an event, message or layer `chanel-open`: did you mean `channel-open`?",
        ),
        ([&dir, "closed not preceded by conected"], 4, "`conected`: did you mean `connected`?"),
        ([&dir, "closed of X preceded by opened per=X"], 4, "no `opened` has a field `per`"),
        ([&dir, "closed without opened"], 2, "`without` is not understood"),
        (["no-such-folder", "closed"], 2, "cannot read no-such-folder"),
    ] {
        let run = glare(&[&["ask"], &words[..]].concat());
        assert_eq!(run.code(), code, "{words:?}: {}{}", run.out(), run.err());
        assert!(run.err().contains(says), "{words:?}: {}", run.err());
    }
    let empty = folder("ask-empty");
    fs::create_dir_all(&empty).expect("a scratch folder");
    let run = glare(&["ask", &empty, "closed"]);
    assert!(run.code() == 4 && run.err().contains("there is no run in"), "{}", run.err());
    fs::write(format!("{empty}/events.jsonl"), "{\"at\":0}\n{").expect("a scratch file");
    let run = glare(&["ask", &empty, "closed"]);
    assert!(run.code() == 2 && run.err().contains("events.jsonl:2: not an event"), "{}", run.err());
}

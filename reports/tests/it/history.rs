//! The file that keeps results over time: together with others, cut off, of somebody else, of tomorrow.

use std::fs;
use std::path::PathBuf;

use redb::{Database, ReadableDatabase as _, TableDefinition};
use reports::history::{Entry, History, add};
use reports::model::{Counts, Suite};

#[test]
fn entries_come_back_in_order_of_time_and_each_once() {
    let file = scratch("order");
    for start in [30, 10, 20] {
        assert_eq!(add(&file, &entry(start)), Ok(true));
        assert_eq!(add(&file, &entry(start)), Ok(false), "the same again");
    }
    let history = History::load(&file).expect("a history");
    let starts: Vec<_> = history.series.values().flatten().map(|entry| entry.started_ms).collect();
    assert_eq!(starts, [10, 20, 30]);
    assert_eq!(history.series.values().flatten().next(), Some(&entry(10)));
}

#[test]
fn a_file_of_somebody_else_is_refused_and_left_as_it_is() {
    const THEIRS: TableDefinition<'_, u64, u64> = TableDefinition::new("entries");
    let file = scratch("foreign");
    let theirs = Database::create(&file).expect("a scratch file");
    let writing = theirs.begin_write().expect("ours alone");
    writing.open_table(THEIRS).expect("a table").insert(1, 2).expect("memory");
    writing.commit().expect("a scratch file");
    drop(theirs);
    for wrong in [add(&file, &entry(1)).expect_err("no history"), History::load(&file).expect_err("no history")] {
        assert!(
            wrong
                .to_string()
                .ends_with("foreign.redb: is not a history: `history add` creates one if the file does not exist"),
            "{wrong}"
        );
    }
    let theirs = Database::open(&file).expect("as it was");
    let reading = theirs.begin_read().expect("as it was");
    let value = reading.open_table(THEIRS).expect("as it was").get(1).expect("as it was");
    assert_eq!(value.expect("as it was").value(), 2);
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("glare-history");
    let file = scratch("newer");
    add(&file, &entry(1)).expect("a scratch file");
    let newer = Database::open(&file).expect("ours");
    let writing = newer.begin_write().expect("ours alone");
    writing.open_table(ABOUT).expect("a table").insert("version", 2).expect("memory");
    writing.commit().expect("a scratch file");
    drop(newer);
    for wrong in [add(&file, &entry(2)).expect_err("newer"), History::load(&file).expect_err("newer")] {
        assert!(wrong.to_string().contains("has version 2, but this program reads up to version 1"), "{wrong}");
    }
}

#[test]
fn a_text_file_and_an_empty_one_are_no_history() {
    let file = scratch("text");
    fs::write(&file, "nonsense\n".repeat(1_000)).expect("a scratch file");
    for wrong in [add(&file, &entry(1)).expect_err("text"), History::load(&file).expect_err("text")] {
        assert!(wrong.to_string().contains("is not a history"), "{wrong}");
    }
    assert_eq!(fs::read_to_string(&file).expect("as it was"), "nonsense\n".repeat(1_000));
    let folder = scratch("a-folder");
    fs::create_dir_all(&folder).expect("a scratch folder");
    assert!(History::load(&folder).is_err() && add(&folder, &entry(1)).is_err());
}

#[test]
fn a_file_that_is_cut_or_damaged_anywhere_is_read_or_refused_and_never_a_panic() {
    let file = scratch("whole");
    (0..40).for_each(|start| assert_eq!(add(&file, &entry(start)), Ok(true)));
    let whole = fs::read(&file).expect("a history");
    let damaged = scratch("damaged");
    let mut refused = 0;
    let mut look = |bytes: &[u8], what: String| {
        fs::write(&damaged, bytes).expect("a scratch file");
        match History::load(&damaged) {
            Ok(history) => assert!(history.series.values().map(Vec::len).sum::<usize>() <= 40, "{what}"),
            Err(wrong) => {
                assert!(wrong.to_string().contains("damaged.redb: "), "{what}: {wrong}");
                refused += 1;
            }
        }
    };
    for end in (0..whole.len()).step_by(whole.len() / 60 + 1) {
        look(&whole[..end], format!("cut at {end}"));
    }
    for at in (0..whole.len()).step_by(whole.len() / 200 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        look(&bytes, format!("byte {at}"));
    }
    assert!(refused > 20, "{refused} were refused");
}

fn entry(started_ms: u64) -> Entry {
    Entry {
        started_ms,
        revision: Some("abc".to_owned()),
        suite: Suite::Sim,
        name: "mesh-6".to_owned(),
        target: "reference server".to_owned(),
        counts: Counts { pass: 1, ..Counts::default() },
        wall: 0.5,
        connected: Some(1.25),
    }
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("history");
    fs::create_dir_all(&dir).expect("a scratch folder");
    let file = dir.join(format!("{name}.redb"));
    let _ = fs::remove_file(&file);
    file
}

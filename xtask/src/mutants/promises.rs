//! What each protocol promises, in `conformance/promises/*.toml`: which cases ask for it, and which mutants prove that
//! they do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use conformance::service_cases;
use conformance::stun::Service;

use super::broken::Surface;
use super::catalogue::{self, Mutant};

/// With fewer, a case could detect one defect by chance.
const MUTANTS_MIN: usize = 2;

/// A sentence of a protocol that a server can break.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// `protocol/what-holds`, unique.
    pub(super) id: String,
    /// The sentence.
    pub(super) text: String,
    /// The slugs of the cases that ask for it.
    pub(super) cases: Vec<String>,
    /// Names of mutants that break it; one of the cases must detect each.
    pub(super) mutants: Vec<String>,
}

/// Reads the promises of a checkout, sorted by file, in the order of each file.
///
/// # Errors
/// A file cannot be read or is invalid, or names a case or a mutant that does not exist. The message names the promise.
pub(super) fn load(workspace: &Path, mutants: &[Mutant]) -> anyhow::Result<Vec<Promise>> {
    let folder = workspace.join("conformance/promises");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths: BTreeSet<_> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    let mut promises: Vec<Promise> = Vec::new();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let protocol = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        promises.extend(parse(protocol, &text, mutants).with_context(|| path.display().to_string())?);
    }
    Ok(promises)
}

/// Reads the promises of a protocol.
fn parse(protocol: &str, text: &str, mutants: &[Mutant]) -> anyhow::Result<Vec<Promise>> {
    let file: toml::Table = text.parse()?;
    catalogue::only(&file, &["promise"])?;
    let mut ids = BTreeSet::new();
    let mut promises = Vec::new();
    for table in catalogue::tables(&file, "promise")? {
        let promise = promise(protocol, table, mutants)?;
        anyhow::ensure!(ids.insert(promise.id.clone()), "{} is defined twice", promise.id);
        promises.push(promise);
    }
    Ok(promises)
}

fn promise(protocol: &str, table: &toml::Table, mutants: &[Mutant]) -> anyhow::Result<Promise> {
    let id = catalogue::string(table, "id")?;
    let read = || {
        catalogue::only(table, &["id", "text", "cases", "mutants"])?;
        anyhow::ensure!(
            catalogue::is_name_of(protocol, id),
            "the id must be `{protocol}/` followed by lowercase words joined by `-`"
        );
        let text = catalogue::sentence(table, "text")?;
        let cases = names(table, "cases", 1, &slugs())?;
        let known: BTreeSet<_> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
        let mutants = names(table, "mutants", MUTANTS_MIN, &known)?;
        anyhow::ensure!(!surfaces(id).is_empty(), "there is no protocol `{protocol}`");
        Ok(Promise { id: id.to_owned(), text: text.to_owned(), cases, mutants })
    };
    read().with_context(|| id.to_owned())
}

/// At least `min` different names, all of them `known`.
fn names(table: &toml::Table, key: &str, min: usize, known: &BTreeSet<&str>) -> anyhow::Result<Vec<String>> {
    let list = table.get(key).and_then(toml::Value::as_array).with_context(|| format!("`{key}` is not an array"))?;
    let mut names = Vec::new();
    for name in list {
        let name = name.as_str().with_context(|| format!("`{key}` has {name}, which is not a string"))?;
        anyhow::ensure!(known.contains(name), "`{key}` has `{name}`, which does not exist");
        anyhow::ensure!(!names.iter().any(|other| other == name), "`{key}` has `{name}` twice");
        names.push(name.to_owned());
    }
    anyhow::ensure!(names.len() >= min, "`{key}` has {}, but must have at least {min}", names.len());
    Ok(names)
}

/// The slugs of all cases.
fn slugs() -> BTreeSet<&'static str> {
    let all = [conformance::cases(), service_cases(Service::Stun), service_cases(Service::Turn)];
    all.into_iter().flatten().map(|case| case.slug).collect()
}

/// All promises as Markdown, one table per protocol, for `docs/conformance/promises.md`.
#[cfg(test)]
pub(super) fn markdown(promises: &[Promise]) -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# What the protocols promise\n\n\
         Generated from `conformance/promises`: `UPDATE_DOCS=1 cargo test -p glare promises` writes it. `glare mutants` \
         checks it: each mutant of a promise is detected by at least one of its cases. The cases are explained in \
         [cases.md](cases.md), the mutants in `server/mutants`. Protocols that only servers of others speak, such as \
         `protoo`, are not listed: no mutant could prove their promises. Their dialect files say under `[declares]` what is \
         expected, and `conformance/known` what the real server does instead.\n",
    );
    let mut last = "";
    for Promise { id, text, cases, mutants } in promises {
        let protocol = id.split('/').next().unwrap_or_default();
        if protocol != last {
            last = protocol;
            let _ = write!(out, "\n## {protocol}\n\n| Promise | Cases | Mutants |\n|---|---|---|\n");
        }
        let list = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let text = text.replace('|', "\\|");
        let _ = writeln!(out, "| **`{id}`** {text} | {} | {} |", list(cases), list(mutants));
    }
    out
}

/// The surfaces on which a promise with this id can be broken.
pub(super) fn surfaces(id: &str) -> Vec<Surface> {
    match id.split('/').next().unwrap_or_default() {
        "call" => vec![Surface::Call, Surface::CallSocketIo],
        "http-api" => vec![Surface::SenderViewer],
        "socketio" => vec![Surface::Broadcast, Surface::CallSocketIo],
        protocol => Surface::named(protocol).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::catalogue;
    use super::*;

    const GOOD: &str = r#"
        [[promise]]
        id = "mesh/to-one"
        text = "A signal with a receiver reaches only it."
        cases = ["mesh/unicast"]
        mutants = ["room/echo-to-sender", "mesh/GOOD"]
    "#;

    /// The example, with the names of two mutants that exist.
    fn good() -> String {
        let [first, second, ..] = catalogue() else { panic!("there are mutants") };
        GOOD.replace("room/echo-to-sender", &first.name).replace("mesh/GOOD", &second.name)
    }

    #[test]
    fn a_bad_promise_is_named_with_what_is_wrong() {
        let good = good();
        assert_eq!(parse("mesh", &good, catalogue()).expect("it is good").len(), 1);
        let [first, second, ..] = catalogue() else { panic!("there are mutants") };
        let twice = good.replace(&second.name, &first.name);
        let one = good.replace(&format!(", \"{}\"", second.name), "");
        for (text, says) in [
            (good.replace("mesh/to-one", "call/to-one"), "call/to-one: the id must be `mesh/`"),
            (good.replace("only it.", "only it"), "mesh/to-one: the text is not a sentence"),
            (good.replace("mesh/unicast", "mesh/unicost"), "`cases` has `mesh/unicost`, which does not exist"),
            (good.replace("\"mesh/unicast\"", ""), "`cases` has 0, but must have at least 1"),
            (good.replace("text =", "txt ="), "mesh/to-one: there is no field `txt`"),
            (twice, "twice"),
            (one, "`mutants` has 1, but must have at least 2"),
            (format!("{good}{good}"), "mesh/to-one is defined twice"),
        ] {
            let error = format!("{:#}", parse("mesh", &text, catalogue()).expect_err(says));
            assert!(error.contains(says), "{error}");
        }
    }
}

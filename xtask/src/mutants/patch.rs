//! Merges all mutants into one source: each function that mutants edit gets one body per mutant, and keeps its own.
//!
//! Every body is derived from the shipped one, so edits of different mutants never conflict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context, anyhow, bail};

use super::catalogue::{Edit, Mutant};

/// The files of `sources` that mutants edit, with all mutants applied. Paths are relative to `root`, a folder of the
/// workspace.
///
/// # Errors
/// Some mutants cannot be applied; one line for each, with the mutant's name and the file.
pub(super) fn patch(
    mutants: &[Mutant],
    sources: &BTreeMap<String, String>,
    root: &str,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut files: BTreeMap<&str, Units<'_>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for mutant in mutants {
        for edit in &mutant.edits {
            let source = sources.get(&edit.file).map(String::as_str);
            let place = source.context("does not exist").and_then(|source| find(source, edit));
            match place {
                Err(why) => wrong.push(format!("{}: {root}/{} {why}", mutant.name, edit.file)),
                Ok(place) => {
                    let unit = files.entry(&edit.file).or_default().entry((place.unit.start, place.unit.end));
                    unit.or_default().entry(&mutant.name).or_default().push((place.text, &edit.after));
                }
            }
        }
    }
    let mut patched = BTreeMap::new();
    for (file, units) in &files {
        match rewritten(&sources[*file], units) {
            Ok(text) => drop(patched.insert((*file).to_owned(), text)),
            Err(why) => wrong.push(format!("{root}/{file}: {why}")),
        }
    }
    if wrong.is_empty() { Ok(patched) } else { Err(wrong) }
}

/// For one file, by range: the parts that are written once per mutant, and the changes of each mutant.
type Units<'a> = BTreeMap<(usize, usize), BTreeMap<&'a str, Vec<Change<'a>>>>;
type Change<'a> = (Range<usize>, &'a str);

/// Where an edit changes a source.
#[derive(Debug)]
struct Place {
    text: Range<usize>,
    /// The part that is written once per mutant.
    unit: Range<usize>,
}

fn find(source: &str, edit: &Edit) -> anyhow::Result<Place> {
    let functions = functions(source);
    let within = |range: &Range<usize>, function: &&Function<'_>| {
        function.body.start <= range.start && range.end <= function.body.end
    };
    let mut found = occurrences(source, &edit.before);
    if let Some(name) = &edit.within {
        let named: Vec<_> = functions.iter().filter(|function| function.name == name).collect();
        found.retain(|range| named.iter().any(|function| within(range, function)));
    }
    let [text] = &found[..] else {
        let place = edit.within.as_ref().map(|name| format!(" in `fn {name}`")).unwrap_or_default();
        let count = if found.is_empty() { "does not have".to_owned() } else { format!("has {} times", found.len()) };
        bail!("{count}{place}: {}", edit.before.trim());
    };
    let innermost =
        functions.iter().filter(|function| within(text, function)).min_by_key(|function| function.body.len());
    let function = innermost.ok_or_else(|| anyhow!("has this in no function's body: {}", edit.before.trim()))?;
    if function.is_const {
        bail!("has this in a `const fn`, which cannot check for a mutant: {}", edit.before.trim());
    }
    // Two bodies would have two types.
    let unit = if function.returns_impl { text.clone() } else { function.body.clone() };
    Ok(Place { text: text.clone(), unit })
}

/// The positions of a text in a source; differences in white space between its words are ignored.
fn occurrences(source: &str, text: &str) -> Vec<Range<usize>> {
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let end = |start: usize| {
        words.clone().try_fold(start + first.len(), |at, word| {
            let rest = &source[at..];
            let next = rest.trim_start();
            (next.len() < rest.len() && next.starts_with(word)).then(|| source.len() - next.len() + word.len())
        })
    };
    source.match_indices(first).filter_map(|(start, _)| Some(start..end(start)?)).collect()
}

/// A function of a formatted source.
struct Function<'a> {
    name: &'a str,
    /// The text between its braces.
    body: Range<usize>,
    /// Whether it returns `impl Trait`, a type that its body determines.
    returns_impl: bool,
    is_const: bool,
}

/// The functions of a source that rustfmt has formatted: a body ends with the first brace that is indented like its
/// header.
fn functions(source: &str) -> Vec<Function<'_>> {
    let lines: Vec<_> = source
        .split_inclusive('\n')
        .scan(0, |next, line| {
            let at = *next;
            *next += line.len();
            Some((at, line))
        })
        .collect();
    let mut functions = Vec::new();
    for (nth, (header, line)) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((qualifiers, rest)) = line.trim_start().split_once("fn ").filter(|(before, _)| are_qualifiers(before))
        else {
            continue;
        };
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let level = |line: &str| line.len() - line.trim_start().len() == indent;
        let mut below = lines[nth..].iter().filter(|(_, line)| level(line) && !line.trim().is_empty());
        let opens = below.find(|(_, line)| line.trim_end().ends_with(['{', ';', '}']));
        let Some((start, open)) = opens.filter(|(_, line)| line.trim_end().ends_with('{')) else { continue };
        let Some((end, _)) = below.find(|(_, line)| line.trim() == "}") else { continue };
        let start = start + open.trim_end().len();
        let signature = &source[*header..start];
        let returns_impl = signature.rsplit_once("->").is_some_and(|(_, returned)| returned.contains("impl "));
        let is_const = qualifiers.split_whitespace().any(|word| word == "const");
        functions.push(Function { name, body: start..end + indent, returns_impl, is_const });
    }
    functions
}

/// Whether these words can precede `fn`.
fn are_qualifiers(text: &str) -> bool {
    let known =
        |word: &str| matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub");
    text.split_whitespace().all(known)
}

/// A source in which each unit is written once per mutant, and once unchanged.
fn rewritten(source: &str, units: &Units<'_>) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut at = 0;
    for (&(start, end), mutants) in units {
        if start < at {
            let names: Vec<_> = mutants.keys().copied().collect();
            bail!("a function in another, and both are edited: {}", names.join(", "));
        }
        out.push_str(&source[at..start]);
        out.push(' ');
        for (name, changes) in mutants {
            let variant = changed(source, start..end, changes).ok_or_else(|| anyhow!("edits of {name} overlap"))?;
            let _ = write!(out, "if crate::mutant::is({name:?}) {{{variant}}} else ");
        }
        let _ = write!(out, "{{{}}}", &source[start..end]);
        at = end;
    }
    out.push_str(&source[at..]);
    Ok(out)
}

/// A part of a source with some changes; None if they overlap.
fn changed(source: &str, part: Range<usize>, changes: &[Change<'_>]) -> Option<String> {
    let mut changes: Vec<_> = changes.iter().collect();
    changes.sort_by_key(|(range, _)| range.start);
    let mut out = String::new();
    let mut at = part.start;
    for (range, after) in changes {
        out.push_str(source.get(at..range.start)?);
        out.push_str(after);
        at = range.end;
    }
    out.push_str(source.get(at..part.end)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
use a::b;

impl A {
    fn first(&self) -> bool {
        self.one() && self.two(
            1,
        )
    }

    pub(crate) async fn second<T>(
        &self,
    ) -> usize
    where
        T: B,
    {
        self.two(2);
        self.two(2)
    }

    fn iter(&self) -> impl Iterator<Item = u8> {
        (0..3).map(|n| {
            if n == 1 {
                return 5;
            }
            n
        })
    }
}

const fn third() -> u8 {
    3
}
";

    fn mutant(name: &str, edits: &[(&str, &str)]) -> Mutant {
        let edit = |(before, after): &(&str, &str)| {
            let (before, within) =
                before.split_once(" @").map_or((*before, None), |(before, name)| (before, Some(name)));
            Edit {
                file: "a.rs".to_owned(),
                within: within.map(str::to_owned),
                before: before.to_owned(),
                after: (*after).to_owned(),
            }
        };
        let edits = edits.iter().map(edit).collect();
        Mutant { name: name.to_owned(), surfaces: Vec::new(), defect: String::new(), beyond: None, edits }
    }

    fn patched(mutants: &[Mutant]) -> Result<String, Vec<String>> {
        let sources = BTreeMap::from([("a.rs".to_owned(), SOURCE.to_owned())]);
        patch(mutants, &sources, "server/src").map(|mut files| files.remove("a.rs").unwrap_or_default())
    }

    #[test]
    fn a_function_has_a_body_for_each_mutant_and_its_own() {
        let mutants = [
            mutant("a/x", &[("self.one() && self.two( 1, )", "true"), ("self.two(2);", "")]),
            mutant("b/y", &[("self.one()", "false")]),
        ];
        let out = patched(&mutants).expect("they apply");
        let own = "\n        self.one() && self.two(\n            1,\n        )\n    ";
        let x = "if crate::mutant::is(\"a/x\") {\n        true\n    }";
        let y = format!("if crate::mutant::is(\"b/y\") {{{}}}", own.replace("self.one()", "false"));
        assert!(out.contains(&format!("bool {{ {x} else {y} else {{{own}}}}}\n")), "{out}");
        // The body begins behind the `where` clause.
        assert!(out.contains("T: B,\n    { if crate::mutant::is(\"a/x\") {\n        \n        self.two(2)\n"), "{out}");
    }

    #[test]
    fn what_returns_an_unnamed_type_is_changed_by_the_statement() {
        let edits = [("if n == 1 {\n return 5;\n }", "")];
        let out = patched(&[mutant("a/x", &edits)]).expect("it applies");
        assert!(out.contains("if crate::mutant::is(\"a/x\") {} else {if n == 1 {"), "{out}");
    }

    #[test]
    fn an_edit_that_does_not_apply_is_reported_with_the_mutant_and_the_file() {
        for (edits, says) in [
            (&[("self.three()", "")][..], "a/x: server/src/a.rs does not have: self.three()"),
            (&[("self.two(2)", "")], "a/x: server/src/a.rs has 2 times: self.two(2)"),
            (&[("self.one() @second", "")], "a/x: server/src/a.rs does not have in `fn second`: self.one()"),
            (&[("use a::b;", "")], "a/x: server/src/a.rs has this in no function's body: use a::b;"),
            (&[("3 @third", "4")], "a/x: server/src/a.rs has this in a `const fn`"),
            (&[("self.one()", ""), ("self.one() &&", "")], "server/src/a.rs: edits of a/x overlap"),
        ] {
            let wrong = patched(&[mutant("a/x", edits)]).expect_err(says);
            assert!(wrong[0].starts_with(says), "{wrong:?}");
        }
        let mut elsewhere = mutant("a/x", &[("self.one()", "")]);
        elsewhere.edits[0].file = "b.rs".to_owned();
        assert_eq!(patched(&[elsewhere]).expect_err("no file"), ["a/x: server/src/b.rs does not exist"]);
    }
}

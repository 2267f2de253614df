//! The mutants listed in `server/mutants/*.toml` and `sim/mutants/*.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::broken::Surface;
use super::stories::Beyond;

/// A defect, and the edits of a source that cause it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mutant {
    /// `area/what-is-wrong`, unique.
    pub(super) name: String,
    /// The surfaces of the server on which it shows; none for a defect of the simulator.
    pub(super) surfaces: Vec<Surface>,
    /// The defect, in a sentence.
    pub(super) defect: String,
    /// Why no generated story can show it.
    pub(super) beyond: Option<Beyond>,
    pub(super) edits: Vec<Edit>,
}

/// One place in a source, and its replacement.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edit {
    /// The file, relative to `server/src` or `sim/src`.
    pub(super) file: String,
    /// The function in which `before` is searched, if other functions contain it too.
    pub(super) within: Option<String>,
    /// Source text that occurs once; differences in line breaks and indentation are ignored.
    pub(super) before: String,
    pub(super) after: String,
}

impl Mutant {
    /// The file of its first edit, relative to the same.
    pub(super) fn file(&self) -> &str {
        &self.edits[0].file
    }
}

/// Whose defects a catalogue has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Server,
    Simulator,
}

/// Reads the catalogue of the server's mutants in a checkout, sorted by name.
///
/// # Errors
/// A file cannot be read or is invalid; the message names the mutant.
pub(super) fn load(workspace: &Path) -> anyhow::Result<Vec<Mutant>> {
    load_of(Subject::Server, &workspace.join("server/mutants"))
}

/// The same for the mutants of the simulator: of its clients, and of its network.
///
/// # Errors
/// As [`load`].
pub(super) fn load_simulator(workspace: &Path) -> anyhow::Result<Vec<Mutant>> {
    load_of(Subject::Simulator, &workspace.join("sim/mutants"))
}

fn load_of(subject: Subject, folder: &Path) -> anyhow::Result<Vec<Mutant>> {
    let entries = fs::read_dir(folder).with_context(|| {
        format!(
            "mutants are built from source, but {} cannot be read: give a checkout of Glare with --workspace",
            folder.display()
        )
    })?;
    let mut mutants = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let area = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for mutant in parse(subject, area, &text).with_context(|| path.display().to_string())? {
            let name = mutant.name.clone();
            anyhow::ensure!(mutants.insert(name.clone(), mutant).is_none(), "{name} is defined twice");
        }
    }
    Ok(mutants.into_values().collect())
}

/// Reads the mutants of an area.
fn parse(subject: Subject, area: &str, text: &str) -> anyhow::Result<Vec<Mutant>> {
    let file: toml::Table = text.parse()?;
    only(&file, &["mutant"])?;
    tables(&file, "mutant")?.into_iter().map(|table| mutant(subject, area, table)).collect()
}

fn mutant(subject: Subject, area: &str, table: &toml::Table) -> anyhow::Result<Mutant> {
    let name = string(table, "name")?;
    let read = || {
        match subject {
            Subject::Server => only(table, &["name", "surfaces", "defect", "beyond-stories", "edit"])?,
            Subject::Simulator => only(table, &["name", "defect", "edit"])?,
        }
        anyhow::ensure!(is_name_of(area, name), "the name must be `{area}/` followed by lowercase words joined by `-`");
        let defect = sentence(table, "defect")?;
        let surfaces = if subject == Subject::Server { surfaces(table)? } else { Vec::new() };
        let edits = tables(table, "edit")?.into_iter().map(edit).collect::<anyhow::Result<Vec<_>>>()?;
        let beyond = beyond(table)?;
        Ok(Mutant { name: name.to_owned(), surfaces, defect: defect.to_owned(), beyond, edits })
    };
    read().with_context(|| name.to_owned())
}

fn surfaces(table: &toml::Table) -> anyhow::Result<Vec<Surface>> {
    let names = table.get("surfaces").and_then(toml::Value::as_array).context("`surfaces` is not an array")?;
    let surface = |name: &toml::Value| {
        name.as_str().and_then(Surface::named).with_context(|| format!("there is no surface {name}"))
    };
    let surfaces = names.iter().map(surface).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!surfaces.is_empty(), "`surfaces` is empty");
    Ok(surfaces)
}

fn beyond(table: &toml::Table) -> anyhow::Result<Option<Beyond>> {
    if !table.contains_key("beyond-stories") {
        return Ok(None);
    }
    let name = string(table, "beyond-stories")?;
    let known = || Beyond::ALL.map(Beyond::name).join(", ");
    Beyond::named(name).map(Some).with_context(|| format!("`beyond-stories` is none of {}: `{name}`", known()))
}

fn edit(table: &toml::Table) -> anyhow::Result<Edit> {
    only(table, &["file", "within", "before", "after"])?;
    let within = table.contains_key("within").then(|| string(table, "within")).transpose()?;
    let [file, before, after] = [string(table, "file")?, string(table, "before")?, string(table, "after")?];
    anyhow::ensure!(!before.trim().is_empty(), "`before` is empty");
    let within = within.map(str::to_owned);
    Ok(Edit { file: file.to_owned(), within, before: before.to_owned(), after: after.to_owned() })
}

/// Whether `name` is `area/` and lowercase words joined by `-`.
pub(super) fn is_name_of(area: &str, name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let name = name.strip_prefix(area).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(is_letter))
}

/// # Errors
/// The table has a field that is not `known`.
pub(super) fn only(table: &toml::Table, known: &[&str]) -> anyhow::Result<()> {
    let unknown = table.keys().find(|key| !known.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| Err(anyhow::anyhow!("there is no field `{key}`: only {}", known.join(", "))))
}

/// # Errors
/// There is no such field, or it is not a string.
pub(super) fn string<'a>(table: &'a toml::Table, key: &str) -> anyhow::Result<&'a str> {
    table.get(key).and_then(toml::Value::as_str).with_context(|| format!("`{key}` is not a string"))
}

/// # Errors
/// There is no sentence in this field.
pub(super) fn sentence<'a>(table: &'a toml::Table, key: &str) -> anyhow::Result<&'a str> {
    let text = string(table, key)?;
    let is_sentence = text.starts_with(|first: char| first.is_uppercase() || first == '`') && text.ends_with('.');
    anyhow::ensure!(is_sentence, "the {key} is not a sentence: {text}");
    Ok(text)
}

/// # Errors
/// There is no array of tables with this name.
pub(super) fn tables<'a>(table: &'a toml::Table, key: &str) -> anyhow::Result<Vec<&'a toml::Table>> {
    let tables = table.get(key).and_then(toml::Value::as_array).into_iter().flatten();
    let tables: Option<Vec<_>> = tables.map(toml::Value::as_table).collect();
    tables.filter(|tables| !tables.is_empty()).with_context(|| format!("there is no [[{key}]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[mutant]]
        name = "room/none"
        surfaces = ["mesh"]
        defect = "There are no rooms."
        [[mutant.edit]]
        file = "a.rs"
        before = "rooms"
        after = ""
    "#;

    #[test]
    fn a_bad_entry_is_named_with_what_is_wrong() {
        assert_eq!(parse(Subject::Server, "room", GOOD).expect("it is good")[0].edits.len(), 1);
        for (old, new, says) in [
            ("room/none", "mesh/none", "mesh/none: the name must be `room/`"),
            ("room/none", "room/None", "room/None: the name must be `room/`"),
            ("\"mesh\"", "\"mash\"", "room/none: there is no surface \"mash\""),
            ("\"mesh\"", "", "room/none: `surfaces` is empty"),
            ("rooms.\"", "rooms\"", "room/none: the defect is not a sentence"),
            ("defect =", "beyond-stories = \"x\"\ndefect =", "room/none: `beyond-stories` is none of api, "),
            ("before =", "befor =", "room/none: there is no field `befor`"),
            ("before = \"rooms\"", "before = \" \"", "room/none: `before` is empty"),
            ("[[mutant.edit]]", "[mutant.edit]", "room/none: there is no [[edit]]"),
        ] {
            let error = format!("{:#}", parse(Subject::Server, "room", &GOOD.replace(old, new)).expect_err(says));
            assert!(error.contains(says), "{error}");
        }
        let error = format!("{:#}", parse(Subject::Simulator, "room", GOOD).expect_err("it has surfaces"));
        assert!(error.contains("room/none: there is no field `surfaces`"), "{error}");
    }
}

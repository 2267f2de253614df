//! The file of a history: an embedded database. Two programs that write at the same time lose nothing.

use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Entry, History};
use crate::database::{Kind, Wrong, read, write};
use crate::result::BadFile;

const KIND: Kind =
    Kind { what: "a history", made_by: "`history add`", about: TableDefinition::new("glare-history"), version: 1 };
/// Entries as JSON, by start time; a duplicate is stored once.
const ENTRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("entries");

/// Adds an entry. Returns false if it was already present.
///
/// # Errors
/// The file cannot be read or written, is not a history, or comes from a newer program.
pub fn add(file: &Path, entry: &Entry) -> Result<bool, BadFile> {
    if let Some(folder) = file.parent() {
        let wrong =
            |error| BadFile { file: file.to_owned(), line: None, message: format!("cannot be written: {error}") };
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    KIND.with(file, || put(&KIND.create(file)?, entry))
}

impl History {
    /// Reads a store.
    ///
    /// # Errors
    /// It cannot be read, is not a history, or comes from a newer program.
    pub fn load(file: &Path) -> Result<Self, BadFile> {
        if !file.exists() {
            let message = "there is no such file: create it with `history add DIR`".to_owned();
            return Err(BadFile { file: file.to_owned(), line: None, message });
        }
        KIND.with(file, || get(&KIND.open(file)?)).map(Self::of)
    }
}

fn put(database: &Database, entry: &Entry) -> Result<bool, Wrong> {
    let json = serde_json::to_string(entry).expect("an entry has a JSON form");
    let writing = database.begin_write().map_err(write)?;
    KIND.claim(&writing)?;
    let is_new = {
        let mut entries = writing.open_table(ENTRIES).map_err(write)?;
        entries.insert((entry.started_ms, json.as_str()), ()).map_err(write)?.is_none()
    };
    writing.commit().map_err(write)?;
    Ok(is_new)
}

fn get(database: &Database) -> Result<Vec<Entry>, Wrong> {
    let reading = database.begin_read().map_err(read)?;
    KIND.recognise(&reading)?;
    let table = reading.open_table(ENTRIES).map_err(read)?;
    let mut entries = Vec::new();
    for entry in table.iter().map_err(read)? {
        let (key, _) = entry.map_err(read)?;
        let (_, json) = key.value();
        entries.push(serde_json::from_str(json).map_err(Wrong::Entry)?);
    }
    Ok(entries)
}

//! The file that keeps a history: an embedded database, so that a program that is killed while it adds loses nothing but its own entry, and
//! two that add at once do not lose each other's.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition, TableError,
};

use super::{Entry, History};
use crate::result::Wrong;

/// Version of what is in the tables.
const VERSION: u64 = 1;
/// What says that a database is a history, and of which version.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("glare-history");
/// Entries as JSON, by time of start, so that the same one is there once.
const ENTRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("entries");
/// How long to wait for another program that has the file open: it adds a few entries and is gone.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Adds an entry. One that is there already is not added again; false then.
///
/// # Errors
/// The file cannot be read or written, is no history, or is of a newer program.
pub fn add(file: &Path, entry: &Entry) -> Result<bool, Wrong> {
    let wrong = |message| Wrong { file: file.to_owned(), line: None, message };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| wrong(format!("cannot be written: {error}")))?;
    }
    unharmed(|| put(&open(|| Database::builder().create(file))?, entry)).map_err(wrong)
}

impl History {
    /// Reads a store.
    ///
    /// # Errors
    /// It cannot be read, is no history, or is of a newer program.
    pub fn load(file: &Path) -> Result<Self, Wrong> {
        let wrong = |message| Wrong { file: file.to_owned(), line: None, message };
        if !file.exists() {
            return Err(wrong("there is no such file: `history add DIR` makes it".to_owned()));
        }
        // Whoever was killed while adding left a file that the next one to open it mends.
        unharmed(|| get(&open(|| Database::builder().open(file))?)).map(Self::of).map_err(wrong)
    }
}

/// The database believes what its pages say of themselves, and panics where they are damaged.
fn unharmed<T>(look: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let damaged = |_| Err("is damaged: keep a copy, and let `history add` make another".to_owned());
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(damaged)
}

/// Opens the file, and waits while another program has it.
#[allow(clippy::disallowed_methods)] // between programs there is no virtual time, and no simulation reaches this
fn open(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, String> {
    let start = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            opened => return opened.map_err(said_of_opening),
        }
    }
}

fn said_of_opening(error: DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            format!("another program has kept it open for {} s: end that, or try again", PATIENCE.as_secs())
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => no_history(),
        error => format!("cannot be opened: {error}"),
    }
}

fn no_history() -> String {
    "is no history: `history add` makes one where there is no file".to_owned()
}

fn put(database: &Database, entry: &Entry) -> Result<bool, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot be written: {error}");
    let json = serde_json::to_string(entry).expect("an entry has a JSON form");
    let writing = database.begin_write().map_err(|error| failed(&error))?;
    let is_new = {
        // A database of somebody else's is left as it is: without a commit nothing is written.
        let is_empty = writing.list_tables().map_err(|error| failed(&error))?.next().is_none();
        let mut about = writing.open_table(ABOUT).map_err(said_of_table)?;
        let version = about.get("version").map_err(|error| failed(&error))?.map(|version| version.value());
        match version {
            Some(version) => check(version)?,
            None if is_empty => drop(about.insert("version", VERSION).map_err(|error| failed(&error))?),
            None => return Err(no_history()),
        }
        let mut entries = writing.open_table(ENTRIES).map_err(said_of_table)?;
        entries.insert((entry.started_ms, json.as_str()), ()).map_err(|error| failed(&error))?.is_none()
    };
    writing.commit().map_err(|error| failed(&error))?;
    Ok(is_new)
}

fn get(database: &Database) -> Result<Vec<Entry>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot be read: {error}");
    let reading = database.begin_read().map_err(|error| failed(&error))?;
    let about = reading.open_table(ABOUT).map_err(said_of_table)?;
    let version = about.get("version").map_err(|error| failed(&error))?.map(|version| version.value());
    check(version.ok_or_else(no_history)?)?;
    let entries = reading.open_table(ENTRIES).map_err(said_of_table)?;
    let mut read = Vec::new();
    for entry in entries.iter().map_err(|error| failed(&error))? {
        let (key, _) = entry.map_err(|error| failed(&error))?;
        let (_, json) = key.value();
        read.push(serde_json::from_str(json).map_err(|error| format!("has an entry that is none: {error}"))?);
    }
    Ok(read)
}

fn check(version: u64) -> Result<(), String> {
    if version <= VERSION {
        return Ok(());
    }
    Err(format!(
        "is of version {version}, and this program knows up to version {VERSION}: use the program that wrote it, or a newer one"
    ))
}

fn said_of_table(error: TableError) -> String {
    match error {
        TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. } | TableError::TableIsMultimap(_) => {
            no_history()
        }
        error => format!("cannot be read: {error}"),
    }
}

//! The file that keeps a history: an embedded database, so that a program that is killed while it adds loses nothing but its own entry, and
//! two that add at once do not lose each other's.

use std::fmt;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition};

use super::{Entry, History};
use crate::result::BadFile;

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
pub fn add(file: &Path, entry: &Entry) -> Result<bool, BadFile> {
    let wrong = |message| BadFile { file: file.to_owned(), line: None, message };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| wrong(format!("cannot be written: {error}")))?;
    }
    unharmed(|| put(&open(|| Database::builder().create(file))?, entry)).map_err(|error| wrong(error.to_string()))
}

impl History {
    /// Reads a store.
    ///
    /// # Errors
    /// It cannot be read, is no history, or is of a newer program.
    pub fn load(file: &Path) -> Result<Self, BadFile> {
        let wrong = |message| BadFile { file: file.to_owned(), line: None, message };
        if !file.exists() {
            return Err(wrong("there is no such file: create it with `history add DIR`".to_owned()));
        }
        // Whoever was killed while adding left a file that the next one to open it mends.
        let entries = unharmed(|| get(&open(|| Database::builder().open(file))?));
        entries.map(Self::of).map_err(|error| wrong(error.to_string()))
    }
}

/// Why a store cannot be used.
#[derive(Debug)]
enum StoreError {
    NotAHistory,
    Newer(u64),
    Damaged,
    /// Another program kept it open for [`PATIENCE`].
    Busy,
    Open(DatabaseError),
    Read(redb::Error),
    Write(redb::Error),
    Entry(serde_json::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAHistory => f.write_str("is not a history: `history add` creates one where there is no file"),
            Self::Newer(version) => write!(
                f,
                "is of version {version}, and this program reads up to version {VERSION}: use the program that wrote it, or a newer one"
            ),
            Self::Damaged => f.write_str("is damaged: keep a copy, and create a new one with `history add`"),
            Self::Busy => {
                write!(f, "another program has kept it open for {} s: end it, or try again", PATIENCE.as_secs())
            }
            Self::Open(error) => write!(f, "cannot be opened: {error}"),
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Write(error) => write!(f, "cannot be written: {error}"),
            Self::Entry(error) => write!(f, "has an invalid entry: {error}"),
        }
    }
}

fn read(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_) => {
            StoreError::NotAHistory
        }
        error => StoreError::Read(error),
    }
}

fn write(error: impl Into<redb::Error>) -> StoreError {
    match read(error) {
        StoreError::Read(error) => StoreError::Write(error),
        other => other,
    }
}

/// The database trusts its pages, and panics where they are damaged.
fn unharmed<T>(look: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or(Err(StoreError::Damaged))
}

/// Opens the file, and waits while another program has it.
#[allow(clippy::disallowed_methods)] // between programs there is no virtual time, and no simulation reaches this
fn open(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, StoreError> {
    let start = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::Busy),
            Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(StoreError::NotAHistory);
            }
            opened => return opened.map_err(StoreError::Open),
        }
    }
}

fn put(database: &Database, entry: &Entry) -> Result<bool, StoreError> {
    let json = serde_json::to_string(entry).expect("an entry has a JSON form");
    let writing = database.begin_write().map_err(write)?;
    let is_new = {
        // A database of somebody else's is left as it is: without a commit nothing is written.
        let is_empty = writing.list_tables().map_err(write)?.next().is_none();
        let mut about = writing.open_table(ABOUT).map_err(write)?;
        let version = about.get("version").map_err(write)?.map(|version| version.value());
        match version {
            Some(version) => check(version)?,
            None if is_empty => drop(about.insert("version", VERSION).map_err(write)?),
            None => return Err(StoreError::NotAHistory),
        }
        let mut entries = writing.open_table(ENTRIES).map_err(write)?;
        entries.insert((entry.started_ms, json.as_str()), ()).map_err(write)?.is_none()
    };
    writing.commit().map_err(write)?;
    Ok(is_new)
}

fn get(database: &Database) -> Result<Vec<Entry>, StoreError> {
    let reading = database.begin_read().map_err(read)?;
    let about = reading.open_table(ABOUT).map_err(read)?;
    let version = about.get("version").map_err(read)?.map(|version| version.value());
    check(version.ok_or(StoreError::NotAHistory)?)?;
    let table = reading.open_table(ENTRIES).map_err(read)?;
    let mut entries = Vec::new();
    for entry in table.iter().map_err(read)? {
        let (key, _) = entry.map_err(read)?;
        let (_, json) = key.value();
        entries.push(serde_json::from_str(json).map_err(StoreError::Entry)?);
    }
    Ok(entries)
}

fn check(version: u64) -> Result<(), StoreError> {
    if version <= VERSION { Ok(()) } else { Err(StoreError::Newer(version)) }
}

//! The file of a history: an embedded database. A program that is killed while writing loses only its own entry, and
//! two programs that write at the same time lose none.

use std::fmt;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition};

use super::{Entry, History};
use crate::result::BadFile;

/// Version of the tables' contents.
const VERSION: u64 = 1;
/// The table that marks a database as a history, with its version.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("glare-history");
/// Entries as JSON, by start time; a duplicate is stored once.
const ENTRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("entries");
/// How long to wait for another program that has the file open; it usually closes it quickly.
const WAIT_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Adds an entry. Returns false if it was already present.
///
/// # Errors
/// The file cannot be read or written, is not a history, or comes from a newer program.
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
    /// It cannot be read, is not a history, or comes from a newer program.
    pub fn load(file: &Path) -> Result<Self, BadFile> {
        let wrong = |message| BadFile { file: file.to_owned(), line: None, message };
        if !file.exists() {
            return Err(wrong("there is no such file: create it with `history add DIR`".to_owned()));
        }
        // If a program was killed while writing, opening the file repairs it.
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
    /// Another program kept it open for [`WAIT_MAX`].
    Busy,
    Open(DatabaseError),
    Read(redb::Error),
    Write(redb::Error),
    Entry(serde_json::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAHistory => f.write_str("is not a history: `history add` creates one if the file does not exist"),
            Self::Newer(version) => write!(
                f,
                "has version {version}, but this program reads up to version {VERSION}: use the program that wrote it, or a newer one"
            ),
            Self::Damaged => f.write_str("is damaged: keep a copy, and create a new one with `history add`"),
            Self::Busy => {
                write!(
                    f,
                    "another program has kept it open for {} s: close that program, or try again",
                    WAIT_MAX.as_secs()
                )
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

/// Reports a damaged file as an error: the database panics on damaged pages.
fn unharmed<T>(look: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or(Err(StoreError::Damaged))
}

/// Opens the file. Waits while another program has it open.
#[allow(clippy::disallowed_methods)] // waits for another program in real time, outside of every simulation
fn open(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, StoreError> {
    let start = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < WAIT_MAX => std::thread::sleep(PAUSE),
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
        // The database of another program stays unchanged: without a commit, nothing is written.
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

//! What the embedded databases of this crate have in common: opening, versions and errors. A program that is killed while
//! it writes loses only what it had not committed, and programs that write at the same time wait for each other.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableTable as _, StorageError, TableDefinition, WriteTransaction,
};

use crate::result::BadFile;

/// How long to wait for another program that has the file open; it usually closes it quickly.
const WAIT_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A kind of database.
pub(crate) struct Kind {
    /// What it is, such as `a history`.
    pub(crate) what: &'static str,
    /// The command that creates one, in backquotes.
    pub(crate) made_by: &'static str,
    /// The table that marks a database as one of this kind, with its version.
    pub(crate) about: TableDefinition<'static, &'static str, u64>,
    /// Version of the tables' contents.
    pub(crate) version: u64,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(crate) enum Wrong {
    OtherKind,
    Newer(u64),
    Damaged,
    /// Another program kept it open for [`WAIT_MAX`].
    Busy,
    Open(DatabaseError),
    Read(redb::Error),
    Write(redb::Error),
    Entry(serde_json::Error),
    /// What the caller found wrong.
    Other(String),
}

pub(crate) fn read(error: impl Into<redb::Error>) -> Wrong {
    match error.into() {
        redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_) => {
            Wrong::OtherKind
        }
        error => Wrong::Read(error),
    }
}

pub(crate) fn write(error: impl Into<redb::Error>) -> Wrong {
    match read(error) {
        Wrong::Read(error) => Wrong::Write(error),
        other => other,
    }
}

impl Kind {
    /// Uses a file. A damaged file is an error, although the database panics on damaged pages.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub(crate) fn with<T>(&self, file: &Path, work: impl FnOnce() -> Result<T, Wrong>) -> Result<T, BadFile> {
        let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Wrong::Damaged));
        done.map_err(|wrong| BadFile { file: file.to_owned(), line: None, message: self.message(wrong) })
    }

    fn message(&self, wrong: Wrong) -> String {
        let Self { what, made_by, version, .. } = self;
        match wrong {
            Wrong::OtherKind => format!("is not {what}: {made_by} creates one if the file does not exist"),
            Wrong::Newer(newer) => format!(
                "has version {newer}, but this program reads up to version {version}: use the program that wrote it, or a newer one"
            ),
            Wrong::Damaged => format!("is damaged: keep a copy, and create a new one with {made_by}"),
            Wrong::Busy => format!(
                "another program has kept it open for {} s: close that program, or try again",
                WAIT_MAX.as_secs()
            ),
            Wrong::Open(error) => format!("cannot be opened: {error}"),
            Wrong::Read(error) => format!("cannot be read: {error}"),
            Wrong::Write(error) => format!("cannot be written: {error}"),
            Wrong::Entry(error) => format!("has an invalid entry: {error}"),
            Wrong::Other(message) => message,
        }
    }

    /// Opens a file, which is created if it does not exist.
    pub(crate) fn create(&self, file: &Path) -> Result<Database, Wrong> {
        opened(|| Database::builder().create(file))
    }

    /// Opens a file. If a program was killed while writing, this repairs it.
    pub(crate) fn open(&self, file: &Path) -> Result<Database, Wrong> {
        opened(|| Database::builder().open(file))
    }

    /// Checks that a database is of this kind. Marks one that is empty. Without a commit, the database of another program
    /// stays unchanged.
    pub(crate) fn claim(&self, writing: &WriteTransaction) -> Result<(), Wrong> {
        let is_empty = writing.list_tables().map_err(write)?.next().is_none();
        let mut about = writing.open_table(self.about).map_err(write)?;
        let version = about.get("version").map_err(write)?.map(|version| version.value());
        match version {
            Some(version) => self.check(version),
            None if is_empty => about.insert("version", self.version).map(drop).map_err(write),
            None => Err(Wrong::OtherKind),
        }
    }

    /// Checks that a database is of this kind.
    pub(crate) fn recognise(&self, reading: &ReadTransaction) -> Result<(), Wrong> {
        let about = reading.open_table(self.about).map_err(read)?;
        let version = about.get("version").map_err(read)?.map(|version| version.value());
        self.check(version.ok_or(Wrong::OtherKind)?)
    }

    fn check(&self, version: u64) -> Result<(), Wrong> {
        if version <= self.version { Ok(()) } else { Err(Wrong::Newer(version)) }
    }
}

/// Opens a file. Waits while another program has it open.
#[allow(clippy::disallowed_methods)] // waits for another program in real time, outside of every simulation
fn opened(open: impl Fn() -> Result<Database, DatabaseError>) -> Result<Database, Wrong> {
    let start = Instant::now();
    loop {
        match open() {
            Err(DatabaseError::DatabaseAlreadyOpen) if start.elapsed() < WAIT_MAX => std::thread::sleep(PAUSE),
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(Wrong::Busy),
            Err(DatabaseError::Storage(StorageError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Wrong::OtherKind);
            }
            opened => return opened.map_err(Wrong::Open),
        }
    }
}

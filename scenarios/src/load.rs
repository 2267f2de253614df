//! Loads scenarios by name or path.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Problems, instead};
use crate::expand::expand;
use crate::file::File;
use crate::scenario::Scenario;
use crate::shipped;
use crate::table::document;

/// Loads a shipped scenario by its name, such as `mesh-6`, or a file by its path.
///
/// Anything that contains a `/` or ends in `.toml` is a path, and anything else is a name.
///
/// # Errors
/// All problems of the file, each with its line and a suggested fix. The error about an unknown name lists similar
/// ones.
pub fn load(name_or_path: &str) -> Result<Scenario, Error> {
    if let Some(shipped) = shipped::find(name_or_path) {
        return parse(&shipped.path(), shipped.text);
    }
    let path = Path::new(name_or_path);
    if path.components().count() < 2 && path.extension().is_none_or(|extension| extension != "toml") {
        return Err(unknown(name_or_path));
    }
    parse(name_or_path, &read_text(name_or_path)?)
}

/// The text of a file that a person wrote.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub(crate) fn read_text(name: &str) -> Result<String, Error> {
    let path = Path::new(name);
    let bytes = read_file(path).map_err(|wrong| {
        let message = match wrong.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ if path.is_dir() => "is a directory: name a .toml file in it".to_owned(),
            _ => format!("cannot be read: {wrong}"),
        };
        Error::whole(name, message)
    })?;
    String::from_utf8(bytes).map_err(|wrong| {
        let valid = &wrong.as_bytes()[..wrong.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let mut error = Error::whole(name, "is not UTF-8: save the file as UTF-8 text".to_owned());
        error.problems[0].line = Some(line);
        error
    })
}

/// Longest file that people write, in bytes. A device such as `/dev/zero` has no end.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file that a person wrote.
///
/// # Errors
/// It cannot be read, or it is longer than any such file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB, or has no end"));
    }
    Ok(bytes)
}

/// Parses, checks and expands the text of a scenario file. `path_for_messages` is the name of the file in errors.
///
/// # Errors
/// All problems of the text, each with its line and a suggested fix. The text is checked in three stages: syntax, then
/// keys and values, then whether the parts fit together. A stage with problems is the last one.
pub fn parse(path_for_messages: &str, text: &str) -> Result<Scenario, Error> {
    let problems = Problems::new(text);
    match document(text, &problems, |table| File::read(table, &problems)).and_then(|file| expand(&file, &problems)) {
        Some(scenario) if problems.none() => Ok(scenario),
        _ => Err(problems.into_error(path_for_messages)),
    }
}

/// The error about a name that is neither a shipped scenario nor a path.
fn unknown(name: &str) -> Error {
    let instead = instead(name, "shipped", shipped::names());
    Error::whole(name, format!("no shipped scenario has this name, and a path must end in .toml{instead}"))
}

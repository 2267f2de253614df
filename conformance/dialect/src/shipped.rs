//! The dialects that come with the suite, and finding a dialect by name or path.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::Dialect;
use crate::error::DialectError;
use crate::words::instead;

/// Name and text of every file in `conformance/dialects`, written by `build.rs`.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/dialects.rs"));

/// Other names by which people look for a protocol, and the name of its dialect, which is that of the package that implements it.
const ALIASES: &[(&str, &str)] = &[("webtorrent", "bittorrent-tracker")];

/// The name of a dialect that comes with the suite, where `name` may be another name of it.
fn own_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, own)| own)
}

/// The names of the dialects that come with the suite.
pub fn shipped() -> impl Iterator<Item = &'static str> + Clone {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The file of a dialect that comes with the suite, as text.
pub fn shipped_text(name: &str) -> Option<&'static str> {
    let name = own_name(name);
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Longest file that people write, in bytes. A device such as `/dev/zero` has no end.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file that a person wrote.
///
/// # Errors
/// It cannot be read, is not UTF-8, or is longer than any such file.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB, or has no end"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

pub(crate) fn load(name_or_path: &str) -> Result<Dialect, DialectError> {
    if let Some(text) = shipped_text(name_or_path) {
        return Dialect::parse(&format!("conformance/dialects/{}.toml", own_name(name_or_path)), text);
    }
    let path = Path::new(name_or_path);
    if path.components().count() < 2 && path.extension().is_none_or(|extension| extension != "toml") {
        let names = shipped().chain(ALIASES.iter().map(|(alias, _)| *alias));
        let instead = instead(name_or_path, "shipped", names);
        let message = format!("no shipped dialect has this name, and a path would end in .toml{instead}");
        return Err(DialectError::whole(name_or_path, message));
    }
    let text = read_text(path).map_err(|wrong| {
        let message = match wrong.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::InvalidData => "is not UTF-8: save the file as UTF-8 text".to_owned(),
            _ if path.is_dir() => "is a directory: name a .toml file in it".to_owned(),
            _ => format!("cannot be read: {wrong}"),
        };
        DialectError::whole(name_or_path, message)
    })?;
    let mut dialect = Dialect::parse(name_or_path, &text)?;
    dialect.folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_name_leads_to_a_shipped_dialect_and_is_none_itself() {
        for (alias, name) in ALIASES {
            assert!(!shipped().any(|shipped| shipped == *alias), "{alias}");
            assert_eq!(load(alias).expect("it is shipped").name(), *name);
        }
    }
}

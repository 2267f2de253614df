//! The dialects that come with the suite, and finding a dialect by name or path.

use std::fs;
use std::io;
use std::path::Path;

use crate::Dialect;
use crate::error::DialectError;
use crate::words::instead;

/// Name and text of every file in `conformance/dialects`, written by `build.rs`.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/dialects.rs"));

/// The names of the dialects that come with the suite.
pub fn shipped() -> impl Iterator<Item = &'static str> + Clone {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The file of a dialect that comes with the suite, as text.
pub fn shipped_text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

pub(crate) fn load(name_or_path: &str) -> Result<Dialect, DialectError> {
    if let Some(text) = shipped_text(name_or_path) {
        return Dialect::parse(&format!("conformance/dialects/{name_or_path}.toml"), text);
    }
    let path = Path::new(name_or_path);
    if path.components().count() < 2 && path.extension().is_none_or(|extension| extension != "toml") {
        let instead = instead(name_or_path, "shipped", shipped());
        let message = format!("no shipped dialect has this name, and a path would end in .toml{instead}");
        return Err(DialectError::whole(name_or_path, message));
    }
    let text = fs::read_to_string(path).map_err(|wrong| {
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

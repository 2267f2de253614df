//! How the program ends when it cannot do what it was asked to do.

use std::fmt::Display;
use std::process::ExitCode;

/// Bad usage, or a bad file.
pub(crate) const USAGE: u8 = 2;
/// The server cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

/// Prints an error; the exit code says of which kind it is.
pub(crate) fn refuse(error: &(impl Display + ?Sized), code: u8) -> ExitCode {
    anstream::eprintln!("{RED}error{RED:#}: {error:#}");
    ExitCode::from(code)
}

//! The exit codes for errors, and how errors are printed.

use std::fmt::Display;
use std::process::ExitCode;

/// Bad usage, or a bad file.
pub(crate) const USAGE: u8 = 2;
/// The server cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;
/// There was nothing to be tested, so the result would mean nothing.
pub(crate) const NOTHING: u8 = 4;

const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

/// Prints an error; returns the exit code of its kind.
pub(crate) fn report_error(error: &(impl Display + ?Sized), code: u8) -> ExitCode {
    errln!("{RED}error{RED:#}: {error:#}");
    ExitCode::from(code)
}

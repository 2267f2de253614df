//! Standard output and standard error. If nobody reads any further, as behind `| head`, the program goes on to its
//! verdict, which is its exit code, without a word.

use std::io::{self, Write};

/// Prints a text, without its colors if the terminal has none.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::print(&format!($($text)*)) };
}

/// Prints a text and a line feed.
macro_rules! outln {
    () => { $crate::output::print("\n") };
    ($($text:tt)*) => { $crate::output::print(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints a text and a line feed on standard error.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::print_error(&format!("{}\n", format_args!($($text)*))) };
}

/// Prints on standard output.
pub(crate) fn print(text: &str) {
    write(anstream::stdout().lock(), text);
}

/// Prints on standard error.
pub(crate) fn print_error(text: &str) {
    write(anstream::stderr().lock(), text);
}

fn write(mut stream: impl Write, text: &str) {
    let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if let Err(error) = unless_reader_gone(written) {
        // There is nowhere else to say it.
        let _ = writeln!(io::stderr(), "error: cannot print: {error}");
        std::process::exit(i32::from(crate::exit::USAGE));
    }
}

/// Treats what was written as written if nobody reads any further.
fn unless_reader_gone(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Standard output as a stream, for results that programs read.
#[derive(Default)]
pub(crate) struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_reader_gone(io::stdout().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_reader_gone(io::stdout().flush())
    }
}

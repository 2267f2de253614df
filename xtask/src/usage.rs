//! What is wrong with a command line, in the words of a person.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What Rust's parsers of numbers say, and what a person would.
const NUMBERS: [(&str, &str); 5] = [
    ("invalid digit found in string", "it must be a whole number, such as 7"),
    ("cannot parse integer from empty string", "it must be a whole number, such as 7"),
    ("number would be zero for non-zero type", "it must be at least 1"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
];

/// Commands that take something by an option, the beginning of what it looks like, and that option.
const OPTIONS: [(&str, &[&str], &str); 3] = [
    ("sim", &[""], "--scenario"),
    ("conformance", &["ws://", "wss://", "http://", "https://"], "--url"),
    ("load", &["ws://", "wss://", "http://", "https://"], "--url"),
];

/// Prints the error and ends the program, as clap does.
pub(crate) fn exit(error: &clap::Error) -> ! {
    let rendered = error.render();
    let mut text = rendered.ansi().to_string();
    for (said, meant) in NUMBERS {
        text = text.replace(said, meant);
    }
    if let Some(tip) = tip(error, std::env::args().nth(1).as_deref()) {
        text = text.trim_end().replacen("\n\n", &format!("\n\n  tip: {tip}\n\n"), 1) + "\n";
    }
    if error.use_stderr() {
        crate::output::print_error(&text);
    } else {
        crate::output::print(&text);
    }
    std::process::exit(error.exit_code())
}

/// The option that somebody probably meant who wrote only its value.
fn tip(error: &clap::Error, command: Option<&str>) -> Option<String> {
    let context = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else { return None };
    let (_, _, option) = OPTIONS
        .iter()
        .find(|(of, begins, _)| Some(*of) == command && begins.iter().any(|begin| word.starts_with(begin)))?;
    (!word.starts_with('-')).then(|| format!("write `{option} {word}`"))
}

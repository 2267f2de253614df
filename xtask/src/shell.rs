//! `glare completions` and `glare man`: both are generated from the command line's definition, so they are never out of date.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// Shell to print it for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints a completion script.
pub(crate) fn completions(arguments: &Completions) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "glare", &mut text);
    print(&text)
}

/// Prints the manual page, followed by those of the commands.
pub(crate) fn man() -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    let mut command = crate::Arguments::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = format!("glare {}", inner.get_name());
        let man = clap_mangen::Man::new(inner.clone().bin_name(&name).display_name(&name));
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        man.render_options_section(&mut text)?;
    }
    print(&text)
}

/// Prints bytes. A closed pipe is not an error: the reader has read enough.
fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    match io::Write::write_all(&mut io::stdout(), text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

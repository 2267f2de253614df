//! `glare completions` and `glare man`: both are generated from the command line's definition, so they are never out of date.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::CommandFactory as _;
use conformance::stun::Service;

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
    let mut command = crate::Arguments::command();
    let mut lists = Vec::new();
    for (path, argument, kind) in NAMES {
        let names = kind.names();
        command = with_names(command, path, argument, &names);
        lists.push((names, *kind));
    }
    clap_complete::generate(arguments.shell, &mut command, "glare", &mut text);
    let mut text = String::from_utf8(text)?;
    for (names, kind) in lists {
        if kind.may_be_a_file() {
            text = with_files(text, arguments.shell, &names);
        }
    }
    crate::output::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Arguments that take names, by their commands and their ids.
const NAMES: &[(&[&str], &str, Names)] = &[
    (&["sim"], "scenario", Names::Scenarios),
    (&["sim"], "dialect", Names::Dialects),
    (&["campaign"], "dialect", Names::Dialects),
    (&["campaign"], "profiles", Names::StoryProfiles),
    (&["shrink"], "file", Names::Scenarios),
    (&["shrink"], "scenario", Names::Scenarios),
    (&["shrink"], "dialect", Names::Dialects),
    (&["conformance"], "scenarios", Names::ScenariosOnTheWire),
    (&["conformance"], "dialect", Names::Dialects),
    (&["conformance"], "cases", Names::Cases),
    (&["conformance"], "groups", Names::Groups),
    (&["conformance", "replay"], "dialect", Names::Dialects),
    (&["dialect", "check"], "dialect", Names::Dialects),
    (&["load"], "dialect", Names::Dialects),
];

/// What an argument names.
#[derive(Clone, Copy)]
enum Names {
    Scenarios,
    ScenariosOnTheWire,
    Dialects,
    Cases,
    Groups,
    StoryProfiles,
}

impl Names {
    fn names(self) -> Vec<&'static str> {
        let shipped = scenarios::shipped().map(|scenario| scenario.name);
        let services = [Service::Stun, Service::Turn].into_iter().flat_map(conformance::service_cases);
        let cases = conformance::cases().iter().chain(services);
        match self {
            Self::Scenarios => shipped.collect(),
            Self::ScenariosOnTheWire => shipped.chain(["all"]).collect(),
            Self::Dialects => conformance::shipped().collect(),
            Self::StoryProfiles => ::scenarios::StoryProfile::names().collect(),
            Self::Cases => cases.map(|case| case.slug).collect(),
            Self::Groups => {
                let groups: BTreeSet<_> =
                    cases.filter_map(|case| case.slug.split_once('/')).map(|(group, _)| group).collect();
                groups.into_iter().collect()
            }
        }
    }

    fn may_be_a_file(self) -> bool {
        matches!(self, Self::Scenarios | Self::ScenariosOnTheWire | Self::Dialects | Self::StoryProfiles)
    }
}

/// The command with names as the values of an argument. For completions only: other values are valid too.
fn with_names(
    command: clap::Command,
    path: &'static [&'static str],
    argument: &'static str,
    names: &[&'static str],
) -> clap::Command {
    match path {
        [] => command.mut_arg(argument, |argument| {
            argument.value_parser(clap::builder::PossibleValuesParser::new(names.iter().copied()))
        }),
        [first, rest @ ..] => command.mut_subcommand(*first, |command| with_names(command, rest, argument, names)),
    }
}

/// The script, with files beside these names: generators complete either the one or the other.
fn with_files(script: String, shell: clap_complete::Shell, names: &[&str]) -> String {
    let words = names.join(" ");
    match shell {
        clap_complete::Shell::Bash => {
            script.replace(&format!("compgen -W \"{words}\" "), &format!("compgen -f -W \"{words}\" "))
        }
        clap_complete::Shell::Zsh => {
            let both = format!(":{{_alternative \"names:name:({words})\" \"files:file:_files\"}}'");
            script.replace(&format!(":({words})'"), &both)
        }
        clap_complete::Shell::Fish => {
            let first = names.first().copied().unwrap_or_default();
            let is_list = |line: &&str| line.contains(&format!(" -r -f -a \"{first}"));
            let lines = script.lines().map(|line| match is_list(&line) {
                true => line.replacen(" -r -f -a ", " -r -F -a ", 1),
                false => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n") + "\n"
        }
        _ => script,
    }
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
    let mut text = String::from_utf8(text)?;
    // There is one page: the commands are in it, and have none of their own.
    for inner in command.get_subcommands() {
        let name = inner.get_name();
        let escaped = name.replace('-', "\\-");
        text = text.replace(&format!("glare\\-{escaped}(1)"), &format!("glare {name}"));
    }
    crate::output::print(&text);
    Ok(ExitCode::SUCCESS)
}

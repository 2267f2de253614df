//! What a campaign plays: its story profiles, and the server that is tested.

use anyhow::{Context, anyhow};
use reports::campaign::Plan;
use scenarios::{Scenario, StoryProfile};
use sim::campaign::{Target, adapted, generate, generate_from};

use super::Play;
use crate::mutants;
use crate::sink::TOOL;

/// The story profiles, which fit the target, and the target.
pub(super) struct Setup {
    pub(super) plan: Plan,
    profiles: Vec<StoryProfile>,
    target: Target,
}

impl Setup {
    /// The setup of a command line.
    ///
    /// # Errors
    /// A file or a name is wrong, or the parts do not fit together.
    pub(super) fn of(arguments: &Play) -> anyhow::Result<Self> {
        let mut dialect = arguments.dialect.clone();
        let mut program = arguments.program.program(None)?;
        if let Some(name) = &arguments.mutant {
            let planted = mutants::planted(name, dialect.as_deref())?;
            dialect = Some(planted.dialect);
            program = Some(planted.program);
        }
        let names = match arguments.profiles.is_empty() {
            false => arguments.profiles.clone(),
            // Signaling only: its stories are short, and a server sees nothing of WebRTC.
            true if dialect.is_some() => vec!["roles".to_owned()],
            true if program.is_some() => vec!["crowd".to_owned()],
            true => StoryProfile::names().map(str::to_owned).collect(),
        };
        let load = |name: &String| StoryProfile::load(name).map(|profile| profile.text);
        let plan = Plan {
            tool: TOOL.to_owned(),
            profiles: names.iter().map(load).collect::<Result<_, _>>()?,
            dialect,
            program,
            mutant: arguments.mutant.clone(),
            guided: arguments.minutes.is_some(),
        };
        Self::checked(&plan)
    }

    /// The setup of a plan whose stories can be played on this machine.
    ///
    /// # Errors
    /// No story can be played in its dialect, or there is no such server program.
    pub(super) fn checked(plan: &Plan) -> anyhow::Result<Self> {
        let setup = Self::of_plan(plan)?;
        setup.check()?;
        Ok(setup)
    }

    /// The setup of a plan.
    ///
    /// # Errors
    /// No story can be played in its dialect.
    pub(super) fn of_plan(plan: &Plan) -> anyhow::Result<Self> {
        let target = Target { dialect: plan.dialect.clone(), program: plan.program.clone() };
        let profile = |text: &String| {
            let profile = StoryProfile::parse("the story profile", text)?;
            adapted(&profile, &target).map_err(|misfit| {
                let dialect = plan.dialect.as_deref().unwrap_or_default();
                anyhow!("stories cannot be played in the dialect `{dialect}`: {misfit}")
            })
        };
        let profiles = plan.profiles.iter().map(profile).collect::<anyhow::Result<_>>()?;
        Ok(Self { plan: plan.clone(), profiles, target })
    }

    /// Checks that the server program exists, and that the stories are all of its protocol.
    fn check(&self) -> anyhow::Result<()> {
        for profile in self.profiles.iter().filter(|_| self.target.program.is_some()) {
            let mut all = generate(0, profile, &self.target);
            let first = all.actors[0].clone();
            all.actors = profile
                .roles
                .iter()
                .map(|role| scenarios::Actor { plays: *role, over: role.framing(), ..first.clone() })
                .collect();
            sim::run::check_program(&all).map_err(|wrong| anyhow!(wrong)).with_context(|| {
                format!("the stories of `{}` cannot be played against the server program", profile.name)
            })?;
        }
        Ok(())
    }

    /// The profile that a seed takes.
    pub(super) fn profile_of(&self, seed: u64) -> usize {
        (seed % self.profiles.len() as u64) as usize
    }

    /// The story of a seed.
    pub(super) fn story(&self, seed: u64) -> Scenario {
        generate(seed, &self.profiles[self.profile_of(seed)], &self.target)
    }

    /// The story that some bytes stand for, with this number among the varied ones.
    pub(super) fn varied(&self, number: u64, profile: usize, bytes: &[u8]) -> anyhow::Result<Scenario> {
        let profile = self.profiles.get(profile).context("the campaign's file names a story profile that it lacks")?;
        Ok(generate_from(bytes, &format!("{}-v{number}", profile.name), profile, &self.target))
    }
}

//! Cases: the rules that the suite tests, each with its level and citations.

use std::fmt;

use crate::cx::CaseFn;
use crate::dialect::{Dialect, Feature};
use crate::stun;

/// One rule that a server is tested against. The meaning of a released slug never changes.
pub struct Case {
    /// Stable id: `group/name`.
    pub slug: &'static str,
    /// How binding the rule is.
    pub level: Level,
    /// The rule in one sentence.
    pub rule: &'static str,
    /// The sentences of public specifications that state the rule; empty for a rule of the dialect alone.
    pub citations: &'static [Citation],
    /// Slugs of the cases that must pass first: without them, the result of this case means nothing.
    pub needs: &'static [&'static str],
    /// Whether the case needs the server to itself: it sends input that may kill the server, or other cases would hide
    /// what it looks for.
    pub alone: bool,
    /// Whether the case has to wait out a lifetime. Slow cases run only with `--slow`.
    pub slow: bool,
    /// The features that a dialect must have for this case.
    pub(crate) requires: &'static [Feature],
    pub(crate) body: Body,
}

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A public specification says MUST.
    Must,
    /// A public specification says SHOULD.
    Should,
    /// A public specification says MAY, or the result is worth knowing.
    May,
    /// The dialect declares it.
    Declared,
}

/// A sentence of a public specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Citation {
    /// Document and section: `RFC 6455 §5.1`.
    pub section: &'static str,
    /// Where to read it.
    pub url: &'static str,
    /// The sentence, verbatim.
    pub quote: &'static str,
}

/// A case's function, by the kind of server it tests.
pub(crate) enum Body {
    /// A signaling server.
    Signaling(CaseFn),
    /// A STUN or TURN server.
    Network(stun::cx::CaseFn),
}

impl Level {
    /// Whether this level is at least as binding as `other`. What the dialect declares counts as MUST.
    pub(crate) fn binds_like(self, other: Self) -> bool {
        let rank = |level| match level {
            Self::Must | Self::Declared => 2,
            Self::Should => 1,
            Self::May => 0,
        };
        rank(self) >= rank(other)
    }
}

impl Case {
    /// The part of the slug before the slash.
    pub fn group(&self) -> &'static str {
        self.slug.split('/').next().unwrap_or_default()
    }

    /// What the case needs and a dialect lacks, in words: then the case is unsupported. `None` if the dialect has it all.
    pub fn lacking(&self, dialect: &Dialect) -> Option<String> {
        let lacks = self.requires.iter().find_map(|feature| dialect.lacks(*feature))?;
        Some(format!("the dialect {lacks}"))
    }

    /// The line of the dialect file, from 1, that explains a failure of this case. `received` is the server's message
    /// that shows the failure, if there is one.
    pub fn line_in(&self, dialect: &Dialect, received: Option<&str>) -> usize {
        dialect.line_about(self.slug, self.requires, received)
    }

    /// A case for a signaling server. It needs no other case and may run beside others.
    pub(crate) const fn new(slug: &'static str, level: Level, rule: &'static str, run: CaseFn) -> Self {
        Self::of(slug, level, rule, Body::Signaling(run))
    }

    /// A case for a STUN or TURN server. It needs no other case and may run beside others.
    pub(crate) const fn network(slug: &'static str, level: Level, rule: &'static str, run: stun::cx::CaseFn) -> Self {
        Self::of(slug, level, rule, Body::Network(run))
    }

    const fn of(slug: &'static str, level: Level, rule: &'static str, body: Body) -> Self {
        Self { slug, level, rule, citations: &[], needs: &[], alone: false, slow: false, requires: &[], body }
    }

    pub(crate) const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn cites(mut self, citations: &'static [Citation]) -> Self {
        self.citations = citations;
        self
    }

    pub(crate) const fn requires(mut self, requires: &'static [Feature]) -> Self {
        self.requires = requires;
        self
    }

    pub(crate) const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    pub(crate) const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
            Self::Declared => "declared",
        })
    }
}

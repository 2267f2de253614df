//! The protocols that the suite speaks. Each is code for now: what to send, and what arrives, read tolerantly.

use std::fmt;
use std::str::FromStr;

use crate::case::Case;

pub(crate) mod mesh;

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// N peers a room, everyone to everyone.
    Mesh,
}

/// A name that is no dialect's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDialect(String);

impl Dialect {
    /// The name it is called by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
        }
    }

    /// Every case that can be asked of it, in the order of the catalogue.
    pub fn cases(self) -> &'static [&'static Case] {
        match self {
            Self::Mesh => crate::cases::mesh(),
        }
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        if name == "mesh" { Ok(Self::Mesh) } else { Err(UnknownDialect(name.to_owned())) }
    }
}

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no dialect `{}` yet, only `mesh`", self.0)
    }
}

impl std::error::Error for UnknownDialect {}

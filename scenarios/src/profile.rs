//! The schema of profile files, and the keys of a NAT's behavior, which scenarios can override.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Problems;
use crate::file::Port;
use crate::nat::{Dependence, FilterState, Hairpinning, NatBehavior, Pooling, PortAllocation, Unsolicited};
use crate::table::{Lined, Read, Table, mistyped};
use crate::value::{BadValue, Name, Parse, Subnet, Why, Word, show, word};

/// A profile file.
#[derive(Debug)]
pub(crate) struct ProfileFile {
    pub(crate) name: String,
    pub(crate) about: String,
    /// The default subnet inside such a NAT.
    pub(crate) subnet: Option<Subnet>,
    /// The default number of external addresses of such a NAT.
    pub(crate) external: u32,
    pub(crate) behavior: Option<NatBehavior>,
}

impl ProfileFile {
    /// Reads a document. Reports problems and returns `None` if there are any.
    pub(crate) fn read(document: &DeTable<'_>, problems: &Problems) -> Option<Self> {
        let mut table = Table::new(document, "a profile".to_owned(), 1, problems);
        let name = table.required::<Name>("name");
        let about = table.required::<String>("about");
        let subnet = table.optional("subnet");
        let external = table.optional("external");
        let nat = table.optional::<NatKeys>("nat");
        table.finish();
        let behavior = match nat {
            None => None,
            Some(nat) => Some(nat.value.complete().or_else(|| {
                problems.report(nat.line, "a profile needs every key of a NAT's behavior");
                None
            })?),
        };
        if let Some(contradiction) = behavior.as_ref().and_then(NatBehavior::contradiction) {
            problems.report(1, contradiction);
        }
        if !problems.none() {
            return None;
        }
        Some(Self {
            name: name?.value.0,
            about: about?.value,
            subnet: subnet.map(|subnet| subnet.value),
            external: external.map_or(1, |external| external.value),
            behavior,
        })
    }
}

/// The lifetime of a NAT's mappings; never zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime(Duration);

impl Parse for Lifetime {
    const RIGHT: &'static str = "a time such as \"30s\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        match Duration::parse(text)? {
            Duration::ZERO => Err(BadValue::new(text, Why::NoLifetime)),
            lifetime => Ok(Self(lifetime)),
        }
    }
}

/// TCP ports, in order.
#[derive(Clone, Debug)]
pub(crate) struct Ports(Vec<u16>);

impl Read for Ports {
    const RIGHT: &'static str = "a list of ports such as [3478, 5349]";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        if !matches!(value.get_ref(), DeValue::Array(_)) {
            return mistyped(value, name, problems);
        }
        let mut ports: Vec<u16> =
            Vec::<Lined<Port>>::read(value, name, problems)?.into_iter().map(|port| port.value.0).collect();
        ports.sort_unstable();
        if let Some(twice) = ports.windows(2).find(|pair| pair[0] == pair[1]) {
            problems.report(problems.line(&value.span()), format!("`{name}`: {} is listed twice", twice[0]));
            return None;
        }
        Some(Self(ports))
    }
}

/// A value of a NAT's behavior that can be written as TOML.
trait Written {
    fn written(&self) -> String;
}

impl<T: Word + PartialEq> Written for T {
    fn written(&self) -> String {
        format!("\"{}\"", word(*self))
    }
}

impl Written for Duration {
    fn written(&self) -> String {
        format!("\"{}\"", show(*self))
    }
}

impl Written for bool {
    fn written(&self) -> String {
        self.to_string()
    }
}

impl Written for Vec<u16> {
    fn written(&self) -> String {
        format!("{self:?}")
    }
}

impl Written for usize {
    fn written(&self) -> String {
        self.to_string()
    }
}

/// Declares the keys of a NAT's behavior once, for reading, overriding, completing and writing.
macro_rules! nat_keys {
    ($($field:ident, $key:literal, $read:ty, $into:expr;)*) => {
        /// Some or all keys of a NAT's behavior.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct NatKeys { $($field: Option<$read>,)* }

        impl NatKeys {
            /// Replaces the values in `behavior` for which there is a key.
            pub(crate) fn apply(&self, behavior: &mut NatBehavior) {
                $(if let Some(value) = self.$field.clone() { behavior.$field = $into(value); })*
            }

            /// The behavior, if no key is missing.
            fn complete(&self) -> Option<NatBehavior> {
                Some(NatBehavior { $($field: $into(self.$field.clone()?),)* })
            }
        }

        /// The keys in which a behavior differs from `base`, each with its value as TOML.
        pub(crate) fn differing_keys(behavior: &NatBehavior, base: &NatBehavior) -> Vec<(&'static str, String)> {
            let mut keys = Vec::new();
            $(if behavior.$field != base.$field { keys.push(($key, behavior.$field.written())); })*
            keys
        }

        impl Read for NatKeys {
            const RIGHT: &'static str = "a table such as { filtering = \"address-dependent\" }";

            fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
                let mut table = Table::of::<Self>(value, name, problems)?;
                let keys = Self { $($field: table.optional::<$read>($key).map(|entry| entry.value),)* };
                table.finish();
                Some(keys)
            }
        }
    };
}

nat_keys! {
    mapping, "mapping", Dependence, std::convert::identity;
    filtering, "filtering", Dependence, std::convert::identity;
    filter_state, "filter-state", FilterState, std::convert::identity;
    port_allocation, "port-allocation", PortAllocation, std::convert::identity;
    hairpinning, "hairpinning", Hairpinning, std::convert::identity;
    pooling, "pooling", Pooling, std::convert::identity;
    udp_lifetime_new, "udp-lifetime-new", Lifetime, |lifetime: Lifetime| lifetime.0;
    udp_lifetime, "udp-lifetime", Lifetime, |lifetime: Lifetime| lifetime.0;
    udp_stream_after, "udp-stream-after", Duration, std::convert::identity;
    udp_inbound_refresh, "udp-inbound-refresh", bool, std::convert::identity;
    tcp_lifetime, "tcp-lifetime", Lifetime, |lifetime: Lifetime| lifetime.0;
    tcp_lifetime_opening, "tcp-lifetime-opening", Lifetime, |lifetime: Lifetime| lifetime.0;
    tcp_lifetime_closing, "tcp-lifetime-closing", Lifetime, |lifetime: Lifetime| lifetime.0;
    tcp_lifetime_reset, "tcp-lifetime-reset", Lifetime, |lifetime: Lifetime| lifetime.0;
    tcp_pick_up, "tcp-pick-up", bool, std::convert::identity;
    unsolicited, "unsolicited", Unsolicited, std::convert::identity;
    max_mappings, "max-mappings", u32, |most: u32| most as usize;
    udp_blocked, "udp-blocked", bool, std::convert::identity;
    tcp_ports_blocked, "tcp-ports-blocked", Ports, |ports: Ports| ports.0;
}

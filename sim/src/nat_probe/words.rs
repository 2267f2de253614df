//! Findings in plain words.

use std::fmt;
use std::time::Duration;

use scenarios::{Dependence, Hairpinning, NatBehavior, NetworkIndex};

use super::{Findings, Lifetime, Ports, Unknown};
use crate::reachability::{Place, Verdict, can_connect};

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOtherAddress => {
                f.write_str("the server has one address only: it sends no OTHER-ADDRESS (RFC 5780 §7.4)")
            }
            Self::OtherAddressSilent => f.write_str("the server's other address does not answer"),
            Self::ChangeRefused(code) => write!(f, "the server does not answer from other addresses (error {code})"),
            Self::ResponsePortRefused(code) => write!(f, "the server does not answer to other ports (error {code})"),
            Self::NoResponsePort => {
                f.write_str("no answer to another port comes through (RESPONSE-PORT, RFC 5780 §7.5)")
            }
            Self::NoNat => f.write_str("there is no NAT"),
        }
    }
}

impl Findings {
    /// Each finding with its subject, and last what they mean for a call.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let known = |found: Result<String, Unknown>| match found {
            Ok(words) => words,
            Err(Unknown::NoNat) => Unknown::NoNat.to_string(),
            Err(why) => format!("not known: {why}"),
        };
        let address = match self.has_nat() {
            true => format!("{} is seen as {}: there is a NAT", self.local, self.mapped),
            false => format!("{} is seen as it is: there is no NAT", self.local),
        };
        let mut words = vec![("address", address)];
        if self.externals.len() > 1 {
            words.push(("addresses", format!("the NAT uses {} addresses", self.externals.len())));
        }
        words.push(("mapping", known(self.mapping.map(|mapping| mapping_words(mapping).to_owned()))));
        if self.has_nat() {
            let ports = match self.ports {
                Ports::Preserved => "external ports are those of the sockets",
                Ports::Sequential => "external ports are given in sequence",
                Ports::Other => "external ports follow no pattern",
            };
            words.push(("ports", ports.to_owned()));
        }
        words.push(("filtering", known(self.filtering.map(|filtering| filtering_words(filtering).to_owned()))));
        words.push(("hairpinning", known(self.hairpinning.map(|it| hairpinning_words(it).to_owned()))));
        match self.lifetimes {
            None => {}
            Some(Ok(lifetimes)) => {
                for (subject, lifetime) in [
                    ("a question", lifetimes.question),
                    ("an answer", lifetimes.answer),
                    ("a stream", lifetimes.stream),
                ] {
                    words.push(("lifetime", format!("after {subject}: {}", lifetime_words(lifetime))));
                }
            }
            Some(Err(why)) => words.push(("lifetime", known(Err(why)))),
        }
        words.push(("a call", self.call()));
        words
    }

    /// With whom calls need a TURN server.
    fn call(&self) -> String {
        let mapping = match self.mapping {
            Err(Unknown::NoNat) => Ok(Dependence::EndpointIndependent),
            other => other,
        };
        let (Ok(mapping), Ok(filtering)) = (mapping, self.filtering) else {
            return "not known, because the mapping or the filtering is not".to_owned();
        };
        let nat = |profile: &str| -> NatBehavior {
            scenarios::profile(profile).and_then(|profile| profile.behavior).expect("a shipped profile")
        };
        let ours = Place::internet().behind(NetworkIndex(0), NatBehavior { mapping, filtering, ..nat("full-cone") });
        let needs_relay = |theirs: &Place| !matches!(can_connect(&ours, theirs), Verdict::Connects(_));
        let behind = |profile| Place::internet().behind(NetworkIndex(1), nat(profile));
        let others = [
            ("on the internet", Place::internet()),
            ("behind a usual router at home (endpoint-independent mapping, filtering by port)", behind("home-median")),
            ("behind a NAT with a port for each destination (address-and-port-dependent mapping)", behind("symmetric")),
        ];
        let list = |is_relayed| {
            let whom = others.iter().filter(|(_, place)| needs_relay(place) == is_relayed).map(|(name, _)| *name);
            whom.collect::<Vec<_>>().join(", ")
        };
        let (direct, relayed) = (list(false), list(true));
        match (direct.is_empty(), relayed.is_empty()) {
            (_, true) => format!("direct with a peer {direct}"),
            (true, false) => format!("needs a TURN server with a peer {relayed}"),
            (false, false) => format!("direct with a peer {direct}; needs a TURN server with a peer {relayed}"),
        }
    }
}

fn mapping_words(mapping: Dependence) -> &'static str {
    match mapping {
        Dependence::EndpointIndependent => "endpoint-independent: all destinations see the same external port",
        Dependence::AddressDependent => "address-dependent: each destination address sees another external port",
        Dependence::AddressAndPortDependent => {
            "address-and-port-dependent: each destination address and port sees another external port"
        }
    }
}

fn filtering_words(filtering: Dependence) -> &'static str {
    match filtering {
        Dependence::EndpointIndependent => "endpoint-independent: datagrams come in from everybody",
        Dependence::AddressDependent => "address-dependent: datagrams come in from addresses that were sent to",
        Dependence::AddressAndPortDependent => {
            "address-and-port-dependent: datagrams come in only from an address and port that were sent to"
        }
    }
}

fn hairpinning_words(hairpinning: Hairpinning) -> &'static str {
    match hairpinning {
        Hairpinning::Off => "no: two hosts behind this NAT do not reach each other's external addresses",
        Hairpinning::InternalSource => "yes, but the internal address is the source, which RFC 4787 §6 forbids",
        Hairpinning::RouterSource => "yes, but the router's own address is the source, which RFC 4787 §6 forbids",
        Hairpinning::ExternalSource => "yes: two hosts behind this NAT reach each other's external addresses",
    }
}

fn lifetime_words(lifetime: Lifetime) -> String {
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    match lifetime {
        Lifetime { lives, gone: None } => format!("at least {}, the longest time that was asked", seconds(lives)),
        Lifetime { lives: Duration::ZERO, gone: Some(gone) } => format!("less than {}", seconds(gone)),
        Lifetime { lives, gone: Some(gone) } => format!("between {} and {}", seconds(lives), seconds(gone)),
    }
}

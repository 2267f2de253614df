//! The shipped scenarios and profiles.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use scenarios::{
    Action, Actor, ActorIndex, Command, Dependence, Jitter, Machine, MachineAction, NatBehavior, NetworkAction,
    Pooling, Scenario, StoryProfile, Trouble, load, parse, profile, profiles, shipped,
};

#[test]
fn every_shipped_scenario_loads_by_its_name_and_by_its_path() {
    for shipped in shipped() {
        let scenario = load(shipped.name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.name, shipped.name, "the file is called as the scenario");
        assert_eq!(scenario.about, shipped.about);
        assert!(!scenario.spec.is_empty(), "{}", shipped.name);
        assert!(
            shipped.text.lines().nth(1).is_some_and(|line| line.starts_with("# ")),
            "{} begins with what it shows and why",
            shipped.name
        );
        assert_eq!(load(&format!("../{}", shipped.path())), Ok(scenario));
    }
}

/// Without it, every seed would give the same story.
#[test]
fn every_shipped_scenario_has_jitter() {
    for shipped in shipped() {
        let scenario = load(shipped.name).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(scenario.server.link.up.jitter, Jitter::NONE, "{}", shipped.name);
    }
}

#[test]
fn every_file_is_shipped() {
    for group in ["basic", "negotiation", "signaling", "nat", "turn", "media", "population"] {
        let shipped: BTreeSet<_> =
            shipped().filter(|shipped| shipped.group == group).map(|shipped| shipped.name.to_owned()).collect();
        assert_eq!(toml_files(group), shipped);
    }
    assert_eq!(toml_files("profiles"), profiles().map(|profile| profile.name).collect());
}

/// `UPDATE_DOCS=1` writes the table of the kinds of trouble.
#[test]
fn the_page_of_campaigns_lists_every_profile_and_every_kind_of_trouble() {
    const BEGIN: &str = "<!-- generated: kinds of trouble -->\n";
    const END: &str = "<!-- end -->";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/campaigns.md");
    let page = std::fs::read_to_string(&path).expect("it is there");
    for profile in StoryProfile::shipped() {
        assert!(
            page.contains(&format!("| [`{0}`](../scenarios/stories/{0}.toml) |", profile.name)),
            "{}",
            profile.name
        );
    }
    let rows = Trouble::ALL.iter().map(|trouble| format!("| `{trouble}` | {} |\n", trouble.what()));
    let table = format!("| weight of | what happens |\n|---|---|\n{}", rows.collect::<String>());
    let (head, rest) = page.split_once(BEGIN).expect("it has the place of the table");
    let (_, tail) = rest.split_once(END).expect("it has the end of the table");
    let right = format!("{head}{BEGIN}{table}{END}{tail}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &right).expect("the folder is there");
        return;
    }
    assert!(page == right, "docs/campaigns.md is old: run the test shipped of scenarios with UPDATE_DOCS=1");
}

#[test]
fn every_profile_is_found_by_its_name() {
    for found in profiles() {
        assert_eq!(profile(&found.name).as_ref(), Some(&found));
        assert!(found.text.starts_with("# "), "{} begins with its source", found.name);
        assert_eq!(found.behavior.is_none(), found.name == "open");
    }
    assert_eq!(profile("closed"), None);
}

/// The four classes of RFC 3489, in the terms of RFC 4787.
#[test]
fn the_textbook_profiles_are_what_their_names_say() {
    use Dependence::{AddressAndPortDependent as Apd, AddressDependent as Ad, EndpointIndependent as Ei};
    let class = |name| nat(name).map(|nat| (nat.mapping, nat.filtering));
    assert_eq!(class("full-cone"), Some((Ei, Ei)));
    assert_eq!(class("restricted-cone"), Some((Ei, Ad)));
    assert_eq!(class("port-restricted-cone"), Some((Ei, Apd)));
    assert_eq!(class("symmetric"), Some((Apd, Apd)));
}

#[test]
fn mesh_3_is_three_homes() {
    let scenario = loaded("mesh-3");
    assert_eq!(scenario.duration, Duration::from_secs(20));
    assert_eq!(
        described(&scenario),
        [
            "ana 192.168.1.10 via home-linux 198.51.100.10 joins 0ms",
            "ben 192.168.1.11 via home-median 198.51.100.11 joins 100ms",
            "cam 192.168.1.12 via home-hairpin 198.51.100.12 joins 200ms",
        ]
    );
}

#[test]
fn mesh_6_has_two_customers_of_one_provider() {
    assert_eq!(
        described(&loaded("mesh-6")),
        [
            "ana 192.168.1.10 via home-linux 198.51.100.11 joins 0ms",
            "ben 192.168.1.11 via home-median 198.51.100.12 joins 100ms",
            "cam 192.168.1.12 via full-cone 198.51.100.13 joins 200ms",
            "dia 192.168.1.13 via home-hairpin 198.51.100.14 joins 300ms",
            "eve 192.168.1.14 via home-linux 100.64.0.15 via cgn-wired 198.51.100.10 joins 400ms",
            "fay 192.168.1.15 via restricted-cone 100.64.0.16 via cgn-wired 198.51.100.10 joins 500ms",
        ]
    );
}

/// The expectations of the files follow from their NATs, by the rules of RFC 4787 and RFC 8445 for two adjacent NATs.
#[test]
fn mesh_6_symmetric_expects_exactly_the_pairs_that_need_a_relay() {
    let (with, without) = (loaded("mesh-6-symmetric"), loaded("mesh-6-symmetric-no-turn"));
    let nat = |actor: &Actor| actor.network.and_then(|network| without.networks[network].nat.clone());
    let mut apart = Vec::new();
    for (a, one) in without.actors.iter().enumerate() {
        for (b, other) in without.actors.iter().enumerate().skip(a + 1) {
            if !meet_without_relay(&nat(one).expect("behind a NAT"), &nat(other).expect("behind a NAT")) {
                apart.push((ActorIndex(a), ActorIndex(b)));
            }
        }
    }
    assert_eq!(apart.len(), 5);
    assert_eq!((&with.networks, with.expect.relayed.as_ref()), (&without.networks, Some(&apart)));
    assert_eq!((without.expect.unconnected, without.server.turn), (apart, None));
    assert_eq!((with.expect.unconnected, with.server.turn.is_some()), (Vec::new(), true));
}

#[test]
fn nothing_happens_in_the_last_45_seconds_of_the_churn_but_words() {
    let scenario = loaded("mesh-6-churn");
    let quiet = scenario.duration - Duration::from_secs(45);
    let late = scenario.steps.iter().filter(|step| step.at > quiet);
    assert!(late.into_iter().all(|step| matches!(step.action, Action::Actor(_, Command::Say(_)))));
    for machine in [Machine::Server, Machine::Actor(ActorIndex(3)), Machine::Actor(ActorIndex(4))] {
        let power = [MachineAction::PowerLoss, MachineAction::Boot].map(|action| Action::Machine(machine, action));
        let powers = |action: &Action| power.contains(action);
        assert!(scenario.steps.iter().any(|step| powers(&step.action)), "{machine:?}");
    }
}

#[test]
fn the_rebooted_nat_takes_another_address() {
    let scenario = loaded("nat-reboot-mid-call");
    let [step] = scenario.steps.as_slice() else { panic!("one step") };
    let Action::Network(network, NetworkAction::Reboot(reboot)) = &step.action else { panic!("a reboot") };
    assert_eq!(scenario.networks[*network].name, "ana");
    let new = reboot.new_address.expect("another address");
    assert!(!scenario.networks.iter().any(|network| network.external.contains(&new)));
    assert_eq!(new.to_string(), "198.51.100.200");
}

#[test]
fn same_lan_puts_two_into_one_home() {
    assert_eq!(
        described(&loaded("same-lan")),
        [
            "ana 192.168.1.10 via home-linux 198.51.100.10 joins 0ms",
            "ben 192.168.1.11 via home-linux 198.51.100.10 joins 100ms",
            "cam 192.168.1.12 via home-median 198.51.100.11 joins 200ms",
        ]
    );
}

#[test]
fn the_readme_names_every_profile_and_its_example_parses() {
    let readme = include_str!("../../README.md");
    for profile in profiles() {
        assert!(readme.contains(&format!("| `{}` |", profile.name)), "{}", profile.name);
    }
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        parse("README.md", example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

fn loaded(name: &str) -> Scenario {
    load(name).unwrap_or_else(|error| panic!("{error}"))
}

fn nat(profile_name: &str) -> Option<NatBehavior> {
    profile(profile_name)?.behavior
}

/// The path of each actor to the internet, on one line.
fn described(scenario: &Scenario) -> Vec<String> {
    let describe = |actor: &Actor| {
        let mut way = format!("{} {}", actor.name, actor.address);
        let mut next = actor.network;
        while let Some(index) = next {
            let network = &scenario.networks[index];
            way += &format!(" via {} {}", network.profile, network.external[0]);
            next = network.behind;
        }
        format!("{way} joins {}ms", actor.joins.unwrap_or_default().as_millis())
    };
    scenario.actors.iter().map(describe).collect()
}

fn meet_without_relay(one: &NatBehavior, other: &NatBehavior) -> bool {
    let independent = |nat: &NatBehavior| nat.seen_mapping() == Dependence::EndpointIndependent;
    let lets_another_port_in = |nat: &NatBehavior| nat.filtering != Dependence::AddressAndPortDependent;
    match (independent(one), independent(other)) {
        (true, true) => true,
        (true, false) => lets_another_port_in(one) && other.pooling == Pooling::Paired,
        (false, true) => lets_another_port_in(other) && one.pooling == Pooling::Paired,
        (false, false) => false,
    }
}

fn toml_files(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect()
}

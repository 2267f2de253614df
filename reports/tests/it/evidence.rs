//! What a finding names as done before it, and what it shows of the story.

use reports::Detail;
use reports::model::{Case, Finding, Step};

use crate::model::{read, written};
use crate::{WALL, play, replay};

/// Two peers behind NATs, and a third one who has nothing to do with them.
const THREE: &str = r#"
name = "three"
duration = "70s"
[server]
heartbeat = "5s"
[[actor]]
name = "ana"
nat = "port-restricted-cone"
[[actor]]
name = "ben"
nat = "restricted-cone"
joins = "100ms"
[[actor]]
name = "cam"
nat = "full-cone"
joins = "200ms"
"#;

#[test]
fn a_lost_connection_names_what_was_done_while_it_lasted() {
    let mut case = case(&format!(
        "{THREE}{}{}[expect]\nconnected = [{{ pair = [\"ana\", \"ben\"], from = \"5s\" }}]\n",
        reboot("ana", "20s"),
        reboot("cam", "22s"),
    ));
    case.findings.retain(|finding| finding.rule == "connected-as-expected");
    let finding = finding(&case, "connected-as-expected");
    assert_eq!(causes(&case, finding), ["20.000 ana’s NAT: NAT reboots"]);
    let wrong = finding.step.expect("a row shows it");
    assert_eq!(case.story[wrong].text, "ICE disconnected");
    assert!(case.story[wrong].at > 20.0 && finding.steps.contains(&wrong), "{finding:?}");
    assert!(finding.steps.is_sorted() && finding.steps.len() <= 16, "{finding:?}");
    for report in [
        reports::summary(&read(&written(vec![case.clone()])).expect("a result"), None),
        reports::html(&[read(&written(vec![case.clone()])).expect("a result")]),
        reports::junit(&[read(&written(vec![case.clone()])).expect("a result")]),
    ] {
        assert!(report.contains("20.000 s, ana’s NAT reboots"), "{report}");
        assert!(!report.contains("22.000 s, cam’s NAT reboots"), "it has nothing to do with it");
    }
}

#[test]
fn what_was_done_to_an_earlier_connection_is_not_named() {
    let case = case(&format!(
        "{THREE}{}{}[expect]\nconnected = [{{ pair = [\"ana\", \"ben\"] }}]\n",
        reboot("ana", "20s"),
        reboot("ben", "64s"),
    ));
    assert_eq!(causes(&case, finding(&case, "connected-as-expected")), ["64.000 ben’s NAT: NAT reboots"]);
}

#[test]
fn what_concerns_others_and_what_breaks_nothing_is_not_named() {
    let say = "[[step]]\nat = \"10s\"\ndo = \"say\"\nactor = \"ana\"\ntext = \"hi\"\n";
    let mut case = case(&format!("{THREE}{say}{}[expect]\nunconnected = [[\"ana\", \"ben\"]]\n", reboot("cam", "20s")));
    case.findings.truncate(1);
    let finding = finding(&case, "everyone-connected");
    assert!(finding.message.contains("ana") && finding.message.contains("ben"), "{finding:?}");
    assert_eq!(causes(&case, finding), [""; 0]);
    let report = reports::html(&[read(&written(vec![case.clone()])).expect("a result")]);
    assert!(!report.contains("Before it"), "nothing was done to them");
}

#[test]
fn a_partition_names_both_of_its_sides() {
    let partition = "[[step]]\nat = \"30s\"\ndo = \"partition\"\nfrom = [\"ben\"]\nto = [\"ana\"]\n";
    let case =
        case(&format!("{THREE}{partition}[expect]\nconnected = [{{ pair = [\"ana\", \"ben\"], from = \"5s\" }}]\n"));
    assert_eq!(causes(&case, finding(&case, "connected-as-expected")), ["30.000 world: partition: ben ⇎ ana"]);
}

fn reboot(network: &str, at: &str) -> String {
    format!("[[step]]\nat = \"{at}\"\ndo = \"nat-reboot\"\nnetwork = \"{network}\"\nnew-address = true\n")
}

fn case(scenario: &str) -> Case {
    reports::case_of_outcome(&play(scenario, 1), WALL, &replay(), Detail::Full, None)
}

fn finding<'a>(case: &'a Case, rule: &str) -> &'a Finding {
    let found = case.findings.iter().find(|finding| finding.rule == rule);
    found.unwrap_or_else(|| panic!("no {rule} in {:?}", case.findings))
}

fn causes(case: &Case, finding: &Finding) -> Vec<String> {
    let words = |step: &Step| {
        let who: Vec<_> = step.who.iter().map(|&party| case.parties[party].name.as_str()).collect();
        format!("{:.3} {}: {}", step.at, who.join(", "), step.text)
    };
    finding.causes.iter().map(|&index| words(&case.story[index])).collect()
}

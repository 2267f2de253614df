//! A written scenario reads back as the same scenario.

use scenarios::{Scenario, load, parse, shipped, write};

#[test]
fn every_shipped_scenario_reads_back_as_it_was_written() {
    for shipped in shipped() {
        let mut scenario = load(shipped.name).expect("a shipped scenario is valid");
        let text = write(&scenario);
        let mut again = parse("written.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        forget_lines(&mut scenario);
        forget_lines(&mut again);
        assert_eq!(again, scenario, "{text}");
    }
}

/// Removes line numbers, because a written file has different ones.
fn forget_lines(scenario: &mut Scenario) {
    scenario.actors.iter_mut().for_each(|actor| actor.line = 0);
    scenario.steps.iter_mut().for_each(|step| step.line = 0);
    scenario.expect.line = 0;
}

//! Dialect files: the shipped ones are right, and what is wrong with another is told with its line.

use conformance::{Dialect, shipped};

#[test]
fn every_shipped_dialect_is_right() {
    for name in shipped() {
        let dialect = Dialect::load(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dialect.name(), name);
        assert!(dialect.explain().contains("cases can be asked"), "{name}");
    }
}

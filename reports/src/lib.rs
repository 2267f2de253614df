//! Results for people and for CI.

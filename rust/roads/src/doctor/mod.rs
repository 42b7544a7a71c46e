//! What is wrong with a map, or would surprise its driver in CARLA 0.9.16.

mod graph;
mod rule;
mod text;

pub use rule::Severity;

use rule::Rule;

use crate::map::RoadMap;
use crate::reader;

/// One thing that was found, with all places where it was found taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A short name, the same in every version.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How many places there are.
    pub count: usize,
    /// The first of them.
    pub place: String,
    /// What is wrong, and what follows from it.
    pub message: String,
    /// What to do about it.
    pub cure: &'static str,
}

/// Findings by rule.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    /// Notes one more place.
    fn add(&mut self, rule: &'static Rule, place: impl FnOnce() -> String) {
        self.add_with(rule, place, || rule.message.to_owned());
    }

    fn add_with(
        &mut self,
        rule: &'static Rule,
        place: impl FnOnce() -> String,
        message: impl FnOnce() -> String,
    ) {
        if let Some(known) = self.0.iter_mut().find(|finding| finding.rule == rule.name) {
            known.count += 1;
            return;
        }
        self.0.push(Finding {
            rule: rule.name,
            severity: rule.severity,
            count: 1,
            place: place(),
            message: message(),
            cure: rule.cure,
        });
    }
}

/// Looks a map over: first its text, then, where it can be read, its lane graph.
///
/// Findings come in order of severity. A text that can't be read gives the error as a finding,
/// beside what else its text shows. Never fails; any text may be given.
pub fn examine(xodr: &str) -> Vec<Finding> {
    let mut report = Report::default();
    // Errors of this pass come again from the reader.
    let _ = reader::with_root(xodr, |root| {
        text::examine(root, &mut report);
        Ok(())
    });
    match RoadMap::parse(xodr) {
        Ok(map) => graph::examine(&map, &mut report),
        Err(error) => report.add_with(
            &rule::UNREADABLE,
            || "the map".to_owned(),
            || format!("the map can't be read: {error}"),
        ),
    }
    report.0.sort_by_key(|finding| finding.severity);
    report.0
}

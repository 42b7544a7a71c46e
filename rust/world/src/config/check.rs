//! Collects every value that is out of range, so that a user mends a file in one go.

use crate::error::Error;

#[derive(Debug, Default)]
pub(crate) struct Check {
    problems: Vec<String>,
}

impl Check {
    /// A number in [low, high]; NaN never is.
    pub(crate) fn value(&mut self, key: &str, value: f64, low: f64, high: f64) {
        if !(value >= low && value <= high) {
            self.problems
                .push(format!("{key} is {value}, must lie in [{low}, {high}]"));
        }
    }

    /// A whole number in low..=high.
    pub(crate) fn count(&mut self, key: &str, value: u32, low: u32, high: u32) {
        if !(low..=high).contains(&value) {
            self.problems
                .push(format!("{key} is {value}, must lie in {low}..={high}"));
        }
    }

    /// A pair (from, to) in order, both in [low, high].
    pub(crate) fn range(&mut self, key: &str, [from, to]: [f64; 2], low: f64, high: f64) {
        if !(from >= low && to <= high && from <= to) {
            self.problems.push(format!(
                "{key} is [{from}, {to}], must be a pair in ascending order in [{low}, {high}]"
            ));
        }
    }

    /// Names out of a list.
    pub(crate) fn names(&mut self, key: &str, names: &[String], known: &[&str]) {
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            self.problems.push(format!(
                "{key} holds {name:?}, must be out of {}",
                known.join(", ")
            ));
        }
    }

    /// A condition with the words that say what is wrong.
    pub(crate) fn holds(&mut self, key: &str, is_right: bool, wrong: &str) {
        if !is_right {
            self.problems.push(format!("{key} {wrong}"));
        }
    }

    pub(crate) const fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Config(self.problems))
        }
    }
}

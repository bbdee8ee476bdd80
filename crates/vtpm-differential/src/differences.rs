//! Where the engine differs from swtpm 0.7.1 on purpose: each with the clause and the reason.

use crate::run::{Difference, Outcome};

/// An intended difference.
pub(crate) struct Rule {
    /// Why, and where it is written.
    pub(crate) reason: &'static str,
    matches: fn(&Outcome, &Difference) -> bool,
}

/// The rule that explains a difference.
pub(crate) fn explain(outcome: &Outcome, difference: &Difference) -> Option<&'static Rule> {
    RULES.iter().find(|rule| (rule.matches)(outcome, difference))
}

static RULES: &[Rule] = &[];

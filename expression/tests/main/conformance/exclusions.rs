//! The cases that are left out, each by a rule on the case itself.

use std::fmt;

use super::case::{Case, Expectation};

/// Why a case is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeftOut {
    /// It uses a message, an enum or a wrapper of protobuf, or is inside a package of them.
    Protobuf,
    /// It tests the type of an expression, and has no value to compare.
    OnlyType,
    /// It switches the checker off, calls an unknown function, and hides the resulting evaluation error. Here
    /// an unknown function is always an error before evaluation.
    UnboundFunction,
    /// It tests `cel.block`, a form that optimizers generate.
    Block,
}

impl LeftOut {
    /// The rule that leaves the case out, if one does.
    pub(super) fn of(case: &Case) -> Option<Self> {
        let is_called = |name: &String| case.source.contains(&format!("{name}("));
        if names_protobuf(case) {
            Some(Self::Protobuf)
        } else if case.source.contains("cel.block(") || case.source.contains("cel.iterVar(") {
            Some(Self::Block)
        } else if matches!(case.expected, Expectation::Nothing) {
            Some(Self::OnlyType)
        } else if matches!(case.expected, Expectation::Value(_)) && case.undeclared.iter().any(is_called) {
            Some(Self::UnboundFunction)
        } else {
            None
        }
    }
}

/// Returns true if a message, an enum or a wrapper is in the expression, the container, a declaration, a
/// binding or the value. `google.protobuf.Timestamp` and `google.protobuf.Duration` are names of types in the
/// language itself, except as messages (`google.protobuf.Duration{…}`).
fn names_protobuf(case: &Case) -> bool {
    let is_own = |rest: &str| {
        ["Timestamp", "Duration"].iter().any(|own| {
            rest.strip_prefix(own).is_some_and(|after| !after.starts_with(|next: char| next == '{' || next.is_ascii_alphanumeric()))
        })
    };
    let names_foreign = |text: &str| text.split("google.protobuf.").skip(1).any(|rest| !is_own(rest));
    case.container.starts_with("google.protobuf")
        || names_foreign(&case.text)
        || ["cel.expr.conformance.", "TestAllTypes", "\"enumValue\"", "\"wrapper\"", "\"wellKnown\":\"ANY\""]
            .iter()
            .any(|name| case.text.contains(name))
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protobuf => "a message, enum or wrapper of protobuf",
            Self::OnlyType => "only the type is asked for",
            Self::UnboundFunction => "a function that nobody has",
            Self::Block => "cel.block",
        })
    }
}

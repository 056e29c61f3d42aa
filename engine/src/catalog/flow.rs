//! The flow control of a rule: which of its matches are acted on, and when.

use crate::catalog::Control;
use std::fmt::{self, Write as _};

use ensue_expression::Expression;

use crate::catalog::LockConflict;
use crate::record::Digest;
use crate::time::duration_text;

/// The highest count of a window: each counted match is a held enforcement.
pub const WINDOW_COUNT_MAX: u32 = 100;
/// The highest limit of a throttle.
pub const THROTTLE_LIMIT_MAX: u32 = 100_000;

/// What happens to matches over a throttle's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// They are dropped.
    #[default]
    Drop,
    /// They are acted on later, in order.
    Delay,
}

/// One flow control with its parameters; all times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Passes the first match, and drops those that follow within the period.
    Dedupe {
        /// The period.
        within_millis: u64,
    },
    /// Passes a limited number of matches in a period: a bucket of `limit` tokens that refills in
    /// `per_millis`.
    Throttle {
        /// The number of matches, from 1 to [`THROTTLE_LIMIT_MAX`].
        limit: u32,
        /// The period.
        per_millis: u64,
        /// What happens to matches over the limit.
        excess: Excess,
    },
    /// Passes the last match once no match came for a while.
    Debounce {
        /// The quiet time.
        quiet_millis: u64,
    },
    /// Passes the `count`-th match within the period, then starts counting from zero.
    Window {
        /// The count, from 2 to [`WINDOW_COUNT_MAX`].
        count: u32,
        /// The period.
        within_millis: u64,
    },
    /// Passes the last match if no other came within this time.
    Missing {
        /// The time.
        for_millis: u64,
    },
    /// Passes the match; its execution must hold a lock that this many executions can share.
    Concurrency {
        /// The limit, from 1 to [`CONCURRENCY_LIMIT_MAX`](crate::catalog::CONCURRENCY_LIMIT_MAX).
        limit: u32,
        /// What happens to executions over the limit.
        conflict: LockConflict,
    },
}

impl Does {
    /// Returns the kind of flow control.
    pub fn control(self) -> Control {
        match self {
            Self::Dedupe { .. } => Control::Dedupe,
            Self::Throttle { .. } => Control::Throttle,
            Self::Debounce { .. } => Control::Debounce,
            Self::Window { .. } => Control::Window,
            Self::Missing { .. } => Control::Missing,
            Self::Concurrency { .. } => Control::Concurrency,
        }
    }

    /// Returns true if it can hold a match until a later moment or event.
    fn holds(self) -> bool {
        match self {
            Self::Dedupe { .. } | Self::Throttle { excess: Excess::Drop, .. } | Self::Concurrency { .. } => false,
            Self::Throttle { excess: Excess::Delay, .. } | Self::Debounce { .. } | Self::Window { .. } | Self::Missing { .. } => true,
        }
    }
}

impl fmt::Display for Does {
    /// Writes a description for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dedupe { within_millis } => write!(f, "once within {}", duration_text(within_millis)),
            Self::Throttle { limit, per_millis, excess } => {
                let more = match excess {
                    Excess::Drop => "more are dropped",
                    Excess::Delay => "more are delayed",
                };
                write!(f, "at most {limit} in {}, {more}", duration_text(per_millis))
            }
            Self::Debounce { quiet_millis } => write!(f, "the last one, once it is quiet for {}", duration_text(quiet_millis)),
            Self::Window { count, within_millis } => write!(f, "{count} together within {}", duration_text(within_millis)),
            Self::Missing { for_millis } => write!(f, "the last one, if none follows for {}", duration_text(for_millis)),
            Self::Concurrency { limit, conflict } => {
                let more = match conflict {
                    LockConflict::Queue => "more wait",
                    LockConflict::Skip => "more are skipped",
                    LockConflict::CancelRunning => "the oldest are cancelled to make room",
                };
                write!(f, "at most {limit} open at once, {more}")
            }
        }
    }
}

/// One flow control of a rule with its key.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The flow control.
    pub does: Does,
    /// The expression that computes the key of a match; `None` means that all matches of the rule share one
    /// key.
    pub key: Option<Expression>,
}

/// The flow controls of a rule, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Flow {
    stages: Vec<Stage>,
    digest: Digest,
}

impl Flow {
    /// Sorts flow controls into their order; if there are two of one kind, the first is kept. Returns `None`
    /// if there are none.
    pub fn new(mut stages: Vec<Stage>) -> Option<Self> {
        stages.sort_by_key(|stage| stage.does.control());
        stages.dedup_by_key(|stage| stage.does.control());
        let digest = digest(&stages);
        (!stages.is_empty()).then_some(Self { stages, digest })
    }

    /// Returns the flow controls in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Returns the flow controls after this one.
    pub fn after(&self, control: Control) -> &[Stage] {
        let from = self.stages.partition_point(|stage| stage.does.control() <= control);
        &self.stages[from..]
    }

    /// Returns a digest that identifies this flow control. State kept under another digest does not apply to
    /// it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns true if a match may be acted on later than it came, or only together with others.
    pub fn holds(&self) -> bool {
        self.stages.iter().any(|stage| stage.does.holds())
    }

    /// Returns true if there is a window, so that expressions can read `events`.
    pub fn has_window(&self) -> bool {
        self.stages.iter().any(|stage| stage.does.control() == Control::Window)
    }
}

fn digest(stages: &[Stage]) -> Digest {
    let mut text = String::new();
    for Stage { does, key } in stages {
        // The digest must not depend on the words of authors or of Rust: both may change with a release.
        let key = key.as_ref().map_or("", Expression::source);
        let numbers = match *does {
            Does::Dedupe { within_millis } => format!("{within_millis}"),
            Does::Throttle { limit, per_millis, excess: Excess::Drop } => format!("{limit} {per_millis} drop"),
            Does::Throttle { limit, per_millis, excess: Excess::Delay } => format!("{limit} {per_millis} delay"),
            Does::Debounce { quiet_millis } => format!("{quiet_millis}"),
            Does::Window { count, within_millis } => format!("{count} {within_millis}"),
            Does::Missing { for_millis } => format!("{for_millis}"),
            // It keeps no state of its own: its locks show what it has passed.
            Does::Concurrency { .. } => continue,
        };
        let _ = writeln!(text, "{} {numbers} {} {key}", does.control().as_str(), key.len());
    }
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use ensue_expression::Roots;

    use super::*;

    fn stage(does: Does, key: &str) -> Stage {
        Stage { does, key: Some(Expression::compile(key, &Roots::new(["event"])).unwrap()) }
    }

    #[test]
    fn flow_controls_are_sorted_into_their_fixed_order() {
        let window = Does::Window { count: 3, within_millis: 1 };
        let dedupe = Does::Dedupe { within_millis: 1 };
        let missing = Does::Missing { for_millis: 1 };
        let flow = Flow::new([missing, window, dedupe].map(|does| stage(does, "event.id")).into()).unwrap();
        let order: Vec<Control> = flow.stages().iter().map(|stage| stage.does.control()).collect();
        assert_eq!(order, [Control::Dedupe, Control::Window, Control::Missing]);
        let after = |control| flow.after(control).iter().map(|stage| stage.does.control()).collect::<Vec<_>>();
        assert_eq!(after(Control::Dedupe), [Control::Window, Control::Missing]);
        assert_eq!(after(Control::Debounce), [Control::Window, Control::Missing]);
        assert!(Flow::new(Vec::new()).is_none());
    }

    #[test]
    fn different_number_or_key_gives_a_different_flow_digest() {
        let digests = [
            Flow::new(vec![stage(Does::Dedupe { within_millis: 1 }, "event.id")]),
            Flow::new(vec![stage(Does::Dedupe { within_millis: 2 }, "event.id")]),
            Flow::new(vec![stage(Does::Dedupe { within_millis: 1 }, "event.source")]),
            Flow::new(vec![Stage { does: Does::Dedupe { within_millis: 1 }, key: None }]),
            Flow::new(vec![stage(Does::Debounce { quiet_millis: 1 }, "event.id")]),
        ];
        let digests: std::collections::BTreeSet<Digest> = digests.into_iter().map(|flow| flow.unwrap().digest()).collect();
        assert_eq!(digests.len(), 5);
    }
}

//! The flow control of a rule: which of its matches are acted on, and when.

use std::fmt::{self, Write as _};

use ensue_expression::Expression;
use serde::{Deserialize, Serialize};

use crate::catalog::LockConflict;
use crate::record::Digest;
use crate::time::duration_text;

/// The most matches that a window counts: each is an enforcement that is held.
pub const WINDOW_COUNT_MAX: u32 = 100;
/// The most matches of a while that a throttle lets through.
pub const THROTTLE_LIMIT_MAX: u32 = 100_000;

/// What a rule can do with its matches before it acts on them, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// One match of a key within a while.
    Dedupe,
    /// So many matches of a key in a while.
    Throttle,
    /// The last match of a key, once it is quiet.
    Debounce,
    /// So many matches of a key together.
    Window,
    /// A match of a key after which none came for a while.
    Missing,
    /// So many open executions of a key.
    Concurrency,
}

impl Control {
    /// Lists all of them in their order.
    pub const ALL: [Self; 6] = [Self::Dedupe, Self::Throttle, Self::Debounce, Self::Window, Self::Missing, Self::Concurrency];

    /// Gives the field in which authors write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dedupe => "dedupe",
            Self::Throttle => "throttle",
            Self::Debounce => "debounce",
            Self::Window => "window",
            Self::Missing => "missing",
            Self::Concurrency => "concurrency",
        }
    }
}

/// What becomes of matches that are more than a throttle lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// They are not acted on.
    #[default]
    Drop,
    /// They are acted on later, in their order.
    Delay,
}

/// One flow control, with its numbers; all times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Lets the first match through, and none that follows it within the while.
    Dedupe {
        /// How long.
        within_millis: u64,
    },
    /// Lets so many through in a while: a bucket of `limit` tokens that fills up in `per_millis`.
    Throttle {
        /// How many, from 1 to [`THROTTLE_LIMIT_MAX`].
        limit: u32,
        /// In how long.
        per_millis: u64,
        /// What becomes of more.
        excess: Excess,
    },
    /// Lets the last match through once none came for a while.
    Debounce {
        /// How long.
        quiet_millis: u64,
    },
    /// Lets the match through that is the `count`-th within the while, and counts anew.
    Window {
        /// Which, from 2 to [`WINDOW_COUNT_MAX`].
        count: u32,
        /// How long.
        within_millis: u64,
    },
    /// Lets the last match through once none came for so long.
    Missing {
        /// How long.
        for_millis: u64,
    },
    /// Lets the match through, and its execution hold a lock with at most so many others.
    Concurrency {
        /// How many, from 1 to [`CONCURRENCY_LIMIT_MAX`](crate::catalog::CONCURRENCY_LIMIT_MAX).
        limit: u32,
        /// What becomes of more.
        conflict: LockConflict,
    },
}

impl Does {
    /// Gives which one it is.
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

    /// Says whether it may keep a match back until something comes about.
    fn holds(self) -> bool {
        match self {
            Self::Dedupe { .. } | Self::Throttle { excess: Excess::Drop, .. } | Self::Concurrency { .. } => false,
            Self::Throttle { excess: Excess::Delay, .. } | Self::Debounce { .. } | Self::Window { .. } | Self::Missing { .. } => true,
        }
    }
}

impl fmt::Display for Does {
    /// Writes what it does, for people.
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

/// A flow control of a rule with what tells matches apart for it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What it does.
    pub does: Does,
    /// What tells matches apart; where there is none, all of the rule are of one key.
    pub key: Option<Expression>,
}

/// The flow controls of a rule, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct Flow {
    stages: Vec<Stage>,
    digest: Digest,
}

impl Flow {
    /// Puts flow controls in their order; of two of one kind the first stays. None where there are none.
    pub fn new(mut stages: Vec<Stage>) -> Option<Self> {
        stages.sort_by_key(|stage| stage.does.control());
        stages.dedup_by_key(|stage| stage.does.control());
        let digest = digest(&stages);
        (!stages.is_empty()).then_some(Self { stages, digest })
    }

    /// Gives them in their order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Gives those that come after one.
    pub fn after(&self, control: Control) -> &[Stage] {
        let from = self.stages.partition_point(|stage| stage.does.control() <= control);
        &self.stages[from..]
    }

    /// Gives what tells it from another: what is kept for the one says nothing to the other.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Says whether a match may be acted on later than it came, or only with others.
    pub fn holds(&self) -> bool {
        self.stages.iter().any(|stage| stage.does.holds())
    }

    /// Says whether there is a window, so that `events` can be read.
    pub fn has_window(&self) -> bool {
        self.stages.iter().any(|stage| stage.does.control() == Control::Window)
    }
}

fn digest(stages: &[Stage]) -> Digest {
    let mut text = String::new();
    for Stage { does, key } in stages {
        // Not of the words of authors, nor of Rust: both may change with a release.
        let key = key.as_ref().map_or("", Expression::source);
        let numbers = match *does {
            Does::Dedupe { within_millis } => format!("{within_millis}"),
            Does::Throttle { limit, per_millis, excess: Excess::Drop } => format!("{limit} {per_millis} drop"),
            Does::Throttle { limit, per_millis, excess: Excess::Delay } => format!("{limit} {per_millis} delay"),
            Does::Debounce { quiet_millis } => format!("{quiet_millis}"),
            Does::Window { count, within_millis } => format!("{count} {within_millis}"),
            Does::Missing { for_millis } => format!("{for_millis}"),
            // Nothing is kept for it: what it lets through is known by its locks.
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
    fn flow_controls_stand_in_their_order_whatever_order_they_are_given_in() {
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
    fn another_number_or_key_is_another_flow_control() {
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

//! The flow control of a rule: which of its matches are acted on, and when.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use ensue_expression::Expression;

use crate::catalog::{Control, LockConflict};
use crate::names::TriggerRef;
use crate::record::Digest;
use crate::time::duration_text;

/// The highest count of a window, and the most matches that a debounce gathers: each is a held enforcement.
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

/// Which of the matches that a debounce held are acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acts {
    /// The last one.
    #[default]
    OnLast,
    /// All of them together.
    OnAll,
}

/// One flow control with its parameters; all times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// The longest time from the first match until one passes, however many follow; `None` if there is no limit.
        most_millis: Option<u64>,
        /// Which of the matches are acted on.
        acts: Acts,
    },
    /// Passes the `count`-th match within the period, then starts counting from zero.
    Window {
        /// The count, from 2 to [`WINDOW_COUNT_MAX`].
        count: u32,
        /// The period.
        within_millis: u64,
    },
    /// Passes the match that makes `count` matches with different values within the period. Of equal values,
    /// the newest match counts.
    Distinct {
        /// The count, from 2 to [`WINDOW_COUNT_MAX`].
        count: u32,
        /// The period.
        within_millis: u64,
    },
    /// Passes the match with which each of these triggers has one within the period. Of one trigger, the newest
    /// match counts. Matches of other triggers pass.
    Each {
        /// The triggers, from 2 to [`WINDOW_COUNT_MAX`].
        of: Arc<[TriggerRef]>,
        /// The period.
        within_millis: u64,
    },
    /// Gathers matches from the first one on, and passes the last of them when the time is over, or the
    /// `count`-th.
    Digest {
        /// The count, from 2 to [`WINDOW_COUNT_MAX`].
        count: u32,
        /// The time, from the first match on.
        until_millis: u64,
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
    pub fn control(&self) -> Control {
        match self {
            Self::Dedupe { .. } => Control::Dedupe,
            Self::Throttle { .. } => Control::Throttle,
            Self::Debounce { .. } => Control::Debounce,
            Self::Window { .. } | Self::Distinct { .. } | Self::Each { .. } | Self::Digest { .. } => Control::Window,
            Self::Missing { .. } => Control::Missing,
            Self::Concurrency { .. } => Control::Concurrency,
        }
    }

    /// Returns true if it can hold a match until a later moment or event.
    fn holds(&self) -> bool {
        match self {
            Self::Dedupe { .. } | Self::Throttle { excess: Excess::Drop, .. } | Self::Concurrency { .. } => false,
            Self::Throttle { excess: Excess::Delay, .. }
            | Self::Debounce { .. }
            | Self::Window { .. }
            | Self::Distinct { .. }
            | Self::Each { .. }
            | Self::Digest { .. }
            | Self::Missing { .. } => true,
        }
    }

    /// Returns true if a match that passes may bring the events of others along.
    pub fn gathers(&self) -> bool {
        match self {
            Self::Window { .. } | Self::Distinct { .. } | Self::Each { .. } | Self::Digest { .. } => true,
            Self::Debounce { acts, .. } => *acts == Acts::OnAll,
            Self::Dedupe { .. } | Self::Throttle { .. } | Self::Missing { .. } | Self::Concurrency { .. } => false,
        }
    }
}

impl fmt::Display for Does {
    /// Writes a description for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dedupe { within_millis } => write!(f, "once within {}", duration_text(*within_millis)),
            Self::Throttle { limit, per_millis, excess } => {
                let more = match excess {
                    Excess::Drop => "more are dropped",
                    Excess::Delay => "more are delayed",
                };
                write!(f, "at most {limit} in {}, {more}", duration_text(*per_millis))
            }
            Self::Debounce { quiet_millis, most_millis, acts } => {
                let which = match acts {
                    Acts::OnLast => "the last one",
                    Acts::OnAll => "all together",
                };
                write!(f, "{which}, once it is quiet for {}", duration_text(*quiet_millis))?;
                match most_millis {
                    Some(most) => write!(f, ", at the latest {} after the first", duration_text(*most)),
                    None => Ok(()),
                }
            }
            Self::Window { count, within_millis } => write!(f, "{count} together within {}", duration_text(*within_millis)),
            Self::Distinct { count, within_millis } => {
                write!(f, "{count} different ones together within {}", duration_text(*within_millis))
            }
            Self::Each { of, within_millis } => {
                let of: Vec<&str> = of.iter().map(TriggerRef::as_str).collect();
                write!(f, "one of each of {} together within {}", of.join(", "), duration_text(*within_millis))
            }
            Self::Digest { count, until_millis } => {
                write!(f, "all together, {} after the first, or once there are {count}", duration_text(*until_millis))
            }
            Self::Missing { for_millis } => write!(f, "the last one, if none follows for {}", duration_text(*for_millis)),
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
    /// The expression that computes the value that must differ, for [`Does::Distinct`].
    pub distinct: Option<Expression>,
}

impl Stage {
    /// Returns its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.key.iter().chain(&self.distinct)
    }
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

    /// Returns the flow control of a kind.
    pub fn stage(&self, control: Control) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.does.control() == control)
    }

    /// Returns the triggers in whose order the events of a window are listed; `None` if they are listed by age.
    pub fn order_of_events(&self) -> Option<&[TriggerRef]> {
        match &self.stage(Control::Window)?.does {
            Does::Each { of, .. } => Some(of),
            _ => None,
        }
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

    /// Returns true if matches are acted on together, so that expressions can read `events`.
    pub fn gathers(&self) -> bool {
        self.stages.iter().any(|stage| stage.does.gathers())
    }
}

fn digest(stages: &[Stage]) -> Digest {
    Digest::of(identifying_text(stages).as_bytes())
}

/// Returns the text that identifies flow controls. It must not depend on the words of authors or of Rust, which
/// may change with a release. A flow control that older releases know keeps its text: what it holds continues.
fn identifying_text(stages: &[Stage]) -> String {
    let mut text = String::new();
    for Stage { does, key, distinct } in stages {
        let key = key.as_ref().map_or("", Expression::source);
        let numbers = match does {
            Does::Dedupe { within_millis } => format!("{within_millis}"),
            Does::Throttle { limit, per_millis, excess: Excess::Drop } => format!("{limit} {per_millis} drop"),
            Does::Throttle { limit, per_millis, excess: Excess::Delay } => format!("{limit} {per_millis} delay"),
            Does::Debounce { quiet_millis, most_millis, acts } => {
                let most = most_millis.map_or(String::new(), |most| format!(" most {most}"));
                let acts = match acts {
                    Acts::OnLast => "",
                    Acts::OnAll => " all",
                };
                format!("{quiet_millis}{most}{acts}")
            }
            Does::Window { count, within_millis } => format!("{count} {within_millis}"),
            Does::Distinct { count, within_millis } => {
                let value = distinct.as_ref().map_or("", Expression::source);
                format!("{count} {within_millis} distinct {} {value}", value.len())
            }
            Does::Each { of, within_millis } => {
                let of: Vec<&str> = of.iter().map(TriggerRef::as_str).collect();
                format!("{within_millis} of {}", of.join(","))
            }
            Does::Digest { count, until_millis } => format!("{count} until {until_millis}"),
            Does::Missing { for_millis } => format!("{for_millis}"),
            // It keeps no state of its own: its locks show what it has passed.
            Does::Concurrency { .. } => continue,
        };
        let _ = writeln!(text, "{} {numbers} {} {key}", does.control().as_str(), key.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use ensue_expression::Roots;

    use super::*;

    fn stage(does: Does, key: &str) -> Stage {
        Stage { does, key: Some(Expression::compile(key, &Roots::new(["event"])).unwrap()), distinct: None }
    }

    fn debounce(most_millis: Option<u64>, acts: Acts) -> Does {
        Does::Debounce { quiet_millis: 1, most_millis, acts }
    }

    fn each(of: &[&str]) -> Does {
        Does::Each { of: of.iter().map(|name| name.parse().unwrap()).collect(), within_millis: 1 }
    }

    fn distinct(value: &str) -> Stage {
        let value = Expression::compile(value, &Roots::new(["event"])).unwrap();
        Stage { distinct: Some(value), ..stage(Does::Distinct { count: 2, within_millis: 1 }, "event.id") }
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
            Flow::new(vec![Stage { does: Does::Dedupe { within_millis: 1 }, key: None, distinct: None }]),
            Flow::new(vec![stage(debounce(None, Acts::OnLast), "event.id")]),
            Flow::new(vec![stage(debounce(Some(2), Acts::OnLast), "event.id")]),
            Flow::new(vec![stage(debounce(None, Acts::OnAll), "event.id")]),
            Flow::new(vec![stage(Does::Window { count: 2, within_millis: 1 }, "event.id")]),
            Flow::new(vec![stage(Does::Digest { count: 2, until_millis: 1 }, "event.id")]),
            Flow::new(vec![stage(each(&["a.b", "c.d"]), "event.id")]),
            Flow::new(vec![stage(each(&["c.d", "a.b"]), "event.id")]),
            Flow::new(vec![distinct("event.id")]),
            Flow::new(vec![distinct("event.source")]),
        ];
        let digests: std::collections::BTreeSet<Digest> = digests.into_iter().map(|flow| flow.unwrap().digest()).collect();
        assert_eq!(digests.len(), 13);
    }

    #[test]
    fn flow_control_of_older_releases_keeps_its_digest() {
        let of = |stages: &[(Does, &str)]| {
            let flow = Flow::new(stages.iter().map(|(does, key)| stage(does.clone(), key)).collect());
            flow.unwrap().digest()
        };
        let all = [
            (Does::Dedupe { within_millis: 600_000 }, "event.id"),
            (Does::Throttle { limit: 5, per_millis: 60_000, excess: Excess::Delay }, "event.source"),
            (Does::Debounce { quiet_millis: 30_000, most_millis: None, acts: Acts::OnLast }, "event.id"),
            (Does::Window { count: 3, within_millis: 300_000 }, "event.id"),
            (Does::Missing { for_millis: 93_600_000 }, "event.id"),
        ];
        // This is the text of release 0.1.
        let before = "dedupe 600000 8 event.id\nthrottle 5 60000 delay 12 event.source\ndebounce 30000 8 event.id\n\
                      window 3 300000 8 event.id\nmissing 93600000 8 event.id\n";
        assert_eq!(of(&all), Digest::of(before.as_bytes()));
        let dropped = (Does::Throttle { limit: 5, per_millis: 60_000, excess: Excess::Drop }, "event.id");
        assert_eq!(of(&[dropped]), Digest::of(b"throttle 5 60000 drop 8 event.id\n"));
    }
}

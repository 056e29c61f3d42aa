//! Hostile inputs by name: each ends within the step budget, in less than ten megabytes and on a small stack.
//!
//! It is a separate test binary because the counting allocator applies to the whole binary. No time is
//! asserted; `cargo test --release -p ensue-expression --test hostile -- --nocapture` shows the table of the
//! costs of each input.

#![allow(clippy::disallowed_types, reason = "what an input takes is shown, in time as well; nothing is decided by it")]

mod cases;

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ensue_expression::{
    Budget, Document, EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX, ErrorKind, EvaluationError, Expression, Roots, Scope,
};
use peak_alloc::PeakAlloc;
use serde_json::Value as Json;

use cases::{Case, Then};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The peak memory of one input, without its own text.
const MEMORY_BYTES_MAX: usize = 10_000_000;
/// The smallest stack of a caller's thread.
const SMALL_STACK_BYTES: usize = 256 << 10;
/// How many times each input is tried: its result and its cost must be the same each time.
const TURNS: usize = 3;

/// Locked while memory is counted, because the tests of a binary run in parallel.
static ALONE: Mutex<()> = Mutex::new(());

/// The costs of one input.
struct InputCosts {
    name: &'static str,
    steps: u64,
    peak_bytes: usize,
    times: Times,
    outcome: String,
}

/// The time to read the event, to compile and evaluate the expression, and to explain it.
#[derive(Clone, Copy, Default)]
struct Times {
    read: Duration,
    evaluate: Duration,
    explain: Duration,
}

#[test]
fn hostile_inputs_stay_within_budget_memory_and_a_small_stack() {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = Vec::new();
    let mut findings = Vec::new();
    for case in cases::all() {
        let thread = Builder::new().stack_size(SMALL_STACK_BYTES);
        let taken = thread.spawn(move || take(&case)).expect("a thread starts").join().expect("no case panics");
        findings.extend(taken.1);
        table.push(taken.0);
    }
    drop(alone);
    table.sort_by_key(|taken| std::cmp::Reverse(taken.times.evaluate));
    println!("{:<60} {:>7} {:>8} {:>8} {:>9} {:>8}  outcome", "input", "steps", "peak KB", "read µs", "evaluate", "explain");
    for InputCosts { name, steps, peak_bytes, times, outcome } in table {
        let [read, evaluate, explain] = [times.read, times.evaluate, times.explain].map(|time| time.as_micros());
        println!("{name:<60} {steps:>7} {:>8} {read:>8} {evaluate:>9} {explain:>8}  {outcome}", peak_bytes / 1_000);
    }
    assert!(findings.is_empty(), "over their bounds:\n  {}", findings.join("\n  "));
}

/// Runs the input [`TURNS`] times. Returns the costs and everything that exceeds a limit or is not as
/// required.
fn take(case: &Case) -> (InputCosts, Vec<String>) {
    let mut findings = Vec::new();
    let mut taken = InputCosts { name: case.name, steps: 0, peak_bytes: 0, times: Times::default(), outcome: String::new() };
    for turn in 0..TURNS {
        let document = Bytes::copy_from_slice(case.event.as_bytes());
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let (outcome, steps, times) = outcome(&case.source, document);
        taken.peak_bytes = taken.peak_bytes.max(MEMORY.peak_usage().saturating_sub(before));
        if turn == 0 || times.evaluate < taken.times.evaluate {
            taken.times = times;
        }
        let shown = outcome.brief();
        if turn > 0 && (steps != taken.steps || shown != taken.outcome) {
            findings.push(format!("{}: gives {shown} for {steps} steps, and {} for {} before", case.name, taken.outcome, taken.steps));
        }
        (taken.steps, taken.outcome) = (steps, shown);
        if let Some(finding) = case.then.missed_by(&outcome) {
            findings.push(format!("{}: {finding}", case.name));
        }
    }
    if taken.peak_bytes > MEMORY_BYTES_MAX {
        findings.push(format!("{}: holds {} bytes at its peak", case.name, taken.peak_bytes));
    }
    (taken, findings)
}

/// The outcome of an input.
enum Outcome {
    Unread(String),
    Refused(String),
    Erred { error: EvaluationError, is_over: bool },
    Gave(Json),
}

fn outcome(source: &str, event: Bytes) -> (Outcome, u64, Times) {
    let mut times = Times::default();
    let begin = Instant::now();
    let event = match Document::parse(event) {
        Ok(event) => event,
        Err(error) => return (Outcome::Unread(error.to_string()), 0, times),
    };
    times.read = begin.elapsed();
    let begin = Instant::now();
    let compiled = Expression::compile(source, &Roots::new(["event", "config"]));
    times.evaluate = begin.elapsed();
    let expression = match compiled {
        Ok(expression) => expression,
        Err(error) => return (Outcome::Refused(error.to_string()), 0, times),
    };
    let scope = Scope::new().with("event", event.root());
    let mut budget = Budget::default();
    let result = expression.evaluate(&scope, &mut budget).and_then(|value| value.to_json());
    times.evaluate = begin.elapsed();
    let begin = Instant::now();
    expression.explain(&scope, &mut Budget::default());
    times.explain = begin.elapsed();
    let outcome = match result {
        Ok(value) => Outcome::Gave(value),
        Err(error) => {
            Outcome::Erred { is_over: budget.steps_spent() > EVALUATION_STEPS_MAX || budget.bytes_spent() > EVALUATION_BYTES_MAX, error }
        }
    };
    (outcome, budget.steps_spent(), times)
}

impl Outcome {
    fn brief(&self) -> String {
        let text = match self {
            Self::Unread(message) => format!("unread: {message}"),
            Self::Refused(message) => format!("refused: {message}"),
            Self::Erred { error, .. } => format!("{}: {error}", error.kind),
            Self::Gave(value) => format!("gives {}", value.to_string().chars().take(40).collect::<String>()),
        };
        text.chars().take(80).collect()
    }
}

impl Then {
    /// Returns the difference from the required outcome.
    fn missed_by(&self, outcome: &Outcome) -> Option<String> {
        let is_met = match (self, outcome) {
            (Self::Unread(words), Outcome::Unread(message)) | (Self::Refused(words), Outcome::Refused(message)) => message.contains(words),
            // A value may also be nested too deeply, or too large as a result: that is a budget error with
            // steps left.
            (Self::Exhausted, Outcome::Erred { error, is_over }) => {
                error.kind == ErrorKind::Budget && (*is_over || error.message.starts_with("the value"))
            }
            (Self::Erred(kind), Outcome::Erred { error, .. }) => error.kind == *kind,
            (Self::Gives(expected), Outcome::Gave(value)) => value == expected,
            (Self::Ends, Outcome::Gave(_)) => true,
            (Self::Ends, Outcome::Erred { error, .. }) => error.kind == ErrorKind::Budget,
            (_, Outcome::Unread(_) | Outcome::Refused(_) | Outcome::Erred { .. } | Outcome::Gave(_)) => false,
        };
        (!is_met).then(|| format!("must be {self:?}, and is: {}", outcome.brief()))
    }
}

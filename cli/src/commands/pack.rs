//! `ensue pack`: commands for writing a pack.

mod real;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use ensue_node::RehearsedMessages;
use ensue_packs::cases::{Case, CaseBackend, Suite};
use ensue_packs::{CollectedTests, Diagnostic, Severity};
use ensue_rehearsal::Rehearsal;
use serde_json::json;

use self::real::RealWorld;
use super::Asking;
use super::check::{PacksAtHand, count_noun, show_all};
use crate::pack_test_report::{Trial, junit};
use crate::report::{CommandResult, Exit, Failure, eprint_line, say};

/// Test packs.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  ensue pack test packs/release
  ensue pack test packs/")]
pub(crate) enum PackCommand {
    Test(PackTestArgs),
}

impl PackCommand {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        match self {
            Self::Test(test) => test.run(asking),
        }
    }
}

/// Run the test cases of packs on the real engine, with a simulated clock and without side effects.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue pack test packs/                    every case of every pack
  ensue pack test packs/release             one pack
  ensue pack test --filter 'rolls back'     those whose name or file has this in it
  ensue pack test --real packs/slack        those that send requests to a fake vendor
  ensue pack test --junit report.xml        also as JUnit XML, for a CI
  ensue pack test -o json                   for programs; exit code 1 if a case fails")]
pub(crate) struct PackTestArgs {
    #[command(flatten)]
    packs: PacksAtHand,
    /// Run only cases with this text in their name, pack or file.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run the cases that are `real`, and no others: requests go to the fake vendor of the pack on this machine.
    #[arg(long)]
    real: bool,
    /// Also write the report as JUnit XML to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl PackTestArgs {
    fn run(self, asking: &Asking) -> CommandResult {
        let Self { packs, filter, real, junit: report } = self;
        let kind = if real { CaseKind::Real } else { CaseKind::Mocked };
        let read = packs.read()?;
        let CollectedTests { diagnostics, suites } = ensue_packs::tests(&read.sources, &read.settings);
        let tested = CollectedTests { diagnostics: read.without_adjacent(diagnostics), suites };
        let own = tested.suites.iter().filter(|(index, _)| *index >= read.first).map(|(_, suite)| suite);
        let begin = Instant::now();
        let (trials, others) = run_all(own, filter.as_deref(), kind)?;
        let took = begin.elapsed();
        let mistakes = tested.diagnostics.iter().filter(|one| one.severity == Severity::Error).count() + read.unreadable.len();
        if let Some(file) = &report {
            write(file, &trials)?;
        }
        let failed = trials.iter().filter(|trial| !trial.is_passed()).count();
        let document = json!({
            "cases": trials.iter().map(Trial::to_json).collect::<Vec<_>>(),
            "passed": trials.len() - failed,
            "failed": failed,
            "diagnostics": tested.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            "unreadable": read.unreadable,
        });
        asking.output.print(&document, || {
            show_all(&tested.diagnostics, &read.unreadable, asking);
            if !trials.is_empty() {
                say(Trial::show_all(&trials, asking.output.style()).trim_end());
            }
        });
        let (ran, took) = (count_noun(trials.len(), "case"), format!("in {} ms", took.as_millis()));
        match (failed, mistakes) {
            (0, 0) if trials.is_empty() => Err(nothing_to_run(filter.as_deref(), kind, others)),
            (0, 0) => {
                eprint_line(format!("{ran} passed, {took}"));
                if let (CaseKind::Mocked, 1..) = (kind, others) {
                    eprint_line(format!("{} against fake vendors: ensue pack test --real", count_noun(others, "more case")));
                }
                Ok(())
            }
            (0, mistakes) => Err(Failure::new(format!("{} in the packs; {ran} passed, {took}", count_noun(mistakes, "error")))),
            (failed, 0) => Err(Failure::new(format!("{failed} of {ran} failed, {took}"))),
            (failed, mistakes) => {
                Err(Failure::new(format!("{failed} of {ran} failed, {took}; and {} in the packs", count_noun(mistakes, "error"))))
            }
        }
    }
}

/// The cases that are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CaseKind {
    /// Those with mocks, in memory.
    Mocked,
    /// Those against the fake vendor of their pack.
    Real,
}

impl CaseKind {
    fn has(self, case: &Case) -> bool {
        match &case.against {
            CaseBackend::Mocks => self == Self::Mocked,
            CaseBackend::Fake { .. } => self == Self::Real,
        }
    }
}

fn nothing_to_run(filter: Option<&str>, kind: CaseKind, others: usize) -> Failure {
    match (filter, kind) {
        (_, CaseKind::Mocked) if others > 0 => {
            Failure::with(Exit::Missing, format!("all cases ({others}) run only against fake vendors")).hint("run: ensue pack test --real")
        }
        (Some(filter), _) => Failure::with(Exit::Missing, format!("no case has `{filter}` in its name, pack or file"))
            .hint("leave out --filter to run all of them"),
        (None, CaseKind::Real) => Failure::with(Exit::Missing, "the packs have no `real` cases")
            .hint("write `real: true` in a case, and the fake vendor in `fake/server.yaml`; docs/guides/test-a-pack.md shows how"),
        (None, CaseKind::Mocked) => Failure::with(Exit::Missing, "the packs have no tests")
            .hint("write one, for example in `tests/greet.test.yaml`; docs/guides/test-a-pack.md shows how"),
    }
}

/// Runs the cases of a kind that fit the filter. Returns how many fit it and are of the other kind, too.
fn run_all<'s>(suites: impl Iterator<Item = &'s Suite>, filter: Option<&str>, kind: CaseKind) -> Result<(Vec<Trial>, usize), Failure> {
    let (mut trials, mut others) = (Vec::new(), 0);
    let mut world = None;
    for suite in suites {
        let mut rehearsal = Rehearsal::of(suite).reading(&RehearsedMessages);
        let has = |text: &str| filter.is_none_or(|filter| text.contains(filter));
        let fitting = suite.cases.iter().filter(|case| has(&case.name) || has(&case.file) || has(suite.pack.as_str()));
        let (wanted, left): (Vec<&Case>, Vec<&Case>) = fitting.partition(|case| kind.has(case));
        others += left.len();
        for case in wanted {
            let begin = Instant::now();
            let findings = match kind {
                CaseKind::Mocked => rehearsal.run(case).findings,
                CaseKind::Real => {
                    let world = match &mut world {
                        Some(world) => world,
                        None => world.insert(RealWorld::open()?),
                    };
                    world.run(&mut rehearsal, suite, case)?
                }
            };
            trials.push(Trial { pack: suite.pack.clone(), case: case.clone(), findings, took: begin.elapsed() });
        }
    }
    Ok((trials, others))
}

fn write(path: &Path, trials: &[Trial]) -> CommandResult {
    let failed = |why: &dyn std::fmt::Display| Failure::new(format!("`{}` cannot be written: {why}", path.display()));
    let file = File::create(path).map_err(|error| failed(&error))?;
    junit(trials).serialize(BufWriter::new(file)).map_err(|error| failed(&error))
}

//! Reports the results of pack tests, for people and for CI.
//!
//! `ensue-rehearsal` runs them.

use std::fmt::Write as _;
use std::time::Duration;

use ensue_engine::names::PackName;
use ensue_packs::cases::Case;
use ensue_rehearsal::{Difference, UnmetExpectation};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use crate::report::printable;
use crate::style::Style;

/// A case that was run.
#[derive(Debug)]
pub(crate) struct Trial {
    /// Its pack.
    pub(crate) pack: PackName,
    /// The case.
    pub(crate) case: Case,
    /// The deviations from its expectations.
    pub(crate) findings: Vec<UnmetExpectation>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Trial {
    /// Returns true if the case passed.
    pub(crate) fn is_passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns a line for each case, followed by the findings of those that failed.
    pub(crate) fn show_all(trials: &[Self], style: Style) -> String {
        let places: Vec<String> = trials.iter().map(Self::place).collect();
        let width = places.iter().map(|place| place.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (trial, place) in trials.iter().zip(&places) {
            let verdict = if trial.is_passed() { style.good("pass") } else { style.bad("FAIL") };
            let _ = writeln!(text, "{verdict}  {place:width$}  {}", printable(&trial.case.name));
        }
        for trial in trials.iter().filter(|trial| !trial.is_passed()) {
            let _ = writeln!(text, "\n{}", style.strong(&format!("{}: {}", trial.place(), printable(&trial.case.name))));
            for finding in &trial.findings {
                text.push_str(&trial.show(finding, style));
            }
        }
        text
    }

    /// Returns the case as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let difference = |one: &Difference| json!({ "at": one.at, "expected": one.expected, "got": one.got });
        let finding = |one: &UnmetExpectation| {
            json!({
                "line": one.line,
                "what": one.what,
                "differences": one.differences.iter().map(difference).collect::<Vec<_>>(),
                "hint": one.hint,
            })
        };
        json!({
            "pack": self.pack,
            "file": self.case.file,
            "line": self.case.line,
            "name": self.case.name,
            "outcome": if self.is_passed() { "passed" } else { "failed" },
            "millis": self.took.as_millis() as u64,
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    fn place(&self) -> String {
        printable(&format!("{}:{}", self.case.file, self.case.line))
    }

    fn show(&self, finding: &UnmetExpectation, style: Style) -> String {
        let mut text = format!("  {} {}\n", printable(&finding.what), style.faint(&format!("(line {})", finding.line)));
        for difference in &finding.differences {
            let at = printable(&difference.at);
            if let Some(expected) = &difference.expected {
                let _ = writeln!(text, "    {}", style.good(&format!("- {at}: {}", printable(expected))));
            }
            if let Some(got) = &difference.got {
                let _ = writeln!(text, "    {}", style.bad(&format!("+ {at}: {}", printable(got))));
            }
        }
        let mut lines = finding.hint.iter().flat_map(|hint| hint.lines());
        if let Some(first) = lines.next() {
            let _ = writeln!(text, "    {} {}", style.faint("="), printable(first));
        }
        for line in lines {
            let _ = writeln!(text, "      {}", printable(line));
        }
        text
    }
}

/// Returns the JUnit report of all cases, with a suite for each pack.
pub(crate) fn junit(trials: &[Trial]) -> Report {
    let mut report = Report::new("ensue pack test");
    for of_pack in trials.chunk_by(|one, other| one.pack == other.pack) {
        let Some(first) = of_pack.first() else { continue };
        let mut suite = TestSuite::new(first.pack.as_str());
        for trial in of_pack {
            let status = if trial.is_passed() {
                TestCaseStatus::success()
            } else {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let told: String = trial.findings.iter().map(|finding| trial.show(finding, Style::PLAIN)).collect();
                status.set_message(trial.findings.first().map_or("", |finding| finding.what.as_str())).set_description(told);
                status
            };
            let mut case = TestCase::new(trial.case.name.as_str(), status);
            case.set_classname(trial.case.file.as_str()).set_time(trial.took);
            case.extra.insert("file".into(), trial.case.file.as_str().into());
            case.extra.insert("line".into(), trial.case.line.to_string().as_str().into());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report
}

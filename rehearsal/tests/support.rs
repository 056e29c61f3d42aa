//! Small packs, and the verdicts on their cases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ensue_packs::{Colour, PackSource, library, tests};
use ensue_rehearsal::{Rehearsal, Verdict};

const PACK: (&str, &str) = ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: 'string = \"acme\"' }\n");
const PING: (&str, &str) = ("triggers/ping.yaml", "payload: { host: string, load: 'number?' }\n");
const MADE: (&str, &str) = ("actions/made.yaml", "parameters: { name: 'string = \"\"' }\nrun: { shell: { script: make } }\n");

/// Runs the cases of a pack made of these files, including its tests.
#[track_caller]
pub(crate) fn run(files: &[(&str, &str)], cases: &str) -> Vec<Verdict> {
    let mut all: BTreeMap<&str, String> = [PACK, PING, MADE].iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    all.extend(files.iter().map(|(path, text)| (*path, (*text).to_owned())));
    all.insert("tests/all.test.yaml", cases.to_owned());
    let pack = PackSource::of("packs/demo", all).unwrap();
    let packs: Vec<PackSource> = library().into_iter().filter(|pack| pack.origin == "library/core").chain([pack]).collect();
    let tested = tests(&packs, &BTreeMap::new());
    let failures: String = tested.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    assert_eq!(failures, "");
    let (_, suite) = tested.suites.last().expect("the pack has tests");
    let mut rehearsal = Rehearsal::of(suite);
    suite.cases.iter().map(|case| rehearsal.run(case)).collect()
}

/// Runs one case of an action with these steps.
#[track_caller]
pub(crate) fn run_steps(steps: &str, case: &str) -> Verdict {
    let flow = format!("parameters: {{ list: '[string] = []' }}\nrun:\n  workflow:\n    steps:\n{}", indent(steps, 6));
    let case = format!("- it: goes\n  run: {{ action: demo.flow, with: {{ list: [a, b] }} }}\n{}", indent(case, 2));
    run(&[("actions/flow.yaml", &flow)], &case).remove(0)
}

fn indent(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(spaces))).collect()
}

/// Returns the findings as lines.
pub(crate) fn failures(verdict: &Verdict) -> String {
    let mut text = String::new();
    for finding in &verdict.findings {
        let _ = writeln!(text, "{} (line {})", finding.what, finding.line);
        for difference in &finding.differences {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "—".to_owned());
            let _ = writeln!(text, "  {}: {} / {}", difference.at, side(&difference.expected), side(&difference.got));
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "  = {hint}");
        }
    }
    text
}

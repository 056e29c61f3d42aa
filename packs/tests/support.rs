//! Small packs for errors, and their findings.

pub(crate) mod agreement;

use std::collections::BTreeMap;

use ensue_engine::names::PackName;
use ensue_packs::{CheckResult, Code, Colour, Diagnostic, FileMode, PackSource, check, library, lint};
use serde_json::Value;

/// The files of a valid pack `demo`; a test replaces or adds some.
pub(crate) fn demo(changes: &[(&str, &str)]) -> PackSource {
    let mut files: BTreeMap<&str, &str> = BTreeMap::from([
        (
            "pack.yaml",
            "name: demo\nversion: 1.0.0\nrequires: { packs: { github: ^0.1 } }\nconfig: { owner: 'string = \"acme\"' }\nkeys: [token]\n",
        ),
        ("triggers/ping.yaml", "payload:\n  host: string\n  load: number?\n"),
        ("actions/ship.yaml", "parameters:\n  version: string\n  count: integer = 1\nrun:\n  shell:\n    script: echo shipped\n"),
        ("rules/greet.yaml", "trigger: demo.ping\naction: core.echo\n"),
    ]);
    files.extend(changes.iter().copied());
    let mut source =
        PackSource::of("packs/demo", files.into_iter().map(|(path, text)| (path, text.to_owned()))).expect("the paths are fine");
    for (path, file) in &mut source.files {
        if path.ends_with(".sh") {
            file.mode = FileMode::Executable;
        }
    }
    source
}

/// Checks a pack together with the library.
pub(crate) fn check_packs(packs: &[PackSource], config: &[(&str, Value)]) -> CheckResult {
    let packs: Vec<PackSource> = library().into_iter().chain(packs.iter().cloned()).collect();
    let config: BTreeMap<PackName, Value> = config.iter().map(|(name, value)| (name.parse().expect("a name"), value.clone())).collect();
    let checked = check(&packs, &config);
    // The JSON Schemas must agree with `check` on everything that a test tries.
    for (pack, path) in packs.iter().flat_map(|pack| pack.files.keys().map(move |path| (pack, path))) {
        assert_eq!(agreement::disagreement(pack, path, &checked), None, "{}/{path}", pack.origin);
    }
    checked
}

/// The findings of packs, as they are printed.
pub(crate) fn findings_of(packs: &[PackSource]) -> String {
    render_findings(&check_packs(packs, &[]))
}

/// The findings as they are printed.
pub(crate) fn render_findings(checked: &CheckResult) -> String {
    let all: Vec<String> = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    all.join("\n")
}

/// The findings of the demo with some files changed.
pub(crate) fn shown_with(changes: &[(&str, &str)]) -> String {
    findings_of(&[demo(changes)])
}

/// Lints packs together with the library.
pub(crate) fn lint_packs(packs: &[PackSource]) -> CheckResult {
    let packs: Vec<PackSource> = library().into_iter().chain(packs.iter().cloned()).collect();
    lint(&packs, &BTreeMap::new())
}

/// The findings with one code, if there is exactly one and nothing else except lints; otherwise all findings
/// as an error.
pub(crate) fn shown_alone(checked: &CheckResult, code: Code) -> Result<String, String> {
    let others = |one: &&Diagnostic| one.code == code || !LINTS.contains(&one.code);
    let reported: Vec<&Diagnostic> = checked.diagnostics.iter().filter(others).filter(|one| one.code != Code::NeedsBrokenPack).collect();
    match reported.as_slice() {
        [one] if one.code == code => Ok(one.render(Colour::Plain)),
        _ => Err(reported.iter().map(|one| one.render(Colour::Plain)).collect::<Vec<_>>().join("\n")),
    }
}

/// The codes that only `lint` reports; the demo has keys and settings that it does not use.
pub(crate) const LINTS: [Code; 8] = [
    Code::RuleNeverMatches,
    Code::RuleContained,
    Code::RuleTriggersItself,
    Code::UnusedParameter,
    Code::UnusedLocal,
    Code::UnusedSetting,
    Code::UnusedKey,
    Code::UnusedConnection,
];

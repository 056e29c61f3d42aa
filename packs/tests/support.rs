//! Small packs to make mistakes in, and what is told of them.

use std::collections::BTreeMap;

use ensue_engine::names::PackName;
use ensue_packs::{Checked, Colour, FileMode, PackSource, check, library};
use serde_json::Value;

/// The files of a pack `demo` that has nothing wrong with it; a test replaces or adds some.
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
pub(crate) fn checked(packs: &[PackSource], config: &[(&str, Value)]) -> Checked {
    let packs: Vec<PackSource> = library().into_iter().chain(packs.iter().cloned()).collect();
    let config: BTreeMap<PackName, Value> = config.iter().map(|(name, value)| (name.parse().expect("a name"), value.clone())).collect();
    check(&packs, &config)
}

/// What is told of packs, as it is printed.
pub(crate) fn shown(packs: &[PackSource]) -> String {
    told(&checked(packs, &[]))
}

/// What was told, as it is printed.
pub(crate) fn told(checked: &Checked) -> String {
    let all: Vec<String> = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    all.join("\n")
}

/// What is told of the demo with some files changed.
pub(crate) fn shown_with(changes: &[(&str, &str)]) -> String {
    shown(&[demo(changes)])
}

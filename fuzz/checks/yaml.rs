//! Checks that any text as a file of a pack is either accepted or reported with a place in that file.
//!
//! The first byte selects which of the pack's files the rest replaces.

use std::collections::BTreeMap;

use ensue_packs::{Colour, PackSource, check};

/// The files of a valid pack; the input replaces one of them.
const FILES: [(&str, &str); 5] = [
    (
        "rules/greet.yaml",
        "trigger: demo.ping\nwhen: event.payload.load > 1.0\naction: demo.ship\nwith: { version: '${{ event.payload.host }}' }\n",
    ),
    ("triggers/ping.yaml", "payload:\n  host: string\n  load: number\n"),
    ("actions/ship.yaml", "parameters:\n  version: string\n  count: integer = 1\nrun:\n  shell:\n    script: echo shipped\n"),
    ("sensors/hook.yaml", "webhook:\n  verify: { scheme: none }\nemits:\n  - trigger: demo.ping\n"),
    ("pack.yaml", "name: demo\nversion: 1.0.0\nconfig: { owner: 'string = \"acme\"' }\nkeys: [token]\n"),
];

/// Checks one input.
pub(crate) fn check_input(input: &[u8]) {
    let Some((which, text)) = input.split_first() else { return };
    let changed = FILES[usize::from(*which) % FILES.len()].0;
    let files = FILES.map(|(path, original)| (path, if path == changed { text.to_vec() } else { original.as_bytes().to_vec() }));
    let texts: BTreeMap<String, Vec<u8>> = files.iter().map(|(path, text)| (format!("demo/{path}"), text.clone())).collect();
    let pack = PackSource::of("demo", files).expect("the paths are those of a pack");
    let checked = check(&[pack], &BTreeMap::new());
    for one in &checked.diagnostics {
        // If the file is not text, only the part before the first invalid byte.
        let text = texts.get(&one.file).and_then(|text| text.utf8_chunks().next()).map_or("", |chunk| chunk.valid());
        assert!(text.get(one.span.clone()).is_some(), "{one:?} lies beside its file");
        assert!(!one.message.is_empty() && one.line >= 1 && one.column >= 1);
        assert!(!one.render(Colour::Plain).is_empty() && one.to_json().is_object());
    }
    assert_eq!(checked.diagnostics, check(&[rebuilt(&texts)], &BTreeMap::new()).diagnostics, "a second check reports something else");
}

fn rebuilt(texts: &BTreeMap<String, Vec<u8>>) -> PackSource {
    let files = texts.iter().map(|(path, text)| (path.trim_start_matches("demo/"), text.clone()));
    PackSource::of("demo", files).expect("the paths are those of a pack")
}

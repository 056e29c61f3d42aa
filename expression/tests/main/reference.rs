//! The examples of the reference page, each evaluated.

use serde_json::Value as Json;

use super::over_event;

const PAGE: &str = include_str!("../../../docs/reference/expressions.md");

/// A row of the tables of macros and functions.
struct Example {
    name: String,
    source: String,
    gives: Json,
}

fn examples() -> Vec<Example> {
    let tables = PAGE.split("\n## ").filter(|part| part.starts_with("Macros") || part.starts_with("Functions"));
    let rows = tables.flat_map(str::lines).filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        // A bar inside a cell is written `\|`.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|")).collect();
        let [_, name, _, source, gives, _] = cells.as_slice() else { panic!("{row} has not four cells") };
        let gives = serde_json::from_str(gives).unwrap_or_else(|error| panic!("{row}: {error}"));
        Example { name: name.clone(), source: source.clone(), gives }
    })
    .collect()
}

#[test]
fn each_function_and_macro_matches_the_reference() {
    let examples = examples();
    assert!(examples.len() > 80, "{} examples were found; how they are written has changed", examples.len());
    for Example { name, source, gives } in examples {
        assert!(source.contains(&format!("{name}(")), "the example of `{name}` does not call it: {source}");
        let given = over_event(&source, |value| value.and_then(|value| value.to_json()));
        assert_eq!(given.as_ref(), Ok(&gives), "{source}");
    }
}

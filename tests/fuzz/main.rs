//! The checks of the fuzzers on the inputs that once failed, and on a fixed number of inputs that are made from them.
//!
//! The fuzzers themselves look for new inputs in `cargo verify explore`: they are built otherwise, and have no last input.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../fuzz/checks/evaluate.rs"]
mod evaluate;
#[path = "../../fuzz/checks/jwks.rs"]
mod jwks;
#[path = "../../fuzz/checks/jwt.rs"]
mod jwt;
#[path = "../../fuzz/checks/parse.rs"]
mod parse;
#[path = "../../fuzz/checks/yaml.rs"]
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// How many inputs are made for each target.
const INPUTS: u32 = 5_000;
/// The most changes of one input.
const EDITS_MAX: usize = 6;

/// A folder of inputs, and the words of their language.
struct Inputs {
    kept: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

static EXPRESSIONS: LazyLock<Inputs> = LazyLock::new(|| Inputs::read("expressions", "expressions"));
static YAML: LazyLock<Inputs> = LazyLock::new(|| Inputs::read("yaml", "yaml"));
static TOKENS: LazyLock<Inputs> = LazyLock::new(|| Inputs::read("jwt", "json"));
static KEYS: LazyLock<Inputs> = LazyLock::new(|| Inputs::read("jwks", "json"));

impl Inputs {
    fn read(folder: &str, dictionary: &str) -> Self {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut files: Vec<PathBuf> = fs::read_dir(fuzz.join("seeds").join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let dictionary = fs::read_to_string(fuzz.join(format!("{dictionary}.dict"))).unwrap();
        let inputs = Self { kept: files.iter().map(|file| fs::read(file).unwrap()).collect(), words: words_of(&dictionary) };
        assert!(!inputs.kept.is_empty() && !inputs.words.is_empty(), "{folder} has no inputs, or no words");
        inputs
    }
}

/// Returns the words of a dictionary of libFuzzer: a line each, in quotes, with `\\` and `\"` escaped.
fn words_of(dictionary: &str) -> Vec<Vec<u8>> {
    let quoted = dictionary.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('"')?.1.rsplit_once('"'));
    quoted.map(|(word, _)| word.replace("\\\"", "\"").replace("\\\\", "\\").into_bytes()).collect()
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
}

fn edits(inputs: &'static Inputs) -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), select(inputs.words.clone())).prop_map(|(at, word)| Edit::Insert(at, word)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Remove(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Repeat(from, to)),
    ];
    proptest::collection::vec(edit, 1..=EDITS_MAX)
}

/// Returns a kept input with some changes.
fn mutated_input(inputs: &'static Inputs) -> impl Strategy<Value = Vec<u8>> {
    (select(inputs.kept.clone()), edits(inputs)).prop_map(|(mut input, edits)| {
        edits.iter().for_each(|edit| apply(edit, &mut input));
        input
    })
}

fn apply(edit: &Edit, input: &mut Vec<u8>) {
    let places = input.len() + 1;
    let between = |from: &Index, to: &Index| {
        let (from, to) = (from.index(places), to.index(places));
        from.min(to)..from.max(to)
    };
    match edit {
        Edit::Replace(at, byte) => {
            let at = at.index(places);
            if let Some(old) = input.get_mut(at) {
                *old = *byte;
            }
        }
        Edit::Insert(at, word) => drop(input.splice(at.index(places)..at.index(places), word.iter().copied())),
        Edit::Remove(from, to) => drop(input.drain(between(from, to))),
        Edit::Repeat(from, to) => {
            let range = between(from, to);
            let part = input[range.clone()].to_vec();
            drop(input.splice(range.end..range.end, part));
        }
    }
}

/// Calls a check that takes a text.
fn text(check: fn(&str), input: &[u8]) {
    check(&String::from_utf8_lossy(input));
}

#[test]
fn checks_hold_for_all_kept_inputs() {
    for input in &EXPRESSIONS.kept {
        text(parse::check_input, input);
        text(evaluate::check_input, input);
    }
    YAML.kept.iter().for_each(|input| yaml::check_input(input));
    TOKENS.kept.iter().for_each(|input| text(jwt::check_input, input));
    KEYS.kept.iter().for_each(|input| jwks::check_input(input));
}

#[test]
fn words_of_a_dictionary_are_unescaped() {
    assert_eq!(words_of("# words\n\"a\"\nname=\"b\\\"c\\\\\"\n"), [b"a".to_vec(), b"b\"c\\".to_vec()]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: INPUTS, ..ProptestConfig::with_source_file(file!()) })]

    #[test]
    fn any_text_is_an_expression_or_is_rejected_with_a_place(input in mutated_input(&EXPRESSIONS)) {
        text(parse::check_input, &input);
    }

    #[test]
    fn evaluation_of_any_expression_is_deterministic_and_explained(input in mutated_input(&EXPRESSIONS)) {
        text(evaluate::check_input, &input);
    }

    #[test]
    fn any_file_of_a_pack_is_accepted_or_reported_with_a_place(input in mutated_input(&YAML)) {
        yaml::check_input(&input);
    }

    #[test]
    fn any_text_is_refused_as_a_token(input in mutated_input(&TOKENS)) {
        text(jwt::check_input, &input);
    }

    #[test]
    fn any_document_is_read_as_keys_or_refused(input in mutated_input(&KEYS)) {
        jwks::check_input(&input);
    }
}

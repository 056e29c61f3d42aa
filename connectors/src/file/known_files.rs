//! The files that a sensor knows: the cursor of changes.
//!
//! In the log, it is an object. `known` has twenty digits for each file: the hashes of its path and of what it was. If the
//! sensor reports files that are gone, `names` has their paths, too. `partly` says how many lines of which file already made
//! a message. Older releases wrote `files` instead of `known`: sixteen bytes for each file, all together in base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ensue_expression::Document;
use serde_json::{Map, Value, json};

use super::folder::Look;
use crate::base85::{self, hash};

/// The size of the cursor of one file in digits, and in an older cursor in bytes.
const ENTRY_DIGITS: usize = 2 * base85::DIGITS;
const OLDER_ENTRY_BYTES: usize = 16;

/// What is known of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownFiles {
    /// The hash of what a file was, by the hash of its path.
    files: BTreeMap<u64, u64>,
    /// The paths of the files, if they are needed.
    names: Option<BTreeMap<u64, String>>,
    /// A file whose lines are not all messages yet.
    pub(super) partly: Option<Partly>,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partly {
    /// The hash of its path.
    pub(super) file: u64,
    was: u64,
    /// The number of lines that already made a message.
    pub(super) lines: usize,
}

impl Partly {
    /// Returns how far a file was read.
    pub(super) fn of(below: &str, look: &Look, lines: usize) -> Self {
        Self { file: hash(below.as_bytes()), was: hash(&look.mark()), lines }
    }

    /// Returns true if it is about this file, as it is now.
    pub(super) fn is_of(&self, below: &str, look: &Look) -> bool {
        self.file == hash(below.as_bytes()) && self.was == hash(&look.mark())
    }
}

impl KnownFiles {
    /// Knows nothing yet.
    pub(super) fn new(has_names: bool) -> Self {
        Self { names: has_names.then(BTreeMap::new), ..Self::default() }
    }

    /// Reads what is known from the log. Returns `None` if the document is of something else.
    pub(super) fn read(document: &Document, has_names: bool) -> Option<Self> {
        let root = document.root().to_value();
        let root = root.as_object()?;
        let mut known = Self::new(has_names);
        match root.get("known") {
            Some(digits) => known.add(digits.as_str()?)?,
            None => known.add_older(root.get("files")?.as_str()?)?,
        }
        if let Some(names) = root.get("names").and_then(Value::as_array) {
            let names = names.iter().filter_map(Value::as_str).map(|name| (hash(name.as_bytes()), name.to_owned()));
            known.names = has_names.then(|| names.collect());
        }
        if let Some(partly) = root.get("partly") {
            let number = |name: &str| u64::from_str_radix(partly.get(name)?.as_str()?, 16).ok();
            let lines = usize::try_from(partly.get("lines")?.as_u64()?).ok()?;
            known.partly = Some(Partly { file: number("file")?, was: number("was")?, lines });
        }
        Some(known)
    }

    fn add(&mut self, digits: &str) -> Option<()> {
        let (entries, rest) = digits.as_bytes().as_chunks::<ENTRY_DIGITS>();
        for entry in entries {
            let (file, was) = entry.split_at(base85::DIGITS);
            self.files.insert(base85::read(file)?, base85::read(was)?);
        }
        rest.is_empty().then_some(())
    }

    fn add_older(&mut self, text: &str) -> Option<()> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        for entry in bytes.chunks(OLDER_ENTRY_BYTES) {
            let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
            let (file, was) = entry.split_at_checked(OLDER_ENTRY_BYTES / 2)?;
            self.files.insert(number(file)?, number(was)?);
        }
        Some(())
    }

    /// Returns the form for the log.
    pub(super) fn to_document(&self) -> Document {
        let mut digits = String::with_capacity(self.files.len() * ENTRY_DIGITS);
        for number in self.files.iter().flat_map(|(file, was)| [*file, *was]) {
            base85::write(&mut digits, number, base85::DIGITS);
        }
        let mut fields = Map::from_iter([("known".to_owned(), Value::from(digits))]);
        if let Some(names) = &self.names {
            fields.insert("names".to_owned(), names.values().cloned().collect());
        }
        if let Some(Partly { file, was, lines }) = self.partly {
            fields.insert("partly".to_owned(), json!({ "file": format!("{file:x}"), "was": format!("{was:x}"), "lines": lines }));
        }
        Document::from_value(&Value::Object(fields))
    }

    /// Returns true if a file is known as it is now.
    pub(super) fn is_same(&self, below: &str, look: &Look) -> bool {
        self.files.get(&hash(below.as_bytes())) == Some(&hash(&look.mark()))
    }

    /// Returns true if a file of this path is known.
    pub(super) fn has(&self, below: &str) -> bool {
        self.files.contains_key(&hash(below.as_bytes()))
    }

    /// Notes what a file is.
    pub(super) fn note(&mut self, below: &str, look: &Look) {
        let file = hash(below.as_bytes());
        self.files.insert(file, hash(&look.mark()));
        if let Some(names) = &mut self.names {
            names.insert(file, below.to_owned());
        }
        self.partly = None;
    }

    /// Forgets a file.
    pub(super) fn forget(&mut self, below: &str) {
        let file = hash(below.as_bytes());
        self.files.remove(&file);
        if let Some(names) = &mut self.names {
            names.remove(&file);
        }
    }

    /// Returns the paths of known files that are not there, as far as paths are known, and forgets the other ones.
    pub(super) fn find_removed(&mut self, there: &BTreeMap<String, Look>) -> Vec<String> {
        let there: std::collections::BTreeSet<u64> = there.keys().map(|below| hash(below.as_bytes())).collect();
        match &self.names {
            Some(names) => names.iter().filter(|(file, _)| !there.contains(file)).map(|(_, name)| name.clone()).collect(),
            None => {
                self.files.retain(|file, _| there.contains(file));
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        Look::at(&file).unwrap()
    }

    #[test]
    fn known_files_are_read_back_as_they_were_written() {
        for has_names in [false, true] {
            let mut known = KnownFiles::new(has_names);
            known.note("a", &look(1));
            known.note("b/c", &look(2));
            known.partly = Some(Partly::of("d", &look(3), 7));
            assert_eq!(KnownFiles::read(&known.to_document(), has_names), Some(known));
        }
    }

    #[test]
    fn cursor_of_an_older_release_knows_the_same_files() {
        let mut known = KnownFiles::new(false);
        known.note("a", &look(1));
        known.note("b/c", &look(2));
        let bytes: Vec<u8> = known.files.iter().flat_map(|(file, was)| [file.to_be_bytes(), was.to_be_bytes()].concat()).collect();
        let older = Document::from_value(&json!({ "files": STANDARD_NO_PAD.encode(&bytes) }));
        assert_eq!(KnownFiles::read(&older, false), Some(known));
        for bytes in [1, 15, 17] {
            let damaged = json!({ "files": STANDARD_NO_PAD.encode(vec![0; bytes]) });
            assert_eq!(KnownFiles::read(&Document::from_value(&damaged), false), None, "{bytes}");
        }
    }

    #[test]
    fn file_that_is_new_adds_twenty_digits_and_leaves_the_others() {
        let (mut known, look) = (KnownFiles::new(false), look(1));
        (0..1_000).for_each(|number| known.note(&number.to_string(), &look));
        let before = known.to_document();
        known.note("new", &look);
        let after = known.to_document();
        let (before, after) = (before.bytes(), after.bytes());
        let start = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        let end = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
        assert_eq!(after.len() - before.len(), ENTRY_DIGITS);
        assert!(start + end >= before.len(), "{start} bytes of {} are the same at the start, {end} at the end", before.len());
    }

    #[test]
    fn document_that_is_no_cursor_of_files_is_not_read() {
        for other in [json!(null), json!({}), json!({ "known": 1 }), json!({ "known": "0".repeat(30) }), json!({ "known": "#".repeat(20) })]
        {
            assert_eq!(KnownFiles::read(&Document::from_value(&other), false), None, "{other}");
        }
    }

    #[test]
    fn cursor_of_ten_thousand_files_stays_within_its_limit() {
        let mut known = KnownFiles::new(false);
        let look = look(1);
        (0..10_000).for_each(|number| known.note(&format!("folder/file-{number}.csv"), &look));
        assert!(known.to_document().bytes().len() <= crate::process::CURSOR_BYTES_MAX);
    }

    #[test]
    fn file_that_is_gone_is_reported_only_by_name() {
        let there = BTreeMap::from([("a".to_owned(), look(1))]);
        for (has_names, gone) in [(true, vec!["b".to_owned()]), (false, Vec::new())] {
            let mut known = KnownFiles::new(has_names);
            known.note("a", &there["a"]);
            known.note("b", &look(2));
            assert_eq!(known.find_removed(&there), gone);
            assert_eq!(known.has("b"), has_names);
        }
    }
}

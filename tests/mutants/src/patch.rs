//! The patches that plant the bugs: unified diffs whose line numbers do not matter.
//!
//! A hunk applies where its context and removed lines are found, and they must be found exactly once. Each
//! patch applies to the clean sources, so patches do not depend on each other.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// The folder of the patches, from the root of the workspace.
pub const FOLDER: &str = "tests/mutants";

/// A patch: what changes for one bug.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Its file, from the root of the workspace.
    pub path: String,
    hunks: Vec<Hunk>,
}

/// A change of adjacent lines.
#[derive(Clone, Debug)]
struct Hunk {
    file: String,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    Kept(String),
    Removed(String),
    Added(String),
}

/// Returns the path of a bug's patch, from the root of the workspace.
pub fn path_of(name: &str) -> String {
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{FOLDER}/{}.patch", words.join("-"))
}

/// Reads all patches of a workspace, ordered by path.
///
/// # Errors
/// If a patch cannot be read.
pub fn read_all(root: &Path) -> Result<Vec<Patch>> {
    let mut patches = Vec::new();
    for entry in std::fs::read_dir(root.join(FOLDER)).context(FOLDER)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".patch") {
            let path = format!("{FOLDER}/{name}");
            let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
            patches.push(Patch::parse(path, &text)?);
        }
    }
    patches.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(patches)
}

/// Applies patches to the sources of a workspace. Returns each changed file with its new text.
///
/// # Errors
/// If a patch does not apply, or two patches change the same line.
pub fn apply(root: &Path, patches: &[Patch]) -> Result<BTreeMap<String, String>> {
    let mut edits: BTreeMap<&str, Edits> = BTreeMap::new();
    for patch in patches {
        for hunk in &patch.hunks {
            let file = match edits.entry(&hunk.file) {
                Entry::Occupied(file) => file.into_mut(),
                Entry::Vacant(new) => new.insert(Edits::of(root, &hunk.file).with_context(|| patch.path.clone())?),
            };
            file.add(hunk).with_context(|| format!("{} does not apply to {}: renew it", patch.path, hunk.file))?;
        }
    }
    Ok(edits.into_iter().map(|(file, edits)| (file.to_owned(), edits.text())).collect())
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// If it is not a diff, or a hunk has nothing to be found by.
    pub fn parse(path: String, text: &str) -> Result<Self> {
        let mut hunks: Vec<Hunk> = Vec::new();
        let mut file = None;
        for line in text.lines() {
            let (kind, rest) = line.split_at_checked(line.len().min(1)).unwrap_or(("?", line));
            if let Some(named) = line.strip_prefix("--- ").or_else(|| line.strip_prefix("+++ ")) {
                file = Some(named.to_owned());
            } else if line.starts_with("@@") {
                let file = file.clone().with_context(|| format!("{path}: a hunk comes before `--- FILE`"))?;
                hunks.push(Hunk { file, lines: Vec::new() });
            } else {
                let line = match kind {
                    " " | "" => Line::Kept(rest.to_owned()),
                    "-" => Line::Removed(rest.to_owned()),
                    "+" => Line::Added(rest.to_owned()),
                    _ => bail!("{path}: `{line}` is not a line of a diff"),
                };
                hunks.last_mut().with_context(|| format!("{path}: a line comes before `@@`"))?.lines.push(line);
            }
        }
        ensure!(!hunks.is_empty(), "{path} changes nothing");
        ensure!(hunks.iter().all(|hunk| !hunk.before().is_empty()), "{path}: a hunk has no line to find it by");
        Ok(Self { path, hunks })
    }

    /// Returns the lines that the patch adds.
    pub fn added_lines(&self) -> impl Iterator<Item = &str> {
        self.hunks.iter().flat_map(|hunk| &hunk.lines).filter_map(|line| match line {
            Line::Added(text) => Some(text.as_str()),
            Line::Kept(_) | Line::Removed(_) => None,
        })
    }
}

impl Hunk {
    /// Returns the lines that the hunk is found by.
    fn before(&self) -> Vec<&str> {
        let before = self.lines.iter().filter_map(|line| match line {
            Line::Kept(text) | Line::Removed(text) => Some(text.as_str()),
            Line::Added(_) => None,
        });
        before.collect()
    }
}

/// A source, with the changes to it.
struct Edits {
    lines: Vec<String>,
    removed: BTreeSet<usize>,
    /// New lines, by the old line that they come before.
    added: BTreeMap<usize, Vec<String>>,
}

impl Edits {
    fn of(root: &Path, file: &str) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        let lines = text.lines().map(str::to_owned).collect();
        Ok(Self { lines, removed: BTreeSet::new(), added: BTreeMap::new() })
    }

    fn add(&mut self, hunk: &Hunk) -> Result<()> {
        let before = hunk.before();
        let starts: Vec<usize> =
            self.lines.windows(before.len()).enumerate().filter(|(_, lines)| *lines == before).map(|(start, _)| start).collect();
        let [start] = *starts else { bail!("its lines are found {} times: {before:#?}", starts.len()) };
        let mut at = start;
        for line in &hunk.lines {
            match line {
                Line::Kept(_) => at += 1,
                Line::Removed(text) => {
                    ensure!(self.removed.insert(at), "another patch changes the line `{}`", text.trim());
                    at += 1;
                }
                Line::Added(text) => self.added.entry(at).or_default().push(text.clone()),
            }
        }
        Ok(())
    }

    fn text(mut self) -> String {
        let mut text = String::new();
        for at in 0..=self.lines.len() {
            let added = self.added.remove(&at).unwrap_or_default();
            let kept = self.lines.get(at).filter(|_| !self.removed.contains(&at));
            for line in added.iter().chain(kept) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_texts(patches: &[&str]) -> Result<String> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("a.rs"), "fn a() {\n    one();\n    two();\n    two();\n}\n")?;
        let parsed = patches.iter().map(|text| Patch::parse("p.patch".into(), text)).collect::<Result<Vec<_>>>()?;
        apply(folder.path(), &parsed).map(|mut files| files.remove("a.rs").unwrap_or_default())
    }

    #[test]
    fn patches_apply_wherever_their_lines_are_found_once() {
        let wrap = "--- a.rs\n+++ a.rs\n@@ -9,9 +9,9 @@\n-    one();\n+    if !is() {\n+        one();\n+    }\n     two();\n";
        let add = "--- a.rs\n+++ a.rs\n@@\n     one();\n+    three();\n     two();\n";
        let text = apply_texts(&[wrap, add]).unwrap();
        assert_eq!(text, "fn a() {\n    if !is() {\n        one();\n    }\n    three();\n    two();\n    two();\n}\n");
    }

    #[test]
    fn patch_whose_lines_are_absent_repeated_or_taken_is_rejected() {
        let hunk = |line: &str| format!("--- a.rs\n+++ a.rs\n@@\n-    {line}();\n+    else();\n");
        let error = |patches: &[&str]| format!("{:#}", apply_texts(patches).unwrap_err());
        assert!(error(&[&hunk("three")]).contains("p.patch does not apply to a.rs: renew it: its lines are found 0 times"));
        assert!(error(&[&hunk("two")]).contains("its lines are found 2 times"));
        assert!(error(&[&hunk("one"), &hunk("one")]).contains("another patch changes the line `one();`"));
    }
}

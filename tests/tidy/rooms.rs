//! The rooms of a crate: its top-level modules, each with the folder of the same name. An import that leads
//! back to the room that it came from, directly or over others, makes a circle, and a circle can only be
//! understood as a whole.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, Macro, Path, UseTree, Visibility};

use crate::{CRATES, backticked_texts, demand_none, files, read, rows, section};

/// The folders in which each file, with the folder of the same name, is a room of its own: each is about a noun. The file
/// of such a folder names all of them, as the root of a crate does.
const FOLDERS_OF_NOUNS: &[&str] = &["api/src/routes", "cli/src/commands", "packs/src/check", "packs/src/syntax"];

/// The heading of ARCHITECTURE.md under which the floors of the engine are listed.
const FLOORS: &str = "## Floors of the engine";

#[test]
fn imports_between_files_make_no_circle_except_within_one_folder() {
    for folder in FOLDERS_OF_NOUNS {
        assert!(!files(folder, ".rs").is_empty(), "there is no folder {folder}");
    }
    let mut findings = Vec::new();
    for folder in CRATES.iter().filter(|folder| !folder.starts_with("tests")) {
        let names_all = |file: &str| FOLDERS_OF_NOUNS.contains(&&*format!("{folder}/src/{file}"));
        let mut imports = imports(folder);
        imports.retain(|file, _| !names_all(file));
        imports.values_mut().for_each(|imported| imported.retain(|other| !names_all(other)));
        let circles = circles(&imports).into_iter().filter(|circle| {
            let rooms: BTreeSet<String> = circle.iter().map(|file| room_of(folder, file)).collect();
            rooms.len() > 1
        });
        findings.extend(circles.map(|circle| format!("{folder}: {circle:?}")));
    }
    demand_none(&findings, "move what both files need into a file below them:");
}

/// Returns the room of a file: the first part of its path in the crate, or the first two in a folder of nouns.
fn room_of(folder: &str, file: &str) -> String {
    let mut parts = file.split('/');
    let first = parts.next().unwrap_or_default();
    match parts.next().filter(|_| FOLDERS_OF_NOUNS.contains(&&*format!("{folder}/src/{first}"))) {
        Some(noun) => format!("{first}/{noun}"),
        None => first.to_owned(),
    }
}

#[test]
fn imports_in_the_engine_never_lead_up_a_floor() {
    let text = read("ARCHITECTURE.md");
    let table = rows(section(&text, FLOORS));
    assert!(table.len() >= 5, "the table of floors has {} rows; its shape has changed", table.len());
    let patterns = |cell: &str| backticked_texts(cell).into_iter().flat_map(alternatives).collect();
    let floors: Vec<(&str, Vec<String>)> = table.iter().map(|row| (row[0].as_str(), patterns(&row[1]))).collect();
    let imports = imports("engine");
    let mut findings: Vec<String> = Vec::new();
    for (_, patterns) in &floors {
        let unused = patterns.iter().filter(|pattern| !imports.keys().any(|file| is_like(file, pattern)));
        findings.extend(unused.map(|pattern| format!("the table names `{pattern}`, and there is no such file")));
    }
    for (file, imported) in &imports {
        let Some(floor) = floor_of(file, &floors) else {
            findings.push(format!("{file} is on no floor"));
            continue;
        };
        let above = imported.iter().filter_map(|other| Some((other, floor_of(other, &floors)?))).filter(|(_, other)| *other > floor);
        findings.extend(above.map(|(other, above)| format!("{file} ({}) imports {other} ({})", floors[floor].0, floors[above].0)));
    }
    demand_none(&findings, "a file of the engine imports from its own floor and those below it:");
}

/// Returns the number of the floor with the most specific pattern for a file: the file itself, then its name in any folder, then its folder.
fn floor_of(file: &str, floors: &[(&str, Vec<String>)]) -> Option<usize> {
    let rank = |pattern: &str| (pattern.ends_with("/*"), pattern.starts_with("*/"));
    let fitting = floors.iter().enumerate().flat_map(|(floor, (_, patterns))| patterns.iter().map(move |pattern| (floor, &**pattern)));
    fitting.filter(|(_, pattern)| is_like(file, pattern)).min_by_key(|(_, pattern)| rank(pattern)).map(|(floor, _)| floor)
}

/// Returns the patterns that a pattern with a list stands for: `a/{b,c}` stands for `a/b` and `a/c`.
fn alternatives(pattern: &str) -> Vec<String> {
    match pattern.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (list, after))) => list.split(',').map(|one| format!("{before}{one}{after}")).collect(),
        None => vec![pattern.to_owned()],
    }
}

/// Returns true if a file matches a pattern, in which `*` matches any text.
fn is_like(file: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => file == pattern,
        Some((before, after)) => {
            let rest = file.strip_prefix(before);
            rest.is_some_and(|rest| {
                rest.match_indices(|_: char| true).map(|(at, _)| at).chain([rest.len()]).any(|at| is_like(&rest[at..], after))
            })
        }
    }
}

/// For each room of a crate, the rooms of the same crate that it imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn imports(folder: &str) -> Imports {
    let sources: BTreeMap<Vec<String>, File> = files(&format!("{folder}/src"), ".rs")
        .into_iter()
        .filter_map(|(path, text)| {
            let within = path.trim_start_matches(&format!("{folder}/src/")).trim_end_matches(".rs");
            let parts: Vec<String> = within.split('/').map(str::to_owned).collect();
            // The root names everything, and a test may look at everything.
            let is_left_out = matches!(&*parts[0], "lib" | "main" | "bin") || parts.iter().any(|part| part == "tests");
            (!is_left_out).then(|| (parts, syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"))))
        })
        .collect();
    let re_exports = sources.iter().map(|(file, source)| (file.clone(), re_exports(file, source))).collect();
    let modules = Modules { re_exports };
    sources
        .iter()
        .map(|(file, source)| {
            let mut names = Names { file, modules: &modules, named: BTreeSet::new() };
            names.visit_file(source);
            names.named.remove(file);
            (file.join("/"), names.named.iter().map(|other| other.join("/")).collect())
        })
        .collect()
}

/// The files of a crate, with the paths from the crate's root that the names they re-export lead to.
struct Modules {
    re_exports: BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
}

impl Modules {
    /// Returns the file that defines what a path from the crate's root leads to, through re-exports. None for a path into no file.
    fn file_of(&self, path: &[String]) -> Option<Vec<String>> {
        let (file, rest) =
            (1..=path.len()).rev().map(|length| path.split_at(length)).find(|(file, _)| self.re_exports.contains_key(*file))?;
        let re_exported = rest.first().and_then(|name| self.re_exports[file].get(name));
        let through = re_exported.and_then(|target| self.file_of(&[target, &rest[1..]].concat()));
        Some(through.unwrap_or_else(|| file.to_vec()))
    }
}

fn re_exports(file: &[String], source: &File) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for item in &source.items {
        if let Item::Use(import) = item
            && !matches!(import.vis, Visibility::Inherited)
        {
            walk(&[], &import.tree, &mut |path, name| {
                let target = from_root(file, path).unwrap_or_else(|| [file, path].concat());
                // A macro is re-exported under its own name in its own file.
                if target != [file, &[name.to_owned()]].concat() {
                    found.insert(name.to_owned(), target);
                }
            });
        }
    }
    found
}

/// Calls `each` with each path of a use tree and the name that it gets.
fn walk(before: &[String], tree: &UseTree, each: &mut dyn FnMut(&[String], &str)) {
    let with = |name: &dyn ToString| -> Vec<String> { before.iter().cloned().chain([name.to_string()]).collect() };
    match tree {
        UseTree::Path(path) => walk(&with(&path.ident), &path.tree, each),
        UseTree::Name(name) if name.ident == "self" => each(before, before.last().map_or("", String::as_str)),
        UseTree::Name(name) => each(&with(&name.ident), &name.ident.to_string()),
        UseTree::Rename(renamed) => each(&with(&renamed.ident), &renamed.rename.to_string()),
        UseTree::Glob(_) => each(before, "*"),
        UseTree::Group(group) => group.items.iter().for_each(|item| walk(before, item, each)),
    }
}

/// Returns a path that begins with `crate`, `self` or `super` as one from the crate's root; none for another.
fn from_root(file: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first().map(String::as_str)? {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([file, &path[1..]].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            Some([file.get(..file.len().checked_sub(ups)?)?, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// Gathers the files that a file names by paths from the crate's root or from the folder it is in.
struct Names<'s> {
    file: &'s [String],
    modules: &'s Modules,
    named: BTreeSet<Vec<String>>,
}

impl Names<'_> {
    fn note(&mut self, path: &[String]) {
        self.named.extend(from_root(self.file, path).and_then(|path| self.modules.file_of(&path)));
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        // A file that re-exports a name does not depend on it: those that import the name do.
        if matches!(import.vis, Visibility::Inherited) {
            walk(&[], &import.tree, &mut |path, _| self.note(path));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&parts);
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(super)` names who may see an item, and imports nothing.
    }

    fn visit_macro(&mut self, used: &'ast Macro) {
        let text = used.tokens.to_string().replace(' ', "");
        for (at, _) in text.match_indices("crate::") {
            let path = text[at..].split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).next().unwrap_or_default();
            self.note(&path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<String>>());
        }
        visit::visit_macro(self, used);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns true if an item is compiled for tests alone.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The groups of rooms of which each can reach every other, from the rooms that each reaches.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = imports.keys().map(|file| (file, reach(imports, file))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (file, others) in &reached {
        let circle: BTreeSet<String> =
            others.iter().filter(|other| reached[**other].contains(file)).map(|other| (*other).clone()).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'i>(imports: &'i Imports, from: &'i String) -> BTreeSet<&'i String> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&String> = imports[from].iter().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file) {
            left.extend(imports.get(file).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn a_circle_of_any_length_is_found_and_a_chain_is_not() {
    let imports = |pairs: &[(&str, &str)]| {
        let mut imports = Imports::new();
        for (from, to) in pairs {
            imports.entry((*to).to_owned()).or_default();
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circles(&imports)
    };
    assert!(imports(&[("a", "b"), ("b", "c"), ("a", "c")]).is_empty());
    let circle = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
    assert_eq!(imports(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]), [circle]);
}

#[test]
fn file_of_a_noun_is_a_room_of_its_own_in_a_folder_of_nouns() {
    for (folder, file, room) in [
        ("cli", "commands/run", "commands/run"),
        ("cli", "commands/executions/rerun", "commands/executions"),
        ("cli", "table", "table"),
        ("store", "sqlite/views", "sqlite"),
    ] {
        assert_eq!(room_of(folder, file), room, "{file}");
    }
}

#[test]
fn the_floor_of_a_file_is_that_of_its_most_specific_pattern() {
    let floors = [("low", "ids/*"), ("facts", "*/facts"), ("catalog", "catalog/*"), ("nouns", "*/{decide,react}"), ("engine", "engine")];
    let floors = floors.map(|(name, pattern)| (name, alternatives(pattern)));
    for (file, floor) in [("ids/derived", 0), ("catalog/facts", 1), ("catalog/rule", 2), ("locks/react", 3), ("engine", 4)] {
        assert_eq!(floor_of(file, &floors), Some(floor), "{file}");
    }
    assert_eq!(floor_of("locks/claim", &floors), None, "a file that no pattern matches is on no floor");
}

//! The rooms of a crate: its top-level modules, each with the folder of the same name. An import that leads
//! back to the room that it came from, directly or over others, makes a circle, and a circle can only be
//! understood as a whole.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Path, UseTree};

use crate::{CRATES, demand_none, files};

/// The crates whose rooms still make circles, and how many rooms are in them. A figure may only decrease.
const STILL_IN_CIRCLES: &[(&str, usize)] = &[("api", 32), ("cli", 9), ("engine", 22), ("executor", 15), ("expression", 10), ("packs", 4)];

#[test]
fn imports_between_the_rooms_of_a_crate_make_no_circle() {
    let mut findings = Vec::new();
    for folder in CRATES.iter().filter(|folder| !folder.starts_with("tests")) {
        let circles = circles(&imports(folder));
        let allowed = STILL_IN_CIRCLES.iter().find(|(known, _)| known == folder).map_or(0, |(_, rooms)| *rooms);
        let found: usize = circles.iter().map(BTreeSet::len).sum();
        if found > allowed {
            findings.push(format!("{folder}: {found} rooms, where {allowed} were: {circles:?}"));
        }
        if found < allowed {
            findings.push(format!("{folder}: only {found} rooms are left in circles: lower its figure in STILL_IN_CIRCLES from {allowed}"));
        }
    }
    demand_none(&findings, "move what both rooms need into a room below them:");
}

/// For each room of a crate, the rooms of the same crate that it imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn imports(folder: &str) -> Imports {
    let sources: Vec<(Vec<String>, syn::File)> = files(&format!("{folder}/src"), ".rs")
        .into_iter()
        .map(|(path, text)| {
            let within = path.trim_start_matches(&format!("{folder}/src/")).trim_end_matches(".rs");
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            (within.split('/').map(str::to_owned).collect(), file)
        })
        .collect();
    let rooms: BTreeSet<String> =
        sources.iter().map(|(path, _)| path[0].clone()).filter(|room| !matches!(&**room, "lib" | "main")).collect();
    let mut imports: Imports = rooms.iter().map(|room| (room.clone(), BTreeSet::new())).collect();
    for (path, file) in sources {
        // A test may import from everywhere.
        if path.iter().any(|part| part == "tests") || !rooms.contains(&path[0]) {
            continue;
        }
        let mut names = Names { path: &path, rooms: &rooms, named: BTreeSet::new() };
        names.visit_file(&file);
        let named = names.named.into_iter().filter(|room| *room != path[0]);
        imports.entry(path[0].clone()).or_default().extend(named);
    }
    imports
}

/// Collects the rooms that a file names by paths from the crate's root.
struct Names<'s> {
    path: &'s [String],
    rooms: &'s BTreeSet<String>,
    named: BTreeSet<String>,
}

impl Names<'_> {
    /// Notes the room that a path leads to, if it starts at the crate or goes up to its root.
    fn note(&mut self, parts: &[String]) {
        let room = match parts {
            [first, room, ..] if first == "crate" => room,
            // A module's `super` is its folder; that of a top-level module is the root.
            [first, room, ..] if first == "super" && self.path.len() == 1 => room,
            _ => return,
        };
        if self.rooms.contains(room) {
            self.named.insert(room.clone());
        }
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &dyn ToString| before.iter().cloned().chain([name.to_string()]).collect::<Vec<String>>();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(renamed) => self.note(&with(&renamed.ident)),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.note_tree(before, item)),
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.note_tree(&[], &import.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&parts);
        visit::visit_path(self, path);
    }
}

/// Whether an item is compiled for tests alone.
fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The groups of rooms of which each can reach every other, from the rooms that each reaches.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = imports.keys().map(|room| (room, reach(imports, room))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (room, others) in &reached {
        let circle: BTreeSet<String> =
            others.iter().filter(|other| reached[**other].contains(room)).map(|other| (*other).clone()).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'i>(imports: &'i Imports, from: &'i String) -> BTreeSet<&'i String> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&String> = imports[from].iter().collect();
    while let Some(room) = left.pop() {
        if reached.insert(room) {
            left.extend(&imports[room]);
        }
    }
    reached
}

#[test]
fn a_circle_is_found_over_any_number_of_rooms_and_a_chain_is_none() {
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

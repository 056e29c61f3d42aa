//! Names that a reader can search for: a type is called by what it is, a function by what it does.
//!
//! A name that is one past participle (`Told`, `kept`) says what happened and not what the thing is, so that unrelated things share it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod};

use crate::{demand_none, is_test_file, rust_sources};

/// The most types whose name is one participle, of a thousand types.
const PARTICIPLE_TYPES_MAX: usize = 5;

/// The most functions whose name is one participle, of a thousand functions.
const PARTICIPLE_FUNCTIONS_MAX: usize = 15;

/// How many types of the product may have one name.
const SAME_NAME_MAX: usize = 3;

/// The names that more types may have: each is the one state, error or kind of its module.
const COMMON_NAMES: &[&str] = &["Kind", "State", "Error", "Node", "Token", "Keys"];

/// Past participles that do not end in `-ed`. Those that are verbs and nouns as well (`read`, `set`, `put`, `cut`, `run`) are not among them.
const IRREGULAR: &[&str] = &[
    "told",
    "kept",
    "held",
    "found",
    "made",
    "said",
    "shown",
    "left",
    "given",
    "gone",
    "sent",
    "known",
    "begun",
    "seen",
    "taken",
    "written",
    "built",
    "done",
    "drawn",
    "lost",
    "met",
    "paid",
    "heard",
    "felt",
    "meant",
    "brought",
    "bought",
    "caught",
    "taught",
    "thought",
    "understood",
    "stood",
    "won",
    "hidden",
    "chosen",
    "broken",
    "spoken",
    "stolen",
    "woken",
    "worn",
    "torn",
    "born",
    "grown",
    "thrown",
    "flown",
    "driven",
    "risen",
    "fallen",
    "eaten",
    "forgotten",
    "laid",
    "bound",
    "wound",
    "sold",
    "dealt",
    "spent",
    "lent",
    "bent",
    "stuck",
    "struck",
    "sworn",
    "swept",
    "came",
    "gave",
    "went",
    "got",
];

/// Words that end in `-ed` and are no participles.
const NO_PARTICIPLES: &[&str] = &["need", "feed", "seed", "speed", "embed", "exceed", "proceed", "succeed", "hundred", "indeed"];

/// Names of types that say nothing: prepositions, and nouns that fit everything.
const VAGUE: &[&str] = &[
    "around", "beside", "apart", "within", "without", "about", "above", "below", "between", "beyond", "along", "across", "after", "before",
    "against", "among", "toward", "under", "over", "upon", "into", "from", "with", "by", "at", "in", "on", "of", "to", "for", "way",
    "place", "lines", "means", "cast", "thing", "things",
];

/// A type or a function, as it is defined.
struct Definition {
    name: String,
    file: String,
    is_test: bool,
}

/// All definitions of the repository.
#[derive(Default)]
struct Definitions {
    types: Vec<Definition>,
    functions: Vec<Definition>,
    file: String,
    is_test: bool,
}

impl Definitions {
    /// Returns those of all sources, which are read once.
    fn all() -> &'static Self {
        static ALL: OnceLock<Definitions> = OnceLock::new();
        ALL.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut definitions = Self::default();
        for (path, text) in rust_sources() {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            definitions.is_test = is_test_file(&path);
            definitions.file = path;
            definitions.visit_file(&file);
        }
        definitions
    }

    fn definition(&self, name: &syn::Ident) -> Definition {
        Definition { name: name.to_string(), file: self.file.clone(), is_test: self.is_test }
    }

    fn add_type(&mut self, name: &syn::Ident) {
        self.types.push(self.definition(name));
    }

    fn add_function(&mut self, name: &syn::Ident) {
        self.functions.push(self.definition(name));
    }
}

impl<'ast> Visit<'ast> for Definitions {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let before = self.is_test;
        self.is_test |= module.attrs.iter().any(is_for_tests);
        visit::visit_item_mod(self, module);
        self.is_test = before;
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add_type(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add_type(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add_type(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add_type(&item.ident);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add_function(&item.sig.ident);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add_function(&item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add_function(&item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }
}

/// Returns true for `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// Returns true if a name is one participle.
fn is_participle(name: &str) -> bool {
    let word = name.to_lowercase();
    let is_one_word = !name.contains('_') && !name.chars().skip(1).any(char::is_uppercase);
    let is_regular = word.ends_with("ed") && word.len() > 3 && !NO_PARTICIPLES.contains(&word.as_str());
    is_one_word && (is_regular || IRREGULAR.contains(&word.as_str()))
}

fn list<'d>(definitions: impl Iterator<Item = &'d Definition>) -> Vec<String> {
    definitions.map(|definition| format!("{}: `{}`", definition.file, definition.name)).collect()
}

#[test]
fn few_names_are_one_participle() {
    let definitions = Definitions::all();
    for (what, all, max) in
        [("types", &definitions.types, PARTICIPLE_TYPES_MAX), ("functions", &definitions.functions, PARTICIPLE_FUNCTIONS_MAX)]
    {
        assert!(all.len() > 1_000, "only {} {what} were found; they lie elsewhere", all.len());
        let participles = list(all.iter().filter(|definition| is_participle(&definition.name)));
        let max = all.len() * max / 1_000;
        assert!(
            participles.len() <= max,
            "the names of {} of {} {what} are one participle, and at most {max} may be: say what it is, or what it does\n  {}",
            participles.len(),
            all.len(),
            participles.join("\n  ")
        );
    }
}

#[test]
fn no_type_has_a_name_that_fits_everything() {
    let definitions = Definitions::all();
    let vague = definitions.types.iter().filter(|definition| VAGUE.contains(&definition.name.to_lowercase().as_str()));
    demand_none(&list(vague), "call a type by what it is:");
}

#[test]
fn few_types_of_the_product_share_a_name() {
    let definitions = Definitions::all();
    let mut by_name: BTreeMap<&str, Vec<&Definition>> = BTreeMap::new();
    for definition in definitions.types.iter().filter(|definition| !definition.is_test) {
        by_name.entry(&definition.name).or_default().push(definition);
    }
    let shared = by_name.into_iter().filter(|(name, all)| all.len() > SAME_NAME_MAX && !COMMON_NAMES.contains(name));
    let findings: Vec<String> = shared.flat_map(|(_, all)| list(all.into_iter())).collect();
    demand_none(&findings, "more than three types have this name; say what each one is:");
}

#[test]
fn no_function_tells() {
    let definitions = Definitions::all();
    let telling =
        definitions.functions.iter().filter(|definition| definition.name.starts_with("tell") || definition.name.starts_with("told"));
    demand_none(&list(telling), "say what the function does: it returns, describes, reports, sends or records something:");
}

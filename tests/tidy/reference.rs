//! The reference pages against the code: errors, settings, variables, fields, routes and the contract of the
//! log.
//!
//! The text of the pages is compared by name only; its quality is for readers to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::words::snake;
use crate::{backticked_texts, demand_none, demand_same, files, literals, read, rows, running_sources, section};

/// Every slug that a user can see: those of each `Explain`, derived or written out, and the API's own problems.
fn slugs() -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    for (path, text) in running_sources() {
        slugs.extend(text.split("slug = \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        for body in text.split("fn slug(&self) -> &'static str {").skip(1) {
            let end = body.find("\n    }").unwrap_or(body.len());
            slugs.extend(literals(&body[..end]).into_iter().map(str::to_owned));
        }
        if path != "api/src/problem.rs" {
            continue;
        }
        for given in text.split("Self::bare(").skip(1) {
            let given = given.split([',', ')']).next().unwrap_or_default().trim();
            let constant = format!("const {given}: &str = ");
            let value = text.split_once(&constant).map_or(given, |(_, rest)| rest.split(';').next().unwrap_or_default());
            slugs.insert(value.trim_matches('"').to_owned());
        }
    }
    slugs
}

#[test]
fn error_slugs_match_the_error_pages() {
    let pages: BTreeSet<String> = files("docs/errors", ".md").into_iter().filter_map(|(path, _)| stem(&path)).collect();
    let slugs = slugs();
    assert!(slugs.len() > 30, "{} slugs were found; how they are written has changed", slugs.len());
    let rule = "every error that a person can meet has a page docs/errors/<slug>.md, and every page an error:";
    demand_same(rule, ("the code", &slugs), ("docs/errors", &pages));
}

fn stem(path: &str) -> Option<String> {
    Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned())
}

/// The quoted names of variables in the sources of a folder.
fn variables(folders: &[&str]) -> BTreeSet<String> {
    let sources = running_sources().into_iter().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)));
    let mut names = BTreeSet::new();
    for (_, text) in sources {
        let quoted = text.match_indices("\"ENSUE_").map(|(at, _)| text[at + 1..].split('"').next().unwrap_or_default());
        let whole = quoted.filter(|name| !name.ends_with('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        names.extend(whole.map(str::to_owned));
    }
    names
}

/// The names of variables on a page.
fn documented_variables(page: &str) -> BTreeSet<String> {
    let is_name = |word: &&str| word.starts_with("ENSUE_") && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    backticked_texts(&read(page)).into_iter().filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_setting_is_in_the_reference() {
    const PAGE: &str = "docs/reference/ensue-yaml.md";
    // The variables of keys contain the names of packs: they are documented as one, and named as examples.
    let without_keys =
        |names: BTreeSet<String>| -> BTreeSet<String> { names.into_iter().filter(|name| !name.starts_with("ENSUE_KEY_")).collect() };
    let known = without_keys(variables(&["node/src/", "cli/src/"]));
    assert!(known.len() > 8, "{} variables were found; how they are written has changed", known.len());
    demand_same("each variable is documented:", ("the code", &known), (PAGE, &without_keys(documented_variables(PAGE))));

    let files = [
        "config.rs",
        "config/actions.rs",
        "config/declared_rights.rs",
        "config/login.rs",
        "config/network.rs",
        "config/queues.rs",
        "config/rates.rs",
        "config/retention.rs",
        "config/rights.rs",
        "config/tls.rs",
    ];
    let files = files.map(|file| format!("node/src/{file}"));
    let source = files.map(|file| read(&file)).concat();
    let mut settings = BTreeSet::new();
    for name in [
        "struct WrittenConfig {",
        "struct WrittenActions {",
        "struct WrittenOutputs {",
        "struct WrittenArtifacts {",
        "struct WrittenEgress {",
        "struct WrittenLimits {",
        "struct WrittenWebhooks {",
        "struct WrittenTls {",
        "struct WrittenCors {",
        "struct WrittenLogin {",
        "struct WrittenInquiries {",
        "struct WrittenTraces {",
        "struct WrittenRates {",
        "struct WrittenQueue {",
        "struct WrittenRate {",
        "struct WrittenRetention {",
        "struct WrittenAudit {",
        "struct WrittenRights {",
        "struct WrittenGrant {",
        "struct WrittenTier {",
        "pub struct PackSettings {",
    ] {
        let body = source.split(name).nth(1).and_then(|rest| rest.split("\n}").next()).expect("node/src/config.rs has the struct");
        let fields = body
            .lines()
            .map(|line| line.trim().trim_start_matches("pub ").trim_start_matches("pub(super) "))
            .filter(|line| !line.starts_with(['#', '/']));
        settings.extend(fields.filter_map(|line| line.split_once(": ").map(|(name, _)| name.to_owned())));
    }
    let sources =
        source.split("pub enum KeySource {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("node/src/config.rs has the enum");
    settings.extend(sources.lines().filter_map(|line| line.trim().split_once('(').map(|(name, _)| name.to_ascii_lowercase())));
    let page = read(PAGE);
    let told: BTreeSet<String> = rows(section(&page, "## Settings"))
        .iter()
        .flat_map(|row| backticked_texts(&row[0]).join(".").split('.').map(str::to_owned).collect::<Vec<_>>())
        .filter(|part| !part.starts_with('<'))
        .collect();
    demand_same("each setting is documented:", ("node/src/config.rs", &settings), (PAGE, &told));
}

#[test]
fn every_documented_opentelemetry_variable_is_read() {
    let page = read("docs/reference/ensue-yaml.md");
    let source = read("node/src/config/otel.rs");
    let listed: BTreeSet<String> = rows(section(&page, "## OpenTelemetry's variables"))
        .iter()
        .flat_map(|row| backticked_texts(&row[0]).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(listed.len() > 8, "{} variables were found; how they are written has changed", listed.len());
    for name in listed {
        assert!(source.contains(&format!("\"{name}\"")), "`{name}` is in the reference, and node/src/config/otel.rs does not read it");
    }
}

#[test]
fn variables_of_programs_are_in_the_reference() {
    const PAGE: &str = "docs/pack-language/programs.md";
    let given = variables(&["executor/src/environment.rs"]);
    assert!(given.len() > 4, "{} variables were found; how they are written has changed", given.len());
    demand_same("the contract's variables are documented:", ("the executor", &given), (PAGE, &documented_variables(PAGE)));
}

/// The names of all fields in a JSON Schema, at any depth.
fn fields_of(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in schema.as_object().into_iter().flatten() {
        if name == "properties" {
            found.extend(value.as_object().into_iter().flatten().map(|(field, _)| field.clone()));
        }
        found.extend(fields_of(value));
    }
    for value in schema.as_array().into_iter().flatten() {
        found.extend(fields_of(value));
    }
    found
}

/// The fields of a kind of file, from the schemas that are generated from the parsers' tables; without those
/// of nested schemas.
fn fields_of_file(kind: &str, several: &str) -> BTreeSet<String> {
    let mut schema: Value = serde_json::from_str(&read(&format!("packs/schemas/{kind}.json"))).expect("a schema is JSON");
    for shared in ["our_fields", "their_fields", "declaration", "type"] {
        schema.pointer_mut("/$defs").and_then(Value::as_object_mut).map(|defined| defined.remove(shared));
    }
    let mut fields = fields_of(&schema);
    fields.remove(several);
    fields
}

#[test]
fn every_field_of_a_pack_is_in_the_reference() {
    const PAGES: &str = "docs/pack-language";
    let page = |name: &str| read(&format!("{PAGES}/{name}.md"));
    let told = |name: &str, cells: usize| -> BTreeSet<String> {
        rows(&page(name))
            .iter()
            .flat_map(|row| row.iter().take(cells).flat_map(|cell| backticked_texts(cell)).collect::<Vec<_>>())
            .map(str::to_owned)
            .collect()
    };
    for (kind, from, several) in [("trigger", "triggers", "triggers"), ("sensor", "sensors", "sensors")] {
        demand_same(
            &format!("each field of a {kind} is documented:"),
            ("its schema", &fields_of_file(kind, several)),
            (PAGES, &told(from, 1)),
        );
    }
    // An action's fields are on several pages. A rule may have steps too, which the page on workflows documents.
    let of_actions: BTreeSet<String> = ["actions", "programs", "workflows"].iter().flat_map(|name| told(name, 2)).collect();
    let (rule, own) = (fields_of_file("rule", "rules"), told("rules", 1));
    let told_of: BTreeSet<String> = own.union(&of_actions).cloned().collect();
    demand_none(&rule.difference(&told_of).cloned().collect::<Vec<_>>(), &format!("each field of a rule is documented in {PAGES}:"));
    demand_none(&own.difference(&rule).cloned().collect::<Vec<_>>(), &format!("{PAGES}/rules.md documents no other fields of a rule:"));
    // Their tables name some fields in the second cell, together with other words.
    let parts = [("pack", told("packs", 2), ""), ("action", of_actions, "actions")];
    // The fields that rules and actions share have a page of their own.
    let shared = told("concurrency", 1);
    for (kind, own, several) in parts {
        let told_of: BTreeSet<String> = own.union(&shared).cloned().collect();
        let missing: Vec<String> = fields_of_file(kind, several).difference(&told_of).cloned().collect();
        demand_none(&missing, &format!("each field of a {kind} is documented in {PAGES}:"));
    }
    let declaration: Value = serde_json::from_str(&read("packs/schemas/trigger.json")).expect("a schema is JSON");
    let schemas = page("schemas");
    let known: BTreeSet<&str> = backticked_texts(&schemas).into_iter().collect();
    let missing: Vec<String> = fields_of(&declaration["$defs"]["declaration"])
        .into_iter()
        .filter(|field| !known.contains(field.as_str()) && !schemas.contains(&format!("{field}: ")))
        .collect();
    demand_none(&missing, "each field of a schema's long form is documented:");
}

#[test]
fn every_field_of_a_later_release_is_in_the_roadmap() {
    let roadmap = read("docs/roadmap.md");
    let promised: BTreeSet<&str> = backticked_texts(&roadmap).into_iter().collect();
    let mut later = BTreeSet::new();
    for (_, text) in running_sources().into_iter().filter(|(path, _)| path.starts_with("packs/src/syntax/")) {
        for list in text.split("later: &[").skip(1) {
            let list = list.split("\n    ]").next().and_then(|list| list.split("],").next()).unwrap_or_default();
            later.extend(list.split("(\"").skip(1).filter_map(|item| item.split('"').next()).map(str::to_owned));
        }
    }
    assert!(later.len() > 15, "{} later fields; how they are written has changed", later.len());
    let missing: Vec<String> = later.into_iter().filter(|field| !promised.contains(field.as_str())).collect();
    demand_none(&missing, "docs/roadmap.md lists everything that `ensue check` calls later:");
}

#[test]
fn every_function_of_expressions_is_in_the_reference() {
    let page = read("docs/reference/expressions.md");
    let told: BTreeSet<&str> = backticked_texts(&page).into_iter().collect();
    let mut names = BTreeSet::new();
    for (path, text) in files("expression/src", ".rs") {
        if path.starts_with("expression/src/functions/") {
            for call in text.split("Function::new(").skip(1) {
                names.extend(literals(call).first().map(|name| (*name).to_owned()));
            }
        }
        if path == "expression/src/parse/call.rs" {
            let lists = text.split("const MACRO_").skip(1).filter_map(|list| list.split("];").next());
            let macros = lists.flat_map(|list| list.split("(\"").skip(1)).filter_map(|item| item.split('"').next());
            names.extend(macros.map(str::to_owned));
        }
    }
    assert!(names.len() > 60, "{} functions were found; how they are written has changed", names.len());
    let missing: Vec<String> = names.into_iter().filter(|name| !told.contains(name.as_str())).collect();
    demand_none(&missing, "docs/reference/expressions.md lists every function and macro:");
}

#[test]
fn every_route_is_in_the_reference_with_its_permission() {
    let (route, permissions) = (read("api/src/route.rs"), read("engine/src/access/permission.rs"));
    let mut demanded: BTreeMap<&str, String> = BTreeMap::new();
    for line in permissions.lines().map(str::trim) {
        if let (Some((name, rest)), [noun, verb]) = (line.split_once(" = \""), literals(line).as_slice())
            && rest.contains("\":\"")
        {
            demanded.insert(name, format!("{noun}:{verb}"));
        }
    }
    let mut real = BTreeSet::new();
    for (_, text) in files("api/src/routes", ".rs") {
        // Where a declaration is long, its path is in the line below.
        for declared in text.split("    routes.").skip(1) {
            if let Some(known) = declared.strip_prefix("for_any_caller(") {
                let method = known.split("Method::").nth(1).and_then(|rest| rest.split(',').next()).expect("a route has a method");
                real.insert(format!("{method} {} a token", literals(known).first().expect("a route has a path")));
                continue;
            }
            let Some((method, rest)) = declared.split_once("::<") else { continue };
            // A public route has its path in the closed list of public routes.
            if method.contains('(') {
                continue;
            }
            let permission = rest.split('>').next().and_then(|name| demanded.get(name)).expect("the permission of a route is declared");
            let method = method.split('_').next().unwrap_or_default().to_uppercase();
            let path = literals(rest).first().copied().expect("a route has a path");
            real.insert(format!("{method} {path} {permission}"));
        }
    }
    let paths = route.split("pub fn path(self)").nth(1).and_then(|rest| rest.split("\n    }").next()).unwrap_or_default();
    for path in literals(paths) {
        let methods: &[&str] = match path {
            "/hooks/{pack}/{sensor}" => &["POST", "OPTIONS"],
            "/auth/terminal" | "/auth/device" => &["GET", "POST"],
            "/api/v1/sessions"
            | "/api/v1/auth/login"
            | "/api/v1/auth/refresh"
            | "/api/v1/auth/reset"
            | "/api/v1/auth/device"
            | "/api/v1/auth/device/token"
            | "/api/v1/auth/oidc/logout/{issuer}"
            | "/api/v1/inquiries/links/open" => &["POST"],
            _ => &["GET"],
        };
        real.extend(methods.iter().map(|method| format!("{method} {path} —")));
    }
    assert!(real.len() > 40, "{} routes were found; how they are written has changed", real.len());
    let pages = files("docs/rest-api", ".md");
    let listed: Vec<String> = pages
        .iter()
        .flat_map(|(_, page)| rows(section(page, "## Routes")))
        .map(|row| row[..3].iter().map(|cell| cell.trim_matches('`').to_owned()).collect::<Vec<_>>().join(" "))
        .collect();
    let told: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), told.len(), "one page lists a route");
    demand_same("each route is documented with its permission:", ("api/src/routes", &real), ("docs/rest-api", &told));

    let document: serde_json::Value = serde_json::from_str(&read("docs/reference/openapi.json")).expect("the document is JSON");
    let operations = document["paths"].as_object().into_iter().flat_map(serde_json::Map::values).filter_map(serde_json::Value::as_object);
    let count: usize = operations.clone().map(serde_json::Map::len).sum();
    assert_eq!(real.len(), count, "the document has as many operations as there are routes; else how they are written has changed");
    let parameters = operations.flat_map(serde_json::Map::values).filter_map(|operation| operation["parameters"].as_array()).flatten();
    let known: BTreeSet<&str> = parameters.filter(|one| one["in"] == "query").filter_map(|one| one["name"].as_str()).collect();
    assert!(known.len() > 10, "{} parameters were found; how they are written has changed", known.len());
    let common = read("docs/reference/rest-api.md");
    let texts = pages.iter().map(|(_, page)| page).chain([&common]);
    let told: BTreeSet<&str> = texts.flat_map(|page| backticked_texts(page)).collect();
    let missing: Vec<String> = known.difference(&told).map(|name| (*name).to_owned()).collect();
    demand_none(&missing, "each parameter of a query is documented in docs/rest-api or docs/reference/rest-api.md:");
}

#[test]
fn every_queue_is_in_the_reference() {
    let source = read("api/src/queues.rs");
    let variants = source.split("pub enum QueueName {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let real: BTreeSet<String> = variants.lines().filter_map(|line| line.trim().strip_suffix(',')).map(snake).collect();
    assert!(real.len() > 10, "{} queues were found; how they are written has changed", real.len());
    let page = read("docs/reference/queues.md");
    let told: BTreeSet<String> = rows(&page).iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    demand_same("each queue is documented:", ("api/src/queues.rs", &real), ("docs/reference/queues.md", &told));
}

#[test]
fn each_kind_of_fact_has_golden_files_and_a_line_in_the_reference() {
    let registry = read("engine/src/fact.rs");
    let registry = registry.split("\nfacts! {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("engine/src/fact.rs has the list");
    let mut expected = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for line in registry.lines().filter(|line| line.contains("): \"")) {
        let kind = literals(line)[0].to_owned();
        let after = line.split("\",").nth(1).expect("a schema follows the kind");
        let schema: u32 = after.trim().split([',', ';', ' ']).next().and_then(|number| number.parse().ok()).expect("a schema is a number");
        expected.extend((1..=schema).map(|schema| format!("{kind}.v{schema}")));
        kinds.insert(kind);
    }
    assert!(kinds.len() > 25, "{} kinds were found; how they are written has changed", kinds.len());
    let golden: BTreeSet<String> = files("engine/tests/contract", ".json").iter().filter_map(|(path, _)| stem(path)).collect();
    demand_same("a released fact is permanent:", ("the registry", &expected), ("engine/tests/contract", &golden));
    let page = read("docs/concepts/the-log.md");
    let told: BTreeSet<String> =
        rows(section(&page, "## The kinds of fact")).iter().flat_map(|row| backticked_texts(&row[0])).map(str::to_owned).collect();
    demand_same("each kind is documented:", ("the registry", &kinds), ("docs/concepts/the-log.md", &told));
}

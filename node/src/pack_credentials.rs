//! What `ensue doctor` says about packs that prove to another system who sends a request: with a key of their own, or over a
//! connection that a setting of theirs names.

use std::collections::{BTreeMap, BTreeSet};

use ensue_api::ports::Finding;
use ensue_engine::catalog::{Action, Catalog, HttpRequest, PollTarget, Run, Source, Task, UsedConnection};
use ensue_engine::names::{ConnectionName, KeyRef, PackName};
use ensue_expression::{Access, Template};
use serde_json::Value;

use crate::machine::{good, note};

/// The name of the keys in templates.
const KEYS: &str = "keys";
/// The most packs that the finding names.
const NAMES_MAX: usize = 3;

/// Lists the settings of packs that name a connection which is not among the known ones, each as a text for people.
pub(crate) fn unknown_connections(catalog: &Catalog, known: &BTreeSet<&ConnectionName>) -> Vec<String> {
    let of_actions = catalog.actions().values().filter_map(|action| {
        let (used, _) = action.run.connection()?;
        Some((action.name.pack(), used, &*action.config))
    });
    let of_sensors = catalog.sensors().values().filter_map(|sensor| {
        let used = poll_request(&sensor.source)?.connection.as_ref()?;
        Some((sensor.name.pack(), used, &*sensor.config))
    });
    let named = of_actions.chain(of_sensors).filter_map(|(pack, used, config)| {
        let UsedConnection::Setting(setting) = used else { return None };
        let name = config.get(setting)?.as_str()?;
        let is_known = known.iter().any(|known| known.as_str() == name);
        (!is_known).then(|| format!("the setting `{setting}` of the pack `{pack}` names `{name}`, which `ensue.yaml` does not declare"))
    });
    // Each action of a pack names the same one.
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Reports packs that can send requests with a key or over a connection, and have neither.
pub(crate) fn finding(catalog: &Catalog, is_set: impl Fn(&KeyRef) -> bool) -> Finding {
    let mut without: BTreeMap<PackName, (&KeyRef, &str)> = BTreeMap::new();
    let needed: Vec<(PackName, KeyRef, &str)> = needed_keys(catalog);
    for (pack, key, setting) in needed.iter().filter(|(_, key, _)| !is_set(key)) {
        without.entry(pack.clone()).or_insert((key, setting));
    }
    if without.is_empty() {
        return good("credentials", "each pack that sends requests has its key or a connection");
    }
    let told = without.iter().take(NAMES_MAX).map(|(pack, (key, setting))| {
        format!("the pack `{pack}` cannot send its requests: set the key `{key}`, or the setting `{setting}`")
    });
    let more = without.len().saturating_sub(NAMES_MAX);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let hints = without.values().take(NAMES_MAX).map(|(key, _)| format!("ensue keys set {key}"));
    let (told, hints) = (told.collect::<Vec<_>>().join("; "), hints.collect::<Vec<_>>().join("\n"));
    note("credentials", &format!("{told}{more}"), &hints)
}

/// Returns the keys that packs need because their setting names no connection, with this setting. Of the packs that every node
/// has, only those count that another pack uses.
fn needed_keys(catalog: &Catalog) -> Vec<(PackName, KeyRef, &str)> {
    let everywhere = ensue_packs::library_names();
    let used = used_by_others(catalog, &everywhere);
    let counts = |pack: &PackName| !everywhere.contains(pack) || used.contains(pack);
    let of_actions = catalog.actions().values().filter_map(|action| match &action.run {
        Run::Http(request) => Some((action.name.pack(), &**request, &*action.config)),
        _ => None,
    });
    let of_sensors =
        catalog.sensors().values().filter_map(|sensor| Some((sensor.name.pack(), poll_request(&sensor.source)?, &*sensor.config)));
    let sent = of_actions.chain(of_sensors).filter(|(pack, _, _)| counts(pack));
    let needed = sent.filter_map(|(pack, request, config)| {
        let Some(UsedConnection::Setting(setting)) = &request.connection else { return None };
        if config.get(setting).is_some_and(|name| !Value::is_null(name)) {
            return None;
        }
        let instead = request.without_connection.as_deref()?;
        let keys = keys_of([&instead.url, &instead.headers].into_iter().chain(&instead.json));
        Some(keys.into_iter().map(move |key| (pack.clone(), key, setting.as_str())))
    });
    needed.flatten().collect()
}

/// Returns the packs whose actions are used by the rules and workflows of packs that not every node has.
fn used_by_others(catalog: &Catalog, everywhere: &BTreeSet<PackName>) -> BTreeSet<PackName> {
    let of_rules = catalog.rules().values().map(|rule| (rule.name.pack(), &*rule.action));
    let of_packs = catalog.actions().values().map(|action| (action.name.pack(), &**action));
    let by_others = of_rules.chain(of_packs).filter(|(pack, _)| !everywhere.contains(pack));
    by_others.flat_map(|(_, action)| actions_of(action)).collect()
}

/// Returns the packs of an action and of the actions that its steps run.
fn actions_of(action: &Action) -> Vec<PackName> {
    let mut packs = vec![action.name.pack()];
    if let Run::Workflow(workflow) = &action.run {
        packs.extend(workflow.steps().iter().filter_map(|step| match &step.task {
            Task::Action { action, .. } => Some(action.pack()),
            Task::Fail { .. } | Task::Assert { .. } => None,
        }));
    }
    packs
}

/// Returns the request of a sensor that polls.
fn poll_request(source: &Source) -> Option<&HttpRequest> {
    match source {
        Source::Poll(poll) => match &poll.asked {
            PollTarget::Http(request) => Some(request),
            PollTarget::Action(_) => None,
        },
        Source::Webhook(_) | Source::Timer { .. } | Source::Process(_) | Source::File(_) => None,
    }
}

/// Returns the keys without which templates cannot be computed.
fn keys_of<'t>(templates: impl Iterator<Item = &'t Template>) -> BTreeSet<KeyRef> {
    let paths = templates.flat_map(Template::reads).filter(|path| path.access == Access::Required);
    let named = paths.filter(|path| path.segments.first().is_some_and(|root| root == KEYS));
    named.filter_map(|path| path.segments.get(1)?.parse().ok()).collect()
}

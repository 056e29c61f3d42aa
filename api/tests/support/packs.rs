//! The packs of the small node: the library's, and one for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use ensue_engine::catalog::Catalog;
use ensue_engine::command::PackChange;
use ensue_engine::ids::{Id, RuleId};
use ensue_engine::names::RuleRef;
use ensue_engine::record::{Body, CatalogRevision};
use ensue_packs::{Colour, PackSource, build, check, library};

use super::{NOON, entropy, workflows};

const FILES: &[(&str, &str)] = &[
    ("pack.yaml", "name: demo\nversion: 1.0.0\ndescription: To try things with.\nkeys: [secret]\n"),
    ("triggers/hello.yaml", "description: Somebody said hello.\npayload:\n  name: string\n"),
    ("triggers/anything.yaml", "description: Something happened.\n"),
    (
        "sensors/door.yaml",
        "description: Accepts every delivery.\nwebhook:\n  verify: { scheme: none }\nemits:\n  - trigger: demo.hello\n    when: body.kind == \"hello\"\n    dedupe: headers[\"x-id\"]\n    payload: { name: \"${{ body.name }}\" }\n",
    ),
    (
        "sensors/gate.yaml",
        "description: Accepts deliveries signed with the secret.\nwebhook:\n  verify: { scheme: github, key: demo.secret }\nemits:\n  - trigger: demo.hello\n    when: headers[\"x-github-event\"] == \"hello\"\n    dedupe: headers[\"x-github-delivery\"]\n",
    ),
    (
        "sensors/seal.yaml",
        "description: Accepts deliveries signed with the key.\nwebhook:\n  verify: { scheme: hmac, key: demo.secret, header: x-signature-256, prefix: \"sha256=\" }\nemits:\n  - trigger: demo.hello\n    dedupe: body.id\n    payload: { name: \"${{ body.name }}\" }\n",
    ),
    (
        "sensors/watch.yaml",
        "description: Prints nothing.\nprocess: { command: [cat] }\nemits: [{ trigger: demo.anything, payload: '${{ line }}' }]\n",
    ),
    (
        "rules/greet.yaml",
        "description: Greet Ana.\ntrigger: demo.hello\nwhen: event.payload.name == \"ana\"\naction: core.echo\nwith: { message: \"Hello ${{ event.payload.name }}\" }\n",
    ),
    ("triggers/long.yaml", "description: Somebody said much.\npayload:\n  text: string\n"),
    (
        "rules/repeat.yaml",
        "description: Say it again.\ntrigger: demo.long\naction: core.echo\nwith: { message: \"${{ event.payload.text }}\" }\nconcurrency: { limit: 1, conflict: skip }\n",
    ),
    ("triggers/change.yaml", "description: Something was changed.\n"),
    (
        "actions/greet.yaml",
        "description: Greet somebody.\nparameters: { name: string, times: 'integer = 1' }\nrun: { shell: { script: 'true' } }\ntemplates: { formal: { name: Dr. Ana } }\n",
    ),
    (
        "actions/deploy.yaml",
        "description: Deploy to a site.\nparameters: { site: string }\nrun: { shell: { script: 'true' } }\nlabels: { site: '${{ params.site }}', team: web }\n",
    ),
    // Its action is replaced by the workflow `demo.flow`.
    ("rules/ship.yaml", "description: Ship what was changed.\ntrigger: demo.change\naction: core.noop\n"),
    ("rules/part.yaml", "description: Part with Bo.\ntrigger: demo.hello\nwhen: event.payload.name == \"bo\"\naction: core.noop\n"),
];

/// Returns the files of the packs.
pub(crate) fn sources() -> Vec<PackSource> {
    let files = FILES.iter().map(|(path, text)| (*path, Bytes::from_static(text.as_bytes())));
    let mut sources = library();
    sources.push(PackSource::of("demo", files).unwrap());
    sources
}

/// Builds the catalog of revision 1 with other contents of a file.
pub(crate) fn catalog_with(path: &str, text: &str) -> Catalog {
    let kept = FILES.iter().filter(|(known, _)| *known != path).map(|(path, text)| (*path, Bytes::from_static(text.as_bytes())));
    let mut sources = library();
    sources.push(PackSource::of("demo", kept.chain([(path, Bytes::from(text.to_owned()))])).unwrap());
    let checked = check(&sources, &BTreeMap::new());
    assert!(!checked.has_errors(), "{:?}", checked.diagnostics);
    let manifests = checked.good.iter().map(|pack| (pack.source.clone(), pack.manifest(rule_id)));
    build(CatalogRevision(1), &manifests.collect::<Vec<_>>()).unwrap()
}

/// The catalog of revision 1, and the changes that lead to it. Building them takes longer than all else that a node needs.
pub(crate) static INSTALLED: LazyLock<(Arc<Catalog>, Vec<PackChange>)> = LazyLock::new(|| {
    let (catalog, changes) = install_packs();
    (Arc::new(catalog), changes)
});

fn install_packs() -> (Catalog, Vec<PackChange>) {
    let sources = sources();
    let checked = check(&sources, &BTreeMap::new());
    let told: String = checked.diagnostics.iter().map(|one| one.render(Colour::Plain)).collect();
    assert!(!checked.has_errors(), "{told}");
    let manifests: BTreeMap<_, _> = checked.good.iter().map(|pack| (pack.name.clone(), pack.manifest(rule_id))).collect();
    let changes = checked.good.iter().map(|pack| PackChange::Install {
        name: pack.name.clone(),
        version: pack.version.clone(),
        digest: pack.digest,
        manifest: Body::json(serde_json::to_vec(&manifests[&pack.name]).unwrap()),
    });
    let changes: Vec<PackChange> = changes.collect();
    let with_manifests: Vec<_> = checked.good.iter().map(|pack| (pack.source.clone(), manifests[&pack.name].clone())).collect();
    (workflows::among(&build(CatalogRevision(1), &with_manifests).unwrap()), changes)
}

fn rule_id(rule: &RuleRef) -> RuleId {
    RuleId(Id::root(NOON, entropy(rule.as_str())))
}

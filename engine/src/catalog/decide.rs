//! Decisions on changes to the catalog's next revision: all or none.

use crate::catalog::facts::{PackInstalled, PackPermissionsSet, PackRemoved};
use crate::command::{Answer, Decision, PackChange, Refusal};
use crate::fact::Fact;
use crate::record::{Actor, CatalogRevision, Draft, StreamId};
use crate::state::State;

pub(crate) fn change(state: &State, actor: &Actor, base: CatalogRevision, changes: &[PackChange]) -> Decision {
    let now = state.catalog_revision();
    if base != now {
        return Decision::Refused(Refusal::CatalogMoved { now, base });
    }
    let changes_catalog = changes.iter().any(|change| !matches!(change, PackChange::Permit { .. }));
    let catalog = if changes_catalog { now.next() } else { now };
    let mut drafts = Vec::with_capacity(changes.len());
    for change in changes {
        let (name, fact, body): (_, Fact, _) = match change {
            PackChange::Install { name, version, digest, manifest } => {
                let fact = PackInstalled { name: name.clone(), version: version.clone(), digest: *digest, catalog };
                (name, fact.into(), Some(manifest.clone()))
            }
            PackChange::Remove { name } => {
                if state.packs().get(name).is_none() {
                    return Decision::Refused(Refusal::NoPack(name.clone()));
                }
                (name, PackRemoved { name: name.clone(), catalog }.into(), None)
            }
            PackChange::Permit { name, permissions } => {
                if state.packs().permissions(name) == permissions.as_deref() {
                    continue;
                }
                let permissions = permissions.as_ref().map(|list| list.iter().map(ToString::to_string).collect());
                (name, PackPermissionsSet { name: name.clone(), permissions }.into(), None)
            }
        };
        let stream = StreamId::Pack(name.clone());
        drafts.push(Draft::new(stream, actor, fact).with_body(body));
    }
    Decision::Done { drafts, answer: Answer::Catalog(catalog) }
}

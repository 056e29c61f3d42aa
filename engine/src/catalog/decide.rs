//! Decisions on changes to the catalog's next revision: all or none.

use crate::catalog::facts::{PackInstalled, PackRemoved};
use crate::command::{Answer, Decision, PackChange, Refusal};
use crate::record::{Actor, CatalogRevision, Draft, StreamId};
use crate::state::State;

pub(crate) fn change(state: &State, actor: &Actor, base: CatalogRevision, changes: &[PackChange]) -> Decision {
    let now = state.catalog_revision();
    if base != now {
        return Decision::Refused(Refusal::CatalogMoved { now, base });
    }
    let catalog = now.next();
    let mut drafts = Vec::with_capacity(changes.len());
    for change in changes {
        let (name, fact, body) = match change {
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
        };
        let stream = StreamId::Pack(name.clone());
        drafts.push(Draft { stream, begins: None, actor: actor.clone(), cause: None, trace: None, fact, body });
    }
    let answer = Answer::Catalog(if changes.is_empty() { now } else { catalog });
    Decision::Done { drafts, answer }
}

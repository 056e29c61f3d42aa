//! Rows of the read models by their keys, and what happened to missing ones.

use ensue_engine::ids::{EnforcementId, ExecutionId};
use ensue_engine::ports::ReadLimit;
use ensue_engine::record::{Revision, StreamId};
use ensue_views::{View, ViewError, ViewName};

use crate::ports::Ports;
use crate::problem::{LeftViews, Missing};

/// Returns the error for a resource that existed and has left the views; `None` if it is there, never
/// existed, or may still come. Blocking.
pub(crate) fn left_views<V: View>(ports: &Ports, key: &str, thing: &'static str) -> Result<Option<LeftViews>, ViewError> {
    let stream = match V::NAME {
        ViewName::Executions => key.parse().map(|id| StreamId::Execution(ExecutionId(id))),
        ViewName::Enforcements => key.parse().map(|id| StreamId::Enforcement(EnforcementId(id))),
        // Their records are in other streams, or they never leave the views.
        _ => return Ok(None),
    };
    let Ok(stream) = stream else { return Ok(None) };
    if ports.views.removal_counts()?.rows == 0 {
        return Ok(None);
    }
    // Only resources that the views had folded before the lookup are known to have left them.
    let folded = ports.views.position()?;
    if ports.views.get(V::NAME, key)?.is_some() {
        return Ok(None);
    }
    // If the log cannot be read, the resource is just missing, for an unknown reason.
    let first = ports.log.read_stream(&stream, Revision(0), ReadLimit { records: 1, bytes: 0 }).unwrap_or_default();
    let begun = first.first().map(|record| record.position).filter(|begun| *begun <= folded);
    Ok(begun.map(|from| LeftViews { missing: Missing::new(thing, key), from }))
}

/// Reads one row of a view, if there is one. Blocking.
pub(crate) fn read_row<V: View>(ports: &Ports, key: &str) -> Result<Option<V>, ViewError> {
    ports.views.get(V::NAME, key)?.map(|row| row.read()).transpose()
}

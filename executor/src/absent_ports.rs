//! Ports of a worker whose attempts get neither a token nor triggers.

use std::sync::Arc;

use ensue_engine::command::ObservedEvent;
use ensue_engine::ports::Secret;
use ensue_engine::record::AttemptOf;
use tokio::sync::watch;

use crate::ports::{Emission, EmissionError, Observe, ProgramAccess};

/// Grants no access: for workers whose actions have no `token`.
#[derive(Clone, Copy, Debug)]
pub struct NoAccess;

impl ProgramAccess for NoAccess {
    fn token(&self, _: AttemptOf) -> Secret {
        Secret::new(Vec::new())
    }

    fn url(&self) -> watch::Receiver<Option<Arc<str>>> {
        watch::Sender::new(None).subscribe()
    }
}

/// Has no trigger, so that each emission is refused.
#[derive(Clone, Copy, Debug)]
pub struct NoTriggers;

impl Observe for NoTriggers {
    fn observe(&self, emission: Emission) -> Result<ObservedEvent, EmissionError> {
        Err(EmissionError::NoTrigger(emission.trigger.name))
    }
}

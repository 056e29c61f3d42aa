//! Dead letters: deliveries and executions that gave up, until somebody retries or dismisses them.

pub mod decide;
pub mod facts;
pub mod state;

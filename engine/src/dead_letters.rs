//! Dead letters: deliveries and executions that failed permanently, until somebody retries or dismisses them.

pub mod decide;
pub mod facts;
pub mod state;

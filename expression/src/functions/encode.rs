//! Placeholder while the crate is being laid out.
use super::Function;

pub(super) const FUNCTIONS: &[Function] = &[];

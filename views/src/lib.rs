//! The pure folds that the API reads.

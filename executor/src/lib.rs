//! Takes attempts and has them run by runners.

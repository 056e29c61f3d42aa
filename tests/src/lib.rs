//! The house's rules as tests, and scenarios over the whole.

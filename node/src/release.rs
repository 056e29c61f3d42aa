//! The release of this program.

/// The version of the release, such as `0.2.0`.
pub(crate) const RELEASE: &str = env!("CARGO_PKG_VERSION");

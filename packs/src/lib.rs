//! The pack format: reading, diagnostics, and the building of catalogs.

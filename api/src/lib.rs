//! REST: commands in, views out.

pub mod ports;

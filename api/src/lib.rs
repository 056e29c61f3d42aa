//! REST: commands in, views out.

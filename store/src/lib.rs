//! Where things are kept: log, views, vault and outputs, in memory and on SQLite.

//! The API as its callers meet it, driven in process over a small node.

mod access;
mod conventions;
mod executions;
mod hooks;
mod resources;
mod server;
mod support;

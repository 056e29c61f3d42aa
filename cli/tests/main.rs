//! Black-box tests: the built binary, met as people and senders meet it.

mod command_line;
mod life_of_a_webhook;
mod support;

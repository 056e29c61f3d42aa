//! Turns the outside world into commands.

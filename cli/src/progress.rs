//! How far long work is: a bar on standard error where that is a terminal, and nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::style;

/// A bar; it is gone when this is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a bar of work on so many records.
    pub(crate) fn through_records(what: impl Into<String>, records: u64) -> Self {
        Self::begin(what.into(), records, "{msg} {wide_bar} {human_pos} of {human_len} records, {eta} left")
    }

    /// Begins a bar of work that takes about so many seconds.
    pub(crate) fn through_time(what: impl Into<String>, seconds: u64) -> Self {
        Self::begin(what.into(), seconds, "{msg} {wide_bar} {pos} of {len} s")
    }

    fn begin(what: String, end: u64, template: &str) -> Self {
        let target = if style::is_dumb() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(end), target).with_style(style.progress_chars("##-")).with_message(what);
        bar.tick();
        Self { bar }
    }

    /// Says whether somebody sees it.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Says how far the work is.
    pub(crate) fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Reports how far the work is, and where it ends.
    pub(crate) fn at_of(&self, done: u64, end: u64) {
        self.bar.set_length(end);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

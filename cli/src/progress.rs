//! A progress bar on standard error if that is a terminal; otherwise nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::style;

/// A bar, which is removed when this is dropped.
pub(crate) struct TerminalProgress {
    bar: ProgressBar,
}

impl TerminalProgress {
    /// Starts a bar for work on this many records.
    pub(crate) fn through_records(what: impl Into<String>, records: u64) -> Self {
        Self::begin(what.into(), records, "{msg} {wide_bar} {human_pos} of {human_len} records, {eta} left")
    }

    /// Starts a bar for work that takes about this many seconds.
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

    /// Returns true if the bar is visible.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Reports the progress of the work.
    pub(crate) fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Reports the progress of the work, and its end.
    pub(crate) fn at_of(&self, done: u64, end: u64) {
        self.bar.set_length(end);
        self.bar.set_position(done);
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! Color, if a person sees it: not in a pipe, not with `NO_COLOR`, not on a dumb terminal, unless it is
//! requested.
//!
//! The output is just as readable without color.

use std::ffi::OsString;

use clap::{ColorChoice, ValueEnum};

/// When there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, or if `CLICOLOR_FORCE` is set.
    #[default]
    Auto,
    /// Always, even in a pipe.
    Always,
    /// Never.
    Never,
}

/// The color settings of the environment.
#[derive(Clone, Copy, Debug, Default)]
struct Surroundings {
    is_terminal: bool,
    is_dumb: bool,
    /// `NO_COLOR` (<https://no-color.org>).
    is_unwanted: bool,
    /// `CLICOLOR_FORCE` (<https://bixense.com/clicolors/>).
    is_forced: bool,
}

/// Whether text is colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_coloured: bool,
}

impl Style {
    /// No color.
    pub(crate) const PLAIN: Self = Self { is_coloured: false };

    /// Color, for tests of colored output.
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { is_coloured: true };

    /// Returns the style for a destination that is a terminal or not.
    pub(crate) fn new(colour: Colour, is_terminal: bool) -> Self {
        let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::within(
            colour,
            Surroundings {
                is_terminal,
                is_dumb: is_dumb(),
                is_unwanted: is_set("NO_COLOR").is_some(),
                is_forced: is_set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            },
        )
    }

    fn within(colour: Colour, around: Surroundings) -> Self {
        let Surroundings { is_terminal, is_dumb, is_unwanted, is_forced } = around;
        let is_coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => !is_unwanted && (is_forced || (is_terminal && !is_dumb)),
        };
        Self { is_coloured }
    }

    /// Returns the style of usage errors, for a destination that is a terminal or not.
    pub(crate) fn of_help(colour: ColorChoice, is_terminal: bool) -> Self {
        match colour {
            ColorChoice::Always => Self::new(Colour::Always, is_terminal),
            ColorChoice::Never => Self::new(Colour::Never, is_terminal),
            ColorChoice::Auto => Self::new(Colour::Auto, is_terminal),
        }
    }

    /// Returns true if text is colored.
    pub(crate) fn is_coloured(self) -> bool {
        self.is_coloured
    }

    /// Styles something that is right.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Styles something that is wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Styles something to look at.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Styles something that can be ignored.
    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.is_coloured && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Returns when help and usage errors are colored, from the typed arguments: they are printed before anything
/// is parsed.
pub(crate) fn of_help(typed: impl Iterator<Item = OsString>) -> ColorChoice {
    let typed: Vec<OsString> = typed.take_while(|word| word != "--").collect();
    let said = typed.iter().enumerate().rev().find_map(|(at, word)| match word.to_str()? {
        "--color" => typed.get(at + 1)?.to_str(),
        word => word.strip_prefix("--color="),
    });
    match said {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        Some(_) | None => ColorChoice::Auto,
    }
}

/// Returns true if the terminal, if there is one, can only print: nothing on it can be redrawn.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Makes terminal control sequences visible for a snapshot.
#[cfg(test)]
pub(crate) fn visible(text: &str) -> String {
    text.replace('\u{1b}', "␛")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_honors_the_color_option() {
        let of = |typed: &[&str]| of_help(typed.iter().map(OsString::from));
        assert_eq!(of(&["ensue", "--color", "never", "help"]), ColorChoice::Never);
        assert_eq!(of(&["ensue", "status", "--color=always", "--halp"]), ColorChoice::Always);
        assert_eq!(of(&["ensue", "--color", "auto"]), ColorChoice::Auto);
        assert_eq!(of(&["ensue", "help", "--", "--color=never"]), ColorChoice::Auto);
        assert_eq!(of(&["ensue", "--color"]), ColorChoice::Auto);
    }

    #[test]
    fn color_flag_overrides_no_color_which_overrides_the_rest() {
        let coloured = |colour, around| Style::within(colour, around) != Style::PLAIN;
        let terminal = Surroundings { is_terminal: true, ..Surroundings::default() };
        let pipe = Surroundings::default();
        assert!(coloured(Colour::Auto, terminal));
        assert!(!coloured(Colour::Auto, pipe));
        assert!(!coloured(Colour::Auto, Surroundings { is_dumb: true, ..terminal }));
        assert!(coloured(Colour::Auto, Surroundings { is_forced: true, ..pipe }));
        assert!(!coloured(Colour::Auto, Surroundings { is_forced: true, is_unwanted: true, ..terminal }));
        assert!(coloured(Colour::Always, Surroundings { is_unwanted: true, ..pipe }));
        assert!(!coloured(Colour::Never, Surroundings { is_forced: true, ..terminal }));
    }
}

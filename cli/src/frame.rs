//! A text drawn at a terminal in the place of the one before.

use crate::report::say_bytes;
use crate::table::cut;

/// Draws a text in the place of the one before, cut to the terminal: a line that scrolls away or wraps cannot be drawn over.
pub(crate) fn draw(text: &str, (width, height): (usize, usize)) {
    say_bytes(frame(text, (width, height)).as_bytes());
}

/// Goes to the top left, writes each line over the old one, and clears what is left of the old ones.
fn frame(text: &str, (width, height): (usize, usize)) -> String {
    const HOME: &str = "\u{1b}[H";
    const CLEAR_TO_THE_RIGHT: &str = "\u{1b}[K";
    const CLEAR_BELOW: &str = "\u{1b}[J";
    // The cursor stands on the last line.
    let room = height.saturating_sub(1);
    let mut frame = HOME.to_owned();
    for line in text.trim_end().lines().take(room) {
        frame.push_str(&cut(line, width));
        frame.push_str(CLEAR_TO_THE_RIGHT);
        frame.push_str("\r\n");
    }
    frame.push_str(CLEAR_BELOW);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_fits_the_terminal_and_clears_the_previous_frame() {
        let drawn = frame("one\na line that is too long\nthree\nfour\n", (10, 4));
        assert_eq!(drawn, "\u{1b}[Hone\u{1b}[K\r\na line th…\u{1b}[K\r\nthree\u{1b}[K\r\n\u{1b}[J");
        assert_eq!(frame("", (0, 0)), "\u{1b}[H\u{1b}[J");
    }
}

//! Draws a text at a terminal over the previous one.

use crate::report::say_bytes;
use crate::table::cut;

/// Draws a text over the previous one, cut to the terminal's size: lines that scroll away or wrap cannot be
/// overwritten.
pub(crate) fn draw(text: &str, (width, height): (usize, usize)) {
    say_bytes(frame(text, (width, height)).as_bytes());
}

/// Returns a frame that goes to the top left, overwrites each line, and clears the rest.
fn frame(text: &str, (width, height): (usize, usize)) -> String {
    const HOME: &str = "\u{1b}[H";
    const CLEAR_TO_THE_RIGHT: &str = "\u{1b}[K";
    const CLEAR_BELOW: &str = "\u{1b}[J";
    // The cursor is on the last line.
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

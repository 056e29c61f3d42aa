//! Trees as text: branches on the left, times on the right, and no wrappable text beyond 80 columns.
//!
//! It does not interpret the content of the branches.

use crate::report::printable;
use crate::style::Style;

/// The width of a tree, in columns.
pub(crate) const WIDTH: usize = 80;

/// A thing on a branch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branch {
    /// Its title, a few words.
    pub(crate) title: String,
    /// The mood of its title.
    pub(crate) mood: Mood,
    /// Its time, as shown: `+1.2 ms`.
    pub(crate) time: String,
    /// Further details, line by line.
    pub(crate) details: Vec<String>,
    /// Its consequences.
    pub(crate) children: Vec<Branch>,
}

/// The mood of a title.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Neutral.
    #[default]
    Plain,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It can be ignored.
    Faint,
}

/// Draws a tree; each line ends with a line break.
pub(crate) fn draw(root: &Branch, style: Style) -> String {
    let mut text = String::new();
    draw_branch(root, "", "", style, &mut text);
    text
}

fn draw_branch(branch: &Branch, first: &str, rest: &str, style: Style, text: &mut String) {
    let stem = if branch.children.is_empty() { "   " } else { "│  " };
    let time_columns = if branch.time.is_empty() { 0 } else { branch.time.chars().count() + 2 };
    // Lines after the first are indented by a stem.
    let room = WIDTH.saturating_sub(columns(first).max(columns(rest) + columns(stem)) + time_columns);
    for (index, line) in wrap(&branch.title, room).iter().enumerate() {
        let lead = if index == 0 { first.to_owned() } else { format!("{rest}{stem}") };
        let mut drawn = format!("{}{}", style.faint(&lead), branch.mood.paint(line, style));
        if index == 0 && !branch.time.is_empty() {
            let gap = WIDTH.saturating_sub(columns(&lead) + columns(line) + columns(&branch.time));
            drawn.push_str(&" ".repeat(gap.max(1)));
            drawn.push_str(&style.faint(&branch.time));
        }
        push_line(text, &drawn);
    }
    let lead = format!("{rest}{stem}");
    for detail in &branch.details {
        for line in wrap(detail, WIDTH.saturating_sub(columns(&lead))) {
            push_line(text, &format!("{}{}", style.faint(&lead), style.faint(&line)));
        }
    }
    let last = branch.children.len().saturating_sub(1);
    for (index, child) in branch.children.iter().enumerate() {
        let (fork, below) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw_branch(child, &format!("{rest}{fork}"), &format!("{rest}{below}"), style, text);
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

impl Mood {
    fn paint(self, text: &str, style: Style) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => style.good(text),
            Self::Bad => style.bad(text),
            Self::Faint => style.faint(text),
        }
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The minimum width to which text is wrapped, however deep it is nested.
const ROOM_MIN: usize = 24;

/// Breaks a text into lines of at most `room` columns, between words if possible; leading spaces are kept.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(ROOM_MIN);
    let mut lines = Vec::new();
    for source in printable(text).lines() {
        let indent: String = source.chars().take_while(|character| *character == ' ').take(room / 2).collect();
        let mut line = indent.clone();
        let mut is_fresh = true;
        for word in source.split_whitespace() {
            let mut word = word;
            if !is_fresh && columns(&line) + 1 + columns(word) > room {
                lines.push(std::mem::replace(&mut line, indent.clone()));
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            while columns(&line) + columns(word) > room {
                let fits = room - columns(&line);
                let at = word.char_indices().nth(fits).map_or(word.len(), |(at, _)| at);
                line.push_str(&word[..at]);
                word = &word[at..];
                lines.push(std::mem::replace(&mut line, indent.clone()));
            }
            line.push_str(word);
            is_fresh = false;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::visible;

    fn branch(title: &str, time: &str, children: Vec<Branch>) -> Branch {
        Branch { title: title.into(), time: time.into(), children, ..Branch::default() }
    }

    #[test]
    fn tree_has_branches_on_the_left_and_times_on_the_right() {
        let execution = Branch {
            details: vec![r#"{"message":"a result that is long enough to be wrapped onto a second line of its own"}"#.into()],
            ..branch("execution core.echo succeeded", "+3.1 ms", vec![])
        };
        let root = branch(
            "event github.pull_request",
            "+1.2 ms",
            vec![
                branch("rule examples.greet matched", "", vec![branch("enforcement executed", "+1.2 ms", vec![execution])]),
                branch(
                    "rule examples.close_stale did not match: event.payload.action == \"closed\" is false, it is \"opened\"",
                    "",
                    vec![],
                ),
            ],
        );
        insta::assert_snapshot!(draw(&root, Style::PLAIN), @r#"
        event github.pull_request                                                +1.2 ms
        ├─ rule examples.greet matched
        │  └─ enforcement executed                                               +1.2 ms
        │     └─ execution core.echo succeeded                                   +3.1 ms
        │           {"message":"a result that is long enough to be wrapped onto a second
        │           line of its own"}
        └─ rule examples.close_stale did not match: event.payload.action == "closed"
              is false, it is "opened"
        "#);
    }

    #[test]
    fn color_marks_success_failure_and_minor_lines() {
        let moody = |title: &str, mood| Branch { mood, ..branch(title, "", vec![]) };
        let failed = Branch { details: vec!["exit_code 3: it ended with 3".into()], ..moody("core.shell failed", Mood::Bad) };
        let matched = branch("rule examples.greet matched", "+1.2 ms", vec![moody("core.echo succeeded", Mood::Good), failed]);
        let root = branch("event github.pull_request", "+1.0 ms", vec![matched, moody("rule examples.close did not match", Mood::Faint)]);
        insta::assert_snapshot!(visible(&draw(&root, Style::COLOURED)));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let long = "x".repeat(300);
        let root = Branch { details: vec![long.clone()], ..branch(&long, "+1.0 ms", vec![branch(&long, "", vec![])]) };
        assert!(draw(&root, Style::PLAIN).lines().all(|line| columns(line) <= WIDTH));
    }
}

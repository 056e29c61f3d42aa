//! The prose of the repository: comments and texts of Rust sources, paragraphs of documents, lines of other files.

use crate::files;

/// Some prose, with the number of its first line.
pub(crate) struct Prose {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Returns the comments and the string literals of a Rust source. Adjacent lines of a comment are one text.
pub(crate) fn of_source(source: &str) -> Vec<Prose> {
    let mut scan = Scan { rest: source, line: 1, is_after_name: false, comment: None, found: Vec::new() };
    while scan.step() {}
    scan.end_comment();
    scan.found
}

/// The progress through a source.
struct Scan<'a> {
    rest: &'a str,
    line: usize,
    /// Whether the last character belongs to a name, so that an `r` after it begins no raw string.
    is_after_name: bool,
    /// The comment that the next line may continue, with its last line.
    comment: Option<(Prose, usize)>,
    found: Vec<Prose>,
}

impl Scan<'_> {
    /// Reads one character, literal or comment. Returns false at the end.
    fn step(&mut self) -> bool {
        let Some(next) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.comment();
        } else if let Some((opening, closing)) = self.raw_string() {
            self.literal(opening, &closing);
        } else if next == '"' {
            let end = end_of_literal(&self.rest[1..]);
            self.text(1, end, 1);
        } else {
            let length = if next == '\'' { length_of_char(self.rest) } else { next.len_utf8() };
            if !next.is_whitespace() {
                self.end_comment();
            }
            self.is_after_name = next.is_alphanumeric() || next == '_';
            self.pass(length);
        }
        true
    }

    fn pass(&mut self, length: usize) {
        let (passed, rest) = self.rest.split_at(length);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    fn comment(&mut self) {
        let length = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = self.rest[..length].trim_start_matches(['/', '!']).trim();
        match &mut self.comment {
            Some((comment, last)) if *last + 1 == self.line && !text.is_empty() => {
                comment.text.push(' ');
                comment.text.push_str(text);
                *last = self.line;
            }
            _ => {
                self.end_comment();
                self.comment = (!text.is_empty()).then(|| (Prose { line: self.line, text: text.to_owned() }, self.line));
            }
        }
        self.pass(length);
    }

    fn end_comment(&mut self) {
        self.found.extend(self.comment.take().map(|(comment, _)| comment));
    }

    /// Returns the length of the opening of a raw string that begins here, and its closing.
    fn raw_string(&self) -> Option<(usize, String)> {
        let marks = self.rest.strip_prefix("br").or_else(|| self.rest.strip_prefix('r')).filter(|_| !self.is_after_name)?;
        let hashes = marks.len() - marks.trim_start_matches('#').len();
        marks[hashes..].starts_with('"').then(|| (self.rest.len() - marks.len() + hashes + 1, format!("\"{}", "#".repeat(hashes))))
    }

    fn literal(&mut self, opening: usize, closing: &str) {
        let length = self.rest[opening..].find(closing).unwrap_or(self.rest.len() - opening);
        self.text(opening, length, closing.len());
    }

    /// Takes the text of a literal, between its opening and its closing.
    fn text(&mut self, opening: usize, length: usize, closing: usize) {
        self.end_comment();
        let text = unescape_literal(&self.rest[opening..opening + length]);
        // A text without a space is a name.
        if text.contains(' ') {
            self.found.push(Prose { line: self.line, text });
        }
        self.is_after_name = false;
        self.pass((opening + length + closing).min(self.rest.len()));
    }
}

/// Returns the length of a string literal up to its closing quote.
fn end_of_literal(text: &str) -> usize {
    let mut is_escaped = false;
    let is_end = |c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    };
    text.find(is_end).unwrap_or(text.len())
}

/// Returns the length of a character literal, or 1 for a lifetime.
fn length_of_char(text: &str) -> usize {
    if text[1..].starts_with('\\') {
        return text.get(3..).and_then(|rest| rest.find('\'')).map_or(1, |end| 3 + end + 1);
    }
    let length = 1 + text[1..].chars().next().map_or(0, char::len_utf8);
    if text[length..].starts_with('\'') { length + 1 } else { 1 }
}

/// Returns the text of a literal with its line breaks, and with the lines joined that a backslash joins.
fn unescape_literal(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    let joined = parts.fold(first, |joined, part| joined + part.trim_start());
    joined.replace("\\n", "\n").replace("\\\"", "\"")
}

/// Returns the paragraphs, list items, headings and table rows of a document, each on one line, without code
/// blocks.
pub(crate) fn of_document(document: &str) -> Vec<Prose> {
    let mut found: Vec<Prose> = Vec::new();
    let (mut is_code, mut may_continue) = (false, false);
    for (line, text) in (1..).zip(document.lines()) {
        let is_fence = text.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence || text.starts_with("    ") || text.trim().is_empty() {
            may_continue = false;
            continue;
        }
        let (trimmed, is_single) = (text.trim_start(), text.starts_with(['|', '#']));
        let is_item =
            trimmed.starts_with(['-', '*', '>']) || trimmed.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        match found.last_mut() {
            Some(paragraph) if may_continue && !is_single && !is_item => {
                paragraph.text.push(' ');
                paragraph.text.push_str(trimmed);
            }
            _ => found.push(Prose { line, text: trimmed.trim_start_matches(['-', '*', '#', '>', ' ']).to_owned() }),
        }
        may_continue = !is_single;
    }
    found
}

/// Returns the lines of the other files of the repository with comments or texts, with their paths.
pub(crate) fn of_other_files() -> Vec<(String, Prose)> {
    let endings = [".py", ".sql", ".toml", ".ts", ".yaml"];
    let files = endings.iter().flat_map(|ending| files("", ending));
    files.flat_map(|(path, text)| lines_of(&path, &text).into_iter().map(move |prose| (path.clone(), prose)).collect::<Vec<_>>()).collect()
}

fn lines_of(path: &str, text: &str) -> Vec<Prose> {
    // The stored definition of a table contains the comments within its statement. A store compares definitions
    // with those of the migrations, so these comments cannot change any longer.
    let is_prose = |line: &str| match path.rsplit('.').next() {
        Some("sql") => line.starts_with("--"),
        // Only comments: the names of a program are no prose.
        Some("ts") => line.trim_start().starts_with(['/', '*']),
        _ => true,
    };
    let lines = (1..).zip(text.lines()).filter(|(_, line)| is_prose(line));
    lines.map(|(line, text)| Prose { line, text: text.trim_start_matches(['#', '/', '-', '*', '"', ' ']).to_owned() }).collect()
}

#[test]
fn prose_of_a_source_is_its_comments_and_texts() {
    let source = "//! One,\n//! two.\n//!\n//! Three.\nfn f<'a>(c: char) -> bool {\n    // Four.\n    c == '\"' || g(\"five \\\"six\\\" \\\n        seven\")\n        \
                  || h(r#\"eight \"nine\"\"#, \"name\")\n}\n";
    let found: Vec<(usize, String)> = of_source(source).into_iter().map(|prose| (prose.line, prose.text)).collect();
    let expected = [(1, "One, two."), (4, "Three."), (6, "Four."), (7, "five \"six\" seven"), (9, "eight \"nine\"")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn prose_of_a_document_is_without_its_code() {
    let document = "# Title\n\nOne\ntwo.\n\n    code\n\n- three\n  four\n- five\n\n```\ncode\n```\n| a | b |\n| c | d |\n";
    let found: Vec<(usize, String)> = of_document(document).into_iter().map(|prose| (prose.line, prose.text)).collect();
    let expected = [(1, "Title"), (3, "One two."), (8, "three four"), (10, "five"), (15, "| a | b |"), (16, "| c | d |")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

//! The text of a pack's file for readers: each token with its place and class, found by the parsers that check the file.

mod bare_expressions;
mod scan;

use std::ops::Range;

use ensue_expression::{TokenClass as ExpressionToken, expression_tokens, template_expressions};

use crate::source::SourceText;
use crate::yaml::Offsets;
use scan::ScannedScalar;

/// The class of a token in a pack's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenClass {
    /// The key of a mapping.
    Key,
    /// A text.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Constant,
    /// A comment.
    Comment,
    /// The braces around an expression in a text.
    Expression,
    /// An operator of an expression.
    Operator,
    /// A variable or a field in an expression.
    Identifier,
    /// The name of a function in an expression.
    Function,
    /// A mark between all of these.
    Punctuation,
}

/// A token of a file. It lies in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HighlightedToken {
    /// Where it begins in the file, in UTF-16 code units.
    pub start: usize,
    /// Its length in UTF-16 code units.
    pub length: usize,
    /// Its class.
    pub class: TokenClass,
}

/// Returns the tokens of a pack's file in their order. A file that is not YAML has none, and one with a syntax error has
/// those before the error.
pub fn highlight(path: &str, text: &str) -> Vec<HighlightedToken> {
    if !is_yaml(path) {
        return Vec::new();
    }
    let file = SourceText::new(path, text);
    let bare = bare_expressions::expressions(path, &file);
    let scanned = scan::scan(text);
    let mut found = FoundTokens { text, tokens: Vec::new() };
    let mut at = 0;
    for scalar in &scanned.scalars {
        found.between(at..scalar.span.start);
        found.scalar(scalar, bare.contains(&scalar.span.start));
        at = scalar.span.end;
    }
    found.between(at..scanned.end);
    in_utf16(text, found.tokens)
}

/// Returns true if the file is YAML.
fn is_yaml(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    lower.ends_with(".yaml") || lower.ends_with(".yml")
}

/// The tokens found so far, with their places in bytes.
struct FoundTokens<'t> {
    text: &'t str,
    tokens: Vec<(Range<usize>, TokenClass)>,
}

impl FoundTokens<'_> {
    /// Adds the tokens of a scalar.
    fn scalar(&mut self, scalar: &ScannedScalar, is_expression: bool) {
        let offsets = || Offsets::align(&scalar.value, &self.text[scalar.span.clone()], scalar.style, scalar.span.start);
        if is_expression {
            let offsets = offsets();
            for (place, class) in expression_tokens(&scalar.value) {
                self.add(offsets.of(&place), of_expression(class));
            }
            return;
        }
        let expressions = if scalar.is_key { Vec::new() } else { template_expressions(&scalar.value) };
        if expressions.is_empty() {
            self.add(scalar.span.clone(), scalar.class);
            return;
        }
        let offsets = offsets();
        let mut at = scalar.span.start;
        for whole in expressions {
            let open = offsets.of(&(whole.start..whole.start + 3));
            let close = offsets.of(&(whole.end - 2..whole.end));
            self.add(at..open.start, TokenClass::String);
            self.add(open, TokenClass::Expression);
            let inside = whole.start + 3..whole.end - 2;
            for (place, class) in expression_tokens(&scalar.value[inside.clone()]) {
                self.add(offsets.of(&(place.start + inside.start..place.end + inside.start)), of_expression(class));
            }
            at = close.end;
            self.add(close, TokenClass::Expression);
        }
        self.add(at..scalar.span.end, TokenClass::String);
    }

    /// Adds the marks and comments between two scalars.
    fn between(&mut self, gap: Range<usize>) {
        let mut at = gap.start;
        while let Some(ahead) = self.text.get(at..gap.end).and_then(|rest| rest.find(|character: char| !character.is_whitespace())) {
            let start = at + ahead;
            let rest = &self.text[start..gap.end];
            let is_after_a_blank = self.text[..start].chars().next_back().is_none_or(char::is_whitespace);
            let is_comment = rest.starts_with('#') && is_after_a_blank;
            let length = if is_comment { rest.find('\n') } else { rest.find(char::is_whitespace) };
            let end = start + length.unwrap_or(rest.len());
            self.add(start..end, if is_comment { TokenClass::Comment } else { TokenClass::Punctuation });
            at = end;
        }
    }

    /// Adds a token, line by line and without the blanks around it.
    fn add(&mut self, place: Range<usize>, class: TokenClass) {
        let Some(text) = self.text.get(place.clone()) else { return };
        let mut start = place.start;
        for line in text.split_inclusive('\n') {
            let blanks = line.len() - line.trim_start().len();
            let length = line.trim().len();
            if length > 0 {
                self.tokens.push((start + blanks..start + blanks + length, class));
            }
            start += line.len();
        }
    }
}

fn of_expression(class: ExpressionToken) -> TokenClass {
    match class {
        ExpressionToken::Identifier => TokenClass::Identifier,
        ExpressionToken::Function => TokenClass::Function,
        ExpressionToken::String => TokenClass::String,
        ExpressionToken::Number => TokenClass::Number,
        ExpressionToken::Constant => TokenClass::Constant,
        ExpressionToken::Operator => TokenClass::Operator,
        ExpressionToken::Punctuation => TokenClass::Punctuation,
        ExpressionToken::Comment => TokenClass::Comment,
    }
}

/// Converts places in bytes to places in UTF-16 code units, and drops what overlaps the token before.
fn in_utf16(text: &str, tokens: Vec<(Range<usize>, TokenClass)>) -> Vec<HighlightedToken> {
    let units = |part: &str| part.chars().map(char::len_utf16).sum::<usize>();
    let (mut at, mut start) = (0, 0);
    let mut converted = Vec::with_capacity(tokens.len());
    for (place, class) in tokens {
        let (Some(before), Some(inside)) = (text.get(at..place.start), text.get(place.clone())) else { continue };
        start += units(before);
        let length = units(inside);
        converted.push(HighlightedToken { start, length, class });
        start += length;
        at = place.end;
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_tokens(path: &str, text: &str) -> Vec<(String, TokenClass)> {
        let units: Vec<u16> = text.encode_utf16().collect();
        let part = |token: HighlightedToken| String::from_utf16(&units[token.start..token.start + token.length]).unwrap();
        highlight(path, text).into_iter().map(|token| (part(token), token.class)).collect()
    }

    fn classes_of(path: &str, text: &str, wanted: &str) -> Vec<TokenClass> {
        list_tokens(path, text).into_iter().filter(|(part, _)| part == wanted).map(|(_, class)| class).collect()
    }

    #[test]
    fn condition_of_a_rule_has_the_tokens_of_an_expression() {
        use TokenClass::{Constant, Identifier, Key, Number, Operator, Punctuation, String};
        let text = "trigger: demo.hello\nwhen: event.n > 1 && true\n";
        let expected = [
            ("trigger", Key),
            (":", Punctuation),
            ("demo.hello", String),
            ("when", Key),
            (":", Punctuation),
            ("event", Identifier),
            (".", Punctuation),
            ("n", Identifier),
            (">", Operator),
            ("1", Number),
            ("&&", Operator),
            ("true", Constant),
        ];
        assert_eq!(list_tokens("rules/greet.yaml", text), expected.map(|(part, class)| (part.to_owned(), class)));
    }

    #[test]
    fn expression_in_a_text_is_marked_with_its_braces() {
        use TokenClass::{Expression, Function, String};
        let text = "trigger: a.b\naction: core.echo\nwith:\n  message: \"Hi ${{ upper(event.payload.name) }}, bye\"\n";
        assert_eq!(classes_of("rules/a.yaml", text, "${{"), [Expression]);
        assert_eq!(classes_of("rules/a.yaml", text, "}}"), [Expression]);
        assert_eq!(classes_of("rules/a.yaml", text, "upper"), [Function]);
        assert_eq!(classes_of("rules/a.yaml", text, "\"Hi"), [String]);
        assert_eq!(classes_of("rules/a.yaml", text, ", bye\""), [String]);
    }

    #[test]
    fn places_are_counted_in_utf16_code_units() {
        let text = "description: 🙂 ä\nmode: shadow # 🙂\n";
        let tokens = list_tokens("rules/a.yaml", text);
        assert!(tokens.contains(&("🙂 ä".to_owned(), TokenClass::String)), "{tokens:?}");
        assert!(tokens.contains(&("mode".to_owned(), TokenClass::Key)), "{tokens:?}");
        assert!(tokens.contains(&("# 🙂".to_owned(), TokenClass::Comment)), "{tokens:?}");
    }

    #[test]
    fn token_of_several_lines_is_one_token_per_line() {
        let text = "description: |  # about it\n  one\n\n  two # not a comment\ntrigger: a.b\n";
        let tokens = list_tokens("rules/a.yaml", text);
        let of = |part: &str, class| (part.to_owned(), class);
        for expected in [
            of("|", TokenClass::Punctuation),
            of("# about it", TokenClass::Comment),
            of("one", TokenClass::String),
            of("two # not a comment", TokenClass::String),
        ] {
            assert!(tokens.contains(&expected), "{expected:?} in {tokens:?}");
        }
    }

    #[test]
    fn expressions_of_several_definitions_in_one_file_are_found() {
        let text = "rules:\n  first:\n    trigger: a.b\n    when: |\n      event.x\n        == 1\n    local: { y: event.z }\n    action: core.noop\n";
        assert_eq!(classes_of("rules/all.yaml", text, "=="), [TokenClass::Operator]);
        assert_eq!(classes_of("rules/all.yaml", text, "z"), [TokenClass::Identifier]);
        assert_eq!(classes_of("rules/all.yaml", text, "core.noop"), [TokenClass::String]);
    }

    #[test]
    fn condition_of_a_step_is_an_expression() {
        let text = "run:\n  workflow:\n    steps:\n      build:\n        if: params.fast\n        action: core.noop\n";
        assert_eq!(classes_of("actions/ship.yaml", text, "fast"), [TokenClass::Identifier]);
    }

    #[test]
    fn file_with_a_syntax_error_has_the_tokens_before_it() {
        let tokens = list_tokens("rules/a.yaml", "mode: shadow\nwhen: \"open\n");
        assert_eq!(tokens.first(), Some(&("mode".to_owned(), TokenClass::Key)));
        assert!(tokens.contains(&("shadow".to_owned(), TokenClass::String)), "{tokens:?}");
    }

    #[test]
    fn program_has_no_tokens() {
        assert_eq!(highlight("actions/build.sh", "echo hello\n"), []);
    }
}

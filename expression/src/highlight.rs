//! Source text for readers: each token with its class, found by the lexer that compiles expressions.

use std::ops::Range;

use crate::lex::{Lexer, Token};
use crate::template;

/// The class of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenClass {
    /// A name: a variable or a field.
    Identifier,
    /// The name of a function or of a macro.
    Function,
    /// A text or bytes.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Constant,
    /// An operator.
    Operator,
    /// A bracket, a dot or a comma.
    Punctuation,
    /// A comment.
    Comment,
}

/// Returns the tokens of an expression in their order, with their places in bytes. Ends before the first part that is not a token.
pub fn expression_tokens(source: &str) -> Vec<(Range<usize>, TokenClass)> {
    let mut lexer = Lexer::new(source, 0);
    let mut tokens: Vec<(Range<usize>, TokenClass)> = Vec::new();
    let mut read_to = 0;
    while let Ok((token, span)) = lexer.next() {
        let span = span.range();
        let before = if token == Token::End { source.len() } else { span.start };
        tokens.extend(comments(source, read_to..before));
        let class = match token {
            Token::Name(name) => match &*name {
                "true" | "false" | "null" => TokenClass::Constant,
                "in" => TokenClass::Operator,
                _ => TokenClass::Identifier,
            },
            Token::QuotedName(_) => TokenClass::Identifier,
            Token::Int(_) | Token::Uint(_) | Token::Double(_) => TokenClass::Number,
            Token::String(_) | Token::Bytes(_) => TokenClass::String,
            Token::Mark("(" | ")" | "[" | "]" | "{" | "}" | "." | ",") => TokenClass::Punctuation,
            Token::Mark(_) => TokenClass::Operator,
            Token::End => break,
        };
        if &source[span.clone()] == "("
            && let Some((_, before)) = tokens.last_mut()
            && *before == TokenClass::Identifier
        {
            *before = TokenClass::Function;
        }
        read_to = span.end;
        tokens.push((span, class));
    }
    tokens
}

/// Returns the place of each `${{ … }}` of a text, with its braces, in bytes. Ends before the first that is not closed.
pub fn template_expressions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(ahead) = text[at..].find(template::OPEN) {
        let open = at + ahead;
        let start = open + template::OPEN.len();
        if text[..open].ends_with('$') {
            at = start;
            continue;
        }
        let Ok(end) = template::closing(text, start) else { break };
        at = end + 2;
        found.push(open..at);
    }
    found
}

/// Finds the comments in what the lexer skipped, which is blank otherwise.
fn comments(source: &str, skipped: Range<usize>) -> Vec<(Range<usize>, TokenClass)> {
    let mut found = Vec::new();
    let mut at = skipped.start;
    while let Some(ahead) = source[at..skipped.end].find("//") {
        let start = at + ahead;
        let end = source[start..skipped.end].find('\n').map_or(skipped.end, |ahead| start + ahead);
        found.push((start..end, TokenClass::Comment));
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_tokens(source: &str) -> Vec<(&str, TokenClass)> {
        expression_tokens(source).into_iter().map(|(at, class)| (&source[at], class)).collect()
    }

    #[test]
    fn each_token_of_an_expression_has_its_class() {
        use TokenClass::{Comment, Constant, Function, Identifier, Number, Operator, Punctuation, String};
        assert_eq!(
            list_tokens("a.b > 1.5 // more\n && size(\"x\") in [null]"),
            [
                ("a", Identifier),
                (".", Punctuation),
                ("b", Identifier),
                (">", Operator),
                ("1.5", Number),
                ("// more", Comment),
                ("&&", Operator),
                ("size", Function),
                ("(", Punctuation),
                ("\"x\"", String),
                (")", Punctuation),
                ("in", Operator),
                ("[", Punctuation),
                ("null", Constant),
                ("]", Punctuation),
            ]
        );
    }

    #[test]
    fn comment_at_the_end_of_an_expression_is_a_token() {
        assert_eq!(list_tokens("a // x // y"), [("a", TokenClass::Identifier), ("// x // y", TokenClass::Comment)]);
    }

    #[test]
    fn tokens_end_before_what_is_not_one() {
        assert_eq!(list_tokens("a == \"open"), [("a", TokenClass::Identifier), ("==", TokenClass::Operator)]);
    }

    #[test]
    fn expressions_of_a_text_are_found_with_their_braces() {
        let text = "a ${{ {\"b\": \"}}\"} }} $${{ no }} ${{ c }} ${{ open";
        let found: Vec<&str> = template_expressions(text).into_iter().map(|at| &text[at]).collect();
        assert_eq!(found, ["${{ {\"b\": \"}}\"} }}", "${{ c }}"]);
    }
}

//! Text is never code: the input of a program or shell takes no `${{ }}`, so that no payload can become a
//! command.
//!
//! This module only checks. Values are passed with `env`, `input` and `files` instead.

use ensue_engine::catalog::Schema;

use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::schema;
use crate::source::SourceText;
use crate::yaml::{Content, Node};

/// Returns true if a code text is allowed: it is a literal, or exactly one parameter that is declared as
/// code.
pub(super) fn check_script(node: &Node, parameters: Option<&Schema>, scope: &Scope<'_>, file: &SourceText, report: &mut Report) -> bool {
    let Content::Text { value, .. } = &node.content else { return true };
    if !is_spliced(value) {
        return true;
    }
    if let Some(name) = sole_parameter(value) {
        // If the parameter does not exist or the parameters are unknown, that is reported as its own error.
        if parameters.and_then(|parameters| schema::is_code(parameters, name)).unwrap_or(true) {
            return true;
        }
        let at = scope.locate(node, 0..value.len());
        report
            .error(Code::TemplateInCode, file, at, format!("`params.{name}` is used as code here, but is not declared as code"))
            .hint(format!("declare it as code, so that callers cannot splice values into it:\nparameters:\n  {name}: {{ type: string, x-ensue: code }}"));
        return false;
    }
    report_template(node, value, scope, file, report);
    false
}

/// Returns true if a text that becomes code elsewhere (a parameter declared as code) is a literal.
pub(super) fn check_literal(node: &Node, scope: &Scope<'_>, file: &SourceText, report: &mut Report) -> bool {
    match &node.content {
        Content::Text { value, .. } if is_spliced(value) => {
            report_template(node, value, scope, file, report);
            false
        }
        _ => true,
    }
}

/// Reports an item of a command that contains an expression.
pub(super) fn check_argument(text: &str, span: &std::ops::Range<usize>, file: &SourceText, report: &mut Report) {
    if is_spliced(text) {
        report.error(Code::TemplateInCode, file, span.clone(), "a command is fixed; values cannot be spliced into it").hint(format!(
            "the program gets the parameters as JSON on standard input; pass other values with `env`:\nenv: {{ VALUE: {} }}",
            crate::yaml::quote_yaml(text)
        ));
    }
}

fn report_template(node: &Node, value: &str, scope: &Scope<'_>, file: &SourceText, report: &mut Report) {
    let start = value.find("${{").unwrap_or(0);
    let end = value[start..].find("}}").map_or(value.len(), |end| start + end + 2);
    let at = scope.locate(node, start..end);
    report
        .error(Code::TemplateInCode, file, at, "code cannot contain `${{ }}`: a value that contains a quote could become a command")
        .hint(rewritten(value));
}

/// Returns true if a text contains an expression; `$${{` stands for the literal characters.
fn is_spliced(text: &str) -> bool {
    text.match_indices("${{").any(|(at, _)| !text[..at].ends_with('$'))
}

/// Returns `x` for a text that is exactly `${{ params.x }}`.
fn sole_parameter(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${{")?.strip_suffix("}}")?.trim();
    inner.strip_prefix("params.").filter(|name| ensue_engine::names::is_name(name))
}

/// Returns the same script with its values in the environment, ready to paste.
fn rewritten(script: &str) -> String {
    let mut text = String::new();
    let mut variables: Vec<(String, &str)> = Vec::new();
    let mut rest = script;
    while let Some(at) = rest.find("${{") {
        let end = rest[at..].find("}}").map_or(rest.len(), |end| at + end + 2);
        let expression = &rest[at..end];
        let variable = variable_name(expression, variables.len());
        text.push_str(&rest[..at]);
        // Inside open quotes, the variable needs no quotes.
        let is_quoted = text.matches('"').count() % 2 == 1;
        text.push_str(&if is_quoted { format!("${{{variable}}}") } else { format!("\"${variable}\"") });
        if variables.iter().all(|(known, _)| *known != variable) {
            variables.push((variable, expression));
        }
        rest = &rest[end..];
    }
    text.push_str(rest);
    let mut lines = vec!["pass the values through the environment:".to_owned()];
    let script: Vec<&str> = text.trim_end().lines().collect();
    match script.as_slice() {
        [one] => lines.push(format!("script: {}", crate::yaml::quote_yaml(one))),
        several => {
            lines.push("script: |".to_owned());
            lines.extend(several.iter().take(8).map(|line| format!("  {line}")));
            if several.len() > 8 {
                lines.push("  …".to_owned());
            }
        }
    }
    lines.push("env:".to_owned());
    lines.extend(variables.iter().map(|(name, expression)| format!("  {name}: {}", crate::yaml::quote_yaml(expression))));
    lines.join("\n")
}

fn variable_name(expression: &str, index: usize) -> String {
    let inner = expression.trim_start_matches("${{").trim_end_matches("}}").trim();
    let last = inner.rsplit('.').next().unwrap_or("");
    if ensue_engine::names::is_name(last) { last.to_ascii_uppercase() } else { format!("VALUE_{}", index + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_rewrite_quotes_each_value_once() {
        let hint = rewritten("make VERSION=\"${{ params.version }}\" ${{ params.list[0] }}\n");
        assert_eq!(
            hint,
            "pass the values through the environment:\nscript: 'make VERSION=\"${VERSION}\" \"$VALUE_2\"'\nenv:\n  VERSION: '${{ \
                params.version }}'\n  VALUE_2: '${{ params.list[0] }}'"
        );
    }

    #[test]
    fn escaped_brace_is_not_an_expression() {
        assert!(!is_spliced("echo '$${{ x }}'") && is_spliced("echo ${{ x }}"));
        assert_eq!(sole_parameter(" ${{ params.script }}\n"), Some("script"));
        assert_eq!(sole_parameter("${{ params.a + params.b }}"), None);
    }
}

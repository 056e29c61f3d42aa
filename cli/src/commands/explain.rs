//! `ensue explain`: what a code means, from the documentation in the binary.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::LazyLock;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command, Error};
use ensue_expression::nearest;
use ensue_packs::Code;
use serde_json::json;

use super::Asking;
use crate::report::{CommandResult, Exit, Failure};

/// The folder of `docs` with a page for each error.
const ERRORS: &str = "errors";
/// The most names that are suggested for an unknown code.
const SUGGESTIONS_MAX: usize = 5;

/// Print what a code means, and what to do. Needs no node.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ensue explain approval_stale                 an error of the API
  ensue explain /docs/errors/approval-stale    by the error's `type`
  ensue explain yaml_tag                       a finding of `ensue check`
  ensue explain approval_stale -o json")]
pub(crate) struct Explain {
    /// The code of an error or of a finding of `ensue check`.
    #[arg(value_parser = CodeParser, hide_possible_values = true)]
    code: String,
}

impl Explain {
    pub(super) fn run(self, asking: &Asking) -> CommandResult {
        print(asking, &self.code)
    }
}

/// Prints what a code means.
pub(super) fn print(asking: &Asking, code: &str) -> CommandResult {
    let Explanation { code, title, page, markdown } = Explanation::of(code)?;
    let document = json!({ "code": code, "title": title, "page": page, "markdown": &markdown });
    asking.output.print_one(&document, |_| markdown);
    Ok(())
}

/// What the documentation says about a code.
#[derive(Debug)]
struct Explanation {
    code: String,
    title: String,
    /// The address of the page on a node.
    page: String,
    markdown: String,
}

impl Explanation {
    /// Returns the explanation of a code, or of the address of an error's page.
    fn of(given: &str) -> Result<Self, Failure> {
        let code = given.rsplit('/').next().unwrap_or(given).trim().to_lowercase().replace('-', "_");
        let of_error = ensue_manual::page(&format!("{ERRORS}/{}", code.replace('_', "-")));
        let of_finding = Code::of_slug(&code).map(|finding| {
            let heading = format!("# The finding `{finding}` of `ensue check`");
            (finding.page(), format!("{heading}\n\n{}", finding.explanation()))
        });
        match (of_error, of_finding) {
            (Some(error), finding) => {
                // A code of both kinds has two meanings.
                let also = finding.map(|(_, text)| format!("\n\n{text}")).unwrap_or_default();
                let markdown = format!("{}{also}", error.markdown().trim_end());
                Ok(Self { code, title: error.title().to_owned(), page: error.address(), markdown })
            }
            (None, Some((page, markdown))) => {
                let title = markdown.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
                let page = format!("/{}", page.replace(".md#", "#"));
                Ok(Self { code, title, page, markdown })
            }
            (None, None) => Err(unknown(&code)),
        }
    }
}

/// All codes, in alphabetical order.
static CODES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let errors = ensue_manual::pages_of(ERRORS).filter_map(|page| page.path().rsplit('/').next());
    errors.map(|name| name.replace('-', "_")).chain(Code::ALL.iter().map(ToString::to_string)).collect()
});

fn unknown(code: &str) -> Failure {
    let failure = Failure::with(Exit::Missing, format!("no error or finding has the code `{code}`"));
    let near = near(code);
    if near.is_empty() {
        return failure.hint("use the `code` of an error of the API, or the code in brackets after `error` or `warning` of a finding");
    }
    let near: Vec<String> = near.into_iter().map(|name| format!("`{name}`")).collect();
    failure.hint(format!("did you mean {}?", near.join(" or ")))
}

/// Returns the codes that a misspelled or shortened one was probably meant to be, the likeliest first.
fn near(code: &str) -> Vec<&'static str> {
    /// The fewest characters by which a code is found as a part of others.
    const PART_CHARS_MIN: usize = 3;
    let mut near: Vec<&str> = nearest(code, CODES.iter().map(String::as_str)).into_iter().collect();
    if code.chars().count() >= PART_CHARS_MIN {
        let (begin, contain): (Vec<&str>, Vec<&str>) =
            CODES.iter().map(String::as_str).filter(|name| name.contains(code)).partition(|name| name.starts_with(code));
        near.extend(begin.into_iter().chain(contain));
        let mut seen = BTreeSet::new();
        near.retain(|name| seen.insert(*name));
    }
    near.truncate(SUGGESTIONS_MAX);
    near
}

/// Takes any text, and lists the codes to shells that complete one.
#[derive(Clone, Debug)]
struct CodeParser;

impl TypedValueParser for CodeParser {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(CODES.iter().map(|code| PossibleValue::new(code.as_str()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        assert!(CODES.len() > 250, "{}", CODES.len());
        for code in CODES.iter() {
            let explanation = Explanation::of(code).unwrap();
            assert!(explanation.code == *code && !explanation.title.is_empty(), "{explanation:?}");
            assert!(explanation.markdown.starts_with(&format!("# {}", explanation.title)), "{explanation:?}");
            let page = explanation.page.strip_prefix("/docs/").and_then(|page| page.split('#').next());
            assert!(page.is_some_and(|page| ensue_manual::page(page).is_some()), "{explanation:?}");
        }
    }

    #[test]
    fn code_is_found_by_the_address_of_its_page() {
        let title = |given: &str| Explanation::of(given).unwrap().title;
        let stale = title("approval_stale");
        for given in ["approval-stale", "/docs/errors/approval-stale", "https://ensue.test/docs/errors/approval-stale", "APPROVAL_STALE"] {
            assert_eq!(title(given), stale);
        }
    }

    #[test]
    fn code_of_both_kinds_has_both_meanings() {
        let both = Explanation::of("config_invalid").unwrap();
        assert_eq!(both.page, "/docs/errors/config-invalid");
        assert!(both.markdown.contains("\n\n# The finding `config_invalid` of `ensue check`\n\n"), "{}", both.markdown);
    }

    #[test]
    fn unknown_code_is_missing_and_near_codes_are_suggested() {
        let hint = |code: &str| {
            let failure = Explanation::of(code).unwrap_err();
            assert_eq!(failure.exit(), Exit::Missing);
            failure.hint_text().unwrap().to_owned()
        };
        assert!(hint("aproval_stale").starts_with("did you mean `approval_stale`"));
        let parts = hint("token");
        assert!(parts.contains("`token_expired`") && parts.matches('`').count() == 2 * SUGGESTIONS_MAX, "{parts}");
        for strange in ["", "x", "nothing_like_this_at_all", "/"] {
            assert!(hint(strange).starts_with("use the `code`"), "{strange}");
        }
    }
}

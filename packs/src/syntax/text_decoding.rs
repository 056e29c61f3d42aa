//! `charset` and `invalid`: how bytes of other systems become text.

use ensue_engine::catalog::{Invalid, TextDecoding};

use crate::diagnostics::{Code, Report};
use crate::fields::FieldReader;
use crate::shape::words;

const INVALIDS: [(&str, Invalid); 2] = [("reject", Invalid::Reject), ("replace", Invalid::Replace)];
pub(super) const INVALID_WORDS: [&str; 2] = words(&INVALIDS);

/// Reads both fields. Returns `None` if the charset is not known.
pub(super) fn read_text_decoding(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<TextDecoding> {
    let charset = fields.text("charset", report);
    let invalid = fields.choice("invalid", &INVALIDS, report).unwrap_or_default();
    if let Some(charset) = charset.as_ref().filter(|charset| !ensue_content::is_charset(&charset.value)) {
        report
            .error(Code::InvalidValue, fields.file, charset.span.clone(), format!("the charset `{}` is not known", charset.value))
            .hint("write a label of WHATWG's Encoding Standard, for example `windows-1252`, `iso-8859-15` or `shift_jis`");
        return None;
    }
    Some(TextDecoding { charset: charset.map(|charset| charset.value), invalid })
}

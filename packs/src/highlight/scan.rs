//! The scalars of a YAML text in their order, as far as the text can be read.

use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, options};

use super::TokenClass;
use crate::yaml::{DOCUMENT_BYTES_MAX, ScalarKind};

/// A scalar as it is written.
pub(super) struct ScannedScalar {
    /// Its place in bytes.
    pub(super) span: Range<usize>,
    pub(super) value: String,
    pub(super) style: ScalarStyle,
    /// Whether it is the key of a mapping.
    pub(super) is_key: bool,
    pub(super) class: TokenClass,
}

/// The scalars of a text, and how far the text was read.
pub(super) struct Scan {
    pub(super) scalars: Vec<ScannedScalar>,
    pub(super) end: usize,
}

/// What is open where the parser is.
enum Open {
    List,
    Map {
        /// Whether the next scalar is a key.
        is_key_next: bool,
    },
}

/// Returns the scalars of a text, up to its first syntax error.
pub(super) fn scan(text: &str) -> Scan {
    let mut scan = Scan { scalars: Vec::new(), end: 0 };
    if text.len() > DOCUMENT_BYTES_MAX {
        return scan;
    }
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str_with_options(text, options! { disallow_directives: true }) {
        let Ok((event, span)) = event else { return scan };
        match event {
            Event::Scalar(value, style, ..) => {
                let is_key = is_key(&mut open);
                let span = span.byte_range().unwrap_or(0..0);
                // The value of a key without any is an empty scalar, which has no token.
                if span.is_empty() || span.start < scan.end {
                    continue;
                }
                let class = if is_key { TokenClass::Key } else { of_kind(ScalarKind::of(&value, style)) };
                scan.end = span.end;
                scan.scalars.push(ScannedScalar { span, value: value.into_owned(), style, is_key, class });
            }
            Event::Alias(_) => drop(is_key(&mut open)),
            Event::SequenceStart(..) => {
                is_key(&mut open);
                open.push(Open::List);
            }
            Event::MappingStart(..) => {
                is_key(&mut open);
                open.push(Open::Map { is_key_next: true });
            }
            Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
            _ => {}
        }
    }
    scan.end = text.len();
    scan
}

fn of_kind(kind: ScalarKind) -> TokenClass {
    match kind {
        ScalarKind::Constant => TokenClass::Constant,
        ScalarKind::Number => TokenClass::Number,
        ScalarKind::Text => TokenClass::String,
    }
}

/// Returns true if the node that comes now is a key, and notes that it has come.
fn is_key(open: &mut [Open]) -> bool {
    match open.last_mut() {
        Some(Open::Map { is_key_next }) => {
            *is_key_next = !*is_key_next;
            !*is_key_next
        }
        Some(Open::List) | None => false,
    }
}

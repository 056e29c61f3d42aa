//! Reads the bytes that other systems send as what they say they are: their compression, their charset, and JSON.
//!
//! The same rules apply to deliveries, to answers of servers and to results of programs. Nothing is damaged in silence:
//! input that cannot be read is an error with its place, unless the author chose [`Invalid::Replace`](ensue_engine::catalog::Invalid::Replace).

mod charset;
mod compression;
mod content_type;
mod json;

pub use charset::{
    DecodeError, charset_in_document, decode, decode_line, decode_part, decode_text, has_byte_order_mark, is_ascii_compatible, is_charset,
};
pub use compression::{CODINGS, DecompressError, Limit, decompress};
pub use content_type::{ContentType, parameters};
pub use json::{JsonBodyError, parse_json, parse_json_text};

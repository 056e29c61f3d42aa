//! Forms with files: `multipart/form-data` (RFC 7578).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ensue_content::{DecodeError, parameters};
use serde_json::{Value, json};

use super::{FieldValues, unreadable};
use crate::limits::{FIELDS_MAX, FILE_BYTES_MAX};
use crate::refusal::{HookRefusal, shorten};

/// The field of a body that lists its files.
const FILES: &str = "files";
/// The longest boundary, in bytes (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// The maximum size of the headers of a part, in bytes.
const PART_HEADER_BYTES_MAX: usize = 8 * 1024;

fn malformed_form(why: impl Into<String>) -> HookRefusal {
    unreadable("a multipart form", why)
}

/// Returns the fields of a form as texts, and its files in `files`: each with its field's `name`, its `filename`, its
/// `type`, and its content as `text`, or as `base64` if it is not UTF-8.
///
/// `read` decodes the bytes of a field without a file, and the headers of a part. An empty body has no fields, as an empty
/// form has none.
pub(super) fn fields(
    body: &[u8],
    boundary: Option<&str>,
    read: impl Fn(&[u8]) -> Result<String, DecodeError>,
) -> Result<Value, HookRefusal> {
    let boundary = boundary.filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
    let boundary = boundary.ok_or_else(|| malformed_form("its content type has no valid `boundary`"))?;
    if body.is_empty() {
        return Ok(json!({}));
    }
    let mut fields = FieldValues::default();
    let mut files = Vec::new();
    for part in parts(body, boundary, &read)? {
        let FormPart { name, filename, media_type, content } = part;
        match filename {
            None => {
                let text = read(content).map_err(|why| malformed_form(format!("in the field `{}`, {why}", shorten(&name))))?;
                fields.add(name, text);
            }
            Some(_) if content.len() > FILE_BYTES_MAX => return Err(HookRefusal::FileTooLarge { field: shorten(&name) }),
            Some(filename) => {
                let mut file = json!({ "name": name, "filename": filename, "type": media_type });
                match std::str::from_utf8(content) {
                    Ok(text) => file["text"] = text.into(),
                    Err(_) => file["base64"] = STANDARD.encode(content).into(),
                }
                files.push(file);
            }
        }
    }
    if !files.is_empty() && fields.0.insert(FILES.to_owned(), files.into()).is_some() {
        return Err(malformed_form("it has files, and a field with the name `files`, which is where files are listed"));
    }
    Ok(Value::Object(fields.0))
}

/// One part of the body.
struct FormPart<'b> {
    name: String,
    filename: Option<String>,
    media_type: Option<String>,
    content: &'b [u8],
}

fn parts<'b>(
    body: &'b [u8],
    boundary: &str,
    read: &impl Fn(&[u8]) -> Result<String, DecodeError>,
) -> Result<Vec<FormPart<'b>>, HookRefusal> {
    let (opening, delimiter) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = if let Some(rest) = body.strip_prefix(opening.as_bytes()) {
        rest
    } else {
        let (preamble, rest) = cut(body, delimiter.as_bytes()).ok_or_else(|| malformed_form("its boundary does not occur"))?;
        // It would be skipped with the first part.
        if cut(preamble, opening.as_bytes()).is_some() {
            return Err(malformed_form("its first boundary is not at the beginning of a line"));
        }
        rest
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == FIELDS_MAX {
            return Err(malformed_form(format!("it has more than {FIELDS_MAX} parts")));
        }
        let (padding, part) = cut(rest, b"\r\n").ok_or_else(|| malformed_form("it ends within a boundary"))?;
        if !padding.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(malformed_form("a boundary is followed by other characters"));
        }
        let (head, after) = if let Some(after) = part.strip_prefix(b"\r\n") { (&[][..], after) } else { head_of(part)? };
        let (content, next) = cut(after, delimiter.as_bytes()).ok_or_else(|| malformed_form("it ends within a part"))?;
        parts.push(part_of(head, content, read)?);
        rest = next;
    }
}

fn head_of(part: &[u8]) -> Result<(&[u8], &[u8]), HookRefusal> {
    let window = &part[..part.len().min(PART_HEADER_BYTES_MAX)];
    let (head, _) = cut(window, b"\r\n\r\n").ok_or_else(|| malformed_form("the headers of a part do not end"))?;
    Ok((head, &part[head.len() + 4..]))
}

fn part_of<'b>(head: &[u8], content: &'b [u8], read: &impl Fn(&[u8]) -> Result<String, DecodeError>) -> Result<FormPart<'b>, HookRefusal> {
    let head = read(head).map_err(|why| malformed_form(format!("in the headers of a part, {why}")))?;
    let (mut disposition, mut media_type) = (None, None);
    for line in head.split("\r\n") {
        let Some((header, value)) = line.split_once(':') else { continue };
        match header.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => disposition = Some(value.trim()),
            "content-type" => media_type = Some(value.trim().to_owned()),
            "content-transfer-encoding" if !matches!(value.trim(), "binary" | "8bit" | "7bit") => {
                return Err(malformed_form("a part has a `Content-Transfer-Encoding`, which forms do not use"));
            }
            _ => {}
        }
    }
    let parameters = disposition.and_then(|text| text.strip_prefix("form-data")).map(|text| parameters(text).collect::<Vec<_>>());
    let mut parameters = parameters.ok_or_else(|| malformed_form("a part is not `form-data`"))?;
    let mut take = |wanted: &str| parameters.iter().position(|(name, _)| name == wanted).map(|at| parameters.remove(at).1);
    let name = take("name").ok_or_else(|| malformed_form("a part has no name"))?;
    Ok(FormPart { name, filename: take("filename"), media_type, content })
}

/// Splits at the first occurrence.
fn cut<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let begin = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..begin], &bytes[begin + at.len()..]))
}

//! Forms: the pairs of `application/x-www-form-urlencoded`.

use ensue_content::DecodeError;
use percent_encoding::percent_decode;

use crate::limits::FIELDS_MAX;
use crate::refusal::shorten;

/// Returns the names and values of a form, in order, or why it is not a form. `read` decodes the bytes of a name or value.
pub(crate) fn pairs(body: &[u8], read: impl Fn(&[u8]) -> Result<String, DecodeError>) -> Result<Vec<(String, String)>, String> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let mut found: Vec<(String, String)> = Vec::new();
    for pair in pairs {
        if found.len() == FIELDS_MAX {
            return Err(format!("it has more than {FIELDS_MAX} fields"));
        }
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let name = read(&unescape(name)).map_err(|why| format!("in the name of field {}, {why}", found.len() + 1))?;
        let value = read(&unescape(value)).map_err(|why| format!("in the field `{}`, {why}", shorten(&name)))?;
        found.push((name, value));
    }
    Ok(found)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

//! Forms: the pairs of `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;

use crate::limits::FIELDS_MAX;

/// Returns the names and values of a form, in order, or why it is not a form.
pub(crate) fn pairs(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let mut read = Vec::new();
    for pair in pairs {
        if read.len() == FIELDS_MAX {
            return Err(format!("it has more than {FIELDS_MAX} fields"));
        }
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        read.push((decoded(name)?, decoded(value)?));
    }
    Ok(read)
}

fn decoded(text: &[u8]) -> Result<String, String> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| "a field is not UTF-8".to_owned())
}

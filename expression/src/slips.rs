//! Syntax that authors know from other languages, and its equivalent here.
//!
//! This module words errors that the parser has found; it finds none itself.

use crate::error::CompileError;

/// The characters of operators in any language.
const OPERATOR: &[char] = &['=', '!', '<', '>', '&', '|', '?', '~', '*', '+', '-', ':', '^', '%'];

/// Operators of other languages.
const OPERATORS: [(&str, &str); 14] = [
    ("=", "write `==`"),
    ("===", "write `==`: values of different types are never equal"),
    ("!==", "write `!=`"),
    ("<>", "write `!=`"),
    ("&", "write `&&`"),
    ("|", "write `||`; to call a function, use a method: `text.lowerAscii()`"),
    ("??", "write `event.?field.orValue(value)`"),
    ("=~", "write `text.matches(\"pattern\")`"),
    ("~", "write `text.matches(\"pattern\")`, or `+` to join texts"),
    ("=>", "name the macro's variable first: `list.exists(x, x > 0)`"),
    (":=", "expressions cannot assign names; name a value under `local`"),
    ("**", "there is no power operator; write the product"),
    ("++", "expressions cannot change a value; write `+ 1`"),
    ("--", "expressions cannot change a value; write `- 1`"),
];

/// Words of other languages.
const WORDS: [(&str, &str); 22] = [
    ("and", "write `&&`"),
    ("or", "write `||`"),
    ("not", "write `!`, and put the negated part in parentheses: `!(x in list)`"),
    ("is", "write `==`"),
    ("eq", "write `==`"),
    ("ne", "write `!=`"),
    ("None", "write `null`; to test whether a field is present, write `has(event.payload.field)`"),
    ("nil", "write `null`; to test whether a field is present, write `has(event.payload.field)`"),
    ("undefined", "to test whether a field is present, write `has(event.payload.field)`"),
    ("True", "write `true`"),
    ("TRUE", "write `true`"),
    ("False", "write `false`"),
    ("FALSE", "write `false`"),
    ("if", "write `condition ? value : other`"),
    ("lambda", "name the macro's variable: `list.exists(x, x > 0)`"),
    ("exists", "write `has(event.payload.field)`"),
    ("defined", "write `has(event.payload.field)`"),
    ("like", "write `text.contains(\"part\")`, or `glob(…)`"),
    ("matches", "call it as a method: `text.matches(\"pattern\")`"),
    ("contains", "call it as a method: `text.contains(\"part\")`"),
    ("startsWith", "call it as a method: `text.startsWith(\"refs/tags/\")`"),
    ("payload", "did you mean `event.payload`?"),
];

/// Functions and methods of other languages.
const FUNCTIONS: [(&str, &str); 34] = [
    ("len", "write `size(x)`"),
    ("length", "write `size(x)`"),
    ("count", "write `size(x)`"),
    ("includes", "write `text.contains(\"part\")`, or for a list `x in list`"),
    ("has_key", "write `has(map.field)`, or `\"key\" in map`"),
    ("hasOwnProperty", "write `has(map.field)`, or `\"key\" in map`"),
    ("toLowerCase", "write `text.lowerAscii()`"),
    ("toLower", "write `text.lowerAscii()`"),
    ("lower", "write `text.lowerAscii()`"),
    ("downcase", "write `text.lowerAscii()`"),
    ("toUpperCase", "write `text.upperAscii()`"),
    ("toUpper", "write `text.upperAscii()`"),
    ("upper", "write `text.upperAscii()`"),
    ("upcase", "write `text.upperAscii()`"),
    ("strip", "write `text.trim()`"),
    ("test", "write `text.matches(\"pattern\")`"),
    ("search", "write `text.matches(\"pattern\")`"),
    ("match", "write `text.matches(\"pattern\")`"),
    ("some", "write `list.exists(x, condition)`"),
    ("any", "write `list.exists(x, condition)`"),
    ("every", "write `list.all(x, condition)`"),
    ("str", "write `string(x)`"),
    ("toString", "write `string(x)`"),
    ("Number", "write `double(x)`, or `int(x)`"),
    ("parseInt", "write `int(x)`"),
    ("float", "write `double(x)`"),
    ("toJSON", "write `json_text(x)`"),
    ("toJson", "write `json_text(x)`"),
    ("fromJSON", "write `json_parse(text)`"),
    ("fromJson", "write `json_parse(text)`"),
    ("defined", "write `has(event.payload.field)`"),
    ("exists", "write `has(event.payload.field)`, or for a list `list.exists(x, condition)`"),
    ("isEmpty", "write `size(x) == 0`"),
    ("slice", "write `text.substring(0, 3)`"),
];

/// Filters of template languages, which follow a `|`.
const FILTERS: [(&str, &str); 14] = [
    ("capitalize", "no function does this"),
    ("default", "write `event.payload.?field.orValue(\"other\")`"),
    ("e", "nothing is escaped here; for JSON, write `json_text(x)`"),
    ("first", "write `list[0]`"),
    ("int", "write `int(x)`"),
    ("join", "write `list.join(\", \")`"),
    ("last", "write `list[size(list) - 1]`"),
    ("list", "remove it: values cannot be converted to a list"),
    ("replace", "write `text.replace(\"old\", \"new\")`"),
    ("round", "write `math.round(x)`"),
    ("safe", "remove it: nothing is escaped here"),
    ("string", "write `string(x)`"),
    ("tojson", "write `json_text(x)`"),
    ("trim", "write `text.trim()`"),
];

/// Adds the equivalent here to an error, if it is caused by syntax of another language.
pub(crate) fn explain(source: &str, error: &mut CompileError) {
    let place = error.span.clone();
    let written = source.get(place.clone()).unwrap_or("");
    let (before, after) = (source.get(..place.start).unwrap_or(""), source.get(place.end..).unwrap_or(""));
    let trimmed = source.trim_start();
    if trimmed.starts_with("${{") && written == "$" {
        "`${{` is not closed".clone_into(&mut error.message);
        error.hint = Some("end it with `}}`; in a condition, you can also leave out both".to_owned());
    } else if trimmed.starts_with("{{") {
        "`{{ … }}` is not an expression here".clone_into(&mut error.message);
        error.hint = Some("remove the braces in a condition; in a value, write `${{ … }}`".to_owned());
    } else if let Some(hint) = hint_of(written, before, after, &error.message) {
        error.hint = Some(hint);
    }
}

fn hint_of(written: &str, before: &str, after: &str, message: &str) -> Option<String> {
    let among = |table: &[(&str, &str)], name: &str| table.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
    if message.starts_with("unknown function") || message.starts_with("unknown method") {
        return among(&FUNCTIONS, written);
    }
    if before.ends_with('?') && written.starts_with('.') {
        return Some("put the question mark after the dot: `event.payload.?field.orValue(\"\")`".to_owned());
    }
    let last_word = before.trim_end().rsplit(|c: char| !is_word(c)).next().unwrap_or("");
    if written.starts_with(is_word) {
        if before.ends_with('-') && before.trim_end_matches('-').ends_with(is_word) {
            let first = before.trim_end_matches('-').rsplit(|c: char| !is_word(c)).next().unwrap_or("");
            return Some(format!("to read a field with a dash, write `[\"{first}-{written}\"]`; to subtract, put spaces around the `-`"));
        }
        if let Some(hint) = among(&WORDS, written) {
            return Some(hint);
        }
        if message.starts_with("not a number") {
            return Some(format!("write a duration as `duration(\"{written}\")`; put a string in quotes"));
        }
        let is_operand = before.trim_end().ends_with(['=', ',', '[', '(']) && !last_word.ends_with(is_word);
        return (message.starts_with("unknown name") && is_operand && !after.starts_with(['.', '[', '(']))
            .then(|| format!("put a string in quotes: `\"{written}\"`"));
    }
    match written {
        ";" => return Some("remove it: an expression does not end with a semicolon".to_owned()),
        ")" => return Some("remove it, or add the missing `(`".to_owned()),
        "," if last_word.ends_with(|c: char| c.is_ascii_digit()) => return Some("write a fraction with a point: `1.5`".to_owned()),
        "$" if !after.starts_with('{') => return Some("write the name without `$`: `event.payload.field`".to_owned()),
        "/" => return Some("write a pattern as a string: `text.matches(\"pattern\")`".to_owned()),
        _ => {}
    }
    if !written.starts_with(OPERATOR) {
        return None;
    }
    let left = before.len() - before.trim_end_matches(OPERATOR).len();
    let right = after.len() - after.trim_start_matches(OPERATOR).len();
    let run = format!("{}{written}{}", &before[before.len() - left..], &after[..right]);
    if run == "|"
        && let Some(hint) = filter(after)
    {
        return Some(hint);
    }
    among(&OPERATORS, &run)
}

/// Returns the equivalent of a template language's filter, or none if the text after a `|` is not one.
fn filter(after: &str) -> Option<String> {
    let after = after.trim_start();
    let name = &after[..after.find(|c: char| !is_word(c)).unwrap_or(after.len())];
    let ours = FILTERS.iter().chain(&FUNCTIONS).find(|(theirs, _)| *theirs == name)?.1;
    Some(format!("there are no filters; {ours}"))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

//! "Did you mean": the one of several known names that a misspelt one was probably meant to be.
//!
//! It does not say so; whoever refuses a name does.

/// Gives the known name that a misspelt one was probably meant to be; none where none is near.
///
/// A quarter of the letters may be wrong, and one more: `whem` is `when`, and `foo` is nothing that is not nearly `foo`. Whatever the length of
/// what was given, the cost is bounded by what is known: a name of kilobytes is compared with nothing.
pub fn nearest<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let given_chars = given.chars().count();
    let shorter = |name: &str| name.len().min(given.len());
    let distance_max = |name: &str| 1 + shorter(name) / 4;
    known
        .into_iter()
        // A difference in length is the least distance there is.
        .filter(|name| name.chars().count().abs_diff(given_chars) <= distance_max(name))
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance < shorter(name) && *distance <= distance_max(name))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_name_is_similar() {
        let known = ["when", "with", "trigger"];
        assert_eq!(nearest("whem", known), Some("when"));
        assert_eq!(nearest("triger", known), Some("trigger"));
        for strange in ["color", "", "w", "foo"] {
            assert_eq!(nearest(strange, known), None, "{strange}");
        }
    }
}

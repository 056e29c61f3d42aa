//! The ends of ids: ids of one chain begin alike, so their ends distinguish them.

/// The length of a whole id, in characters.
pub(crate) const WHOLE: usize = 36;

/// Returns the smallest number of trailing characters, at least `least`, that distinguishes all ids; the
/// whole length if no fewer do.
pub(crate) fn shortest_end<'a>(ids: impl Iterator<Item = &'a str>, least: usize) -> usize {
    /// The length of the part of an id after its last dash.
    const LAST_GROUP: usize = 12;
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let tells_apart = |characters: usize| {
        let mut ends: Vec<&str> = ids.iter().map(|id| end_of(id, characters)).collect();
        ends.sort_unstable();
        ends.windows(2).all(|pair| pair[0] != pair[1])
    };
    (least..=LAST_GROUP).find(|characters| tells_apart(*characters)).unwrap_or(WHOLE)
}

/// Returns the last characters of an id; the whole text if it is not an id.
pub(crate) fn end_of(id: &str, characters: usize) -> &str {
    if id.len() == WHOLE && id.is_ascii() { &id[WHOLE - characters.min(WHOLE)..] } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_end_grows_until_all_ids_differ() {
        let ids = ["01a206ce-21ac-884f-8000-0000000000ab", "01a206ce-21ac-884f-8000-0000000001ab", "01a206ce-21ac-884f-8000-0000000000cd"];
        assert_eq!(shortest_end(ids.into_iter(), 2), 3);
        assert_eq!(shortest_end(ids.into_iter(), 8), 8);
        assert_eq!(shortest_end([ids[0], ids[0]].into_iter(), 8), 8, "one id in two rows");
        let alike = ["01a206ce-21ac-884f-8000-0000000000ab", "01a206ce-21ac-884f-9000-0000000000ab"];
        assert_eq!(shortest_end(alike.into_iter(), 8), WHOLE);
        assert_eq!((end_of(ids[1], 4), end_of("-", 4)), ("01ab", "-"));
    }
}

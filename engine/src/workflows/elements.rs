//! The elements of a list, one by one: a list is parsed once for a step, not once for each of its items.

use std::ops::Range;

use bytes::Bytes;
use ensue_expression::Document;

/// The elements of a JSON list, each as its own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements {
    list: Bytes,
    places: Vec<Range<u32>>,
}

impl Elements {
    /// Splits a JSON list; anything else has no elements.
    pub fn of(list: Bytes) -> Self {
        let Ok(document) = Document::parse(list) else { return Self::default() };
        let text = document.root().raw();
        let begin = text.as_ptr().addr();
        let place = |raw: &str| {
            let from = u32::try_from(raw.as_ptr().addr() - begin).ok()?;
            Some(from..from + u32::try_from(raw.len()).ok()?)
        };
        // Copied, because the document holds more than its text.
        let list = Bytes::copy_from_slice(text.as_bytes());
        Self { places: document.root().items().map_while(|element| place(element.raw())).collect(), list }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns an element, counted from 0.
    pub fn get(&self, index: usize) -> Option<Document> {
        let place = self.places.get(index)?;
        Document::parse(self.list.slice(place.start as usize..place.end as usize)).ok()
    }

    /// Returns how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.list.len() + self.places.len() * size_of::<Range<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_split_into_elements_as_written() {
        let elements = Elements::of(Bytes::from_static(br#" [1, {"a": [2]},"x"] "#));
        let texts: Vec<String> = (0..elements.len()).map(|at| elements.get(at).unwrap().root().raw().to_owned()).collect();
        assert_eq!(texts, ["1", r#"{"a": [2]}"#, "\"x\""]);
        assert!(elements.get(3).is_none() && Elements::of(Bytes::from_static(b"{}")).is_empty());
    }
}

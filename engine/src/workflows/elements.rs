//! The items of a step, each by itself: a list is taken apart once, not for each of its items again.

use bytes::Bytes;
use ensue_expression::Document;

/// The elements of a JSON list, each as its own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements(Vec<Bytes>);

impl Elements {
    /// Takes a JSON list apart; what is none has no elements.
    pub fn of(list: Bytes) -> Self {
        let Ok(document) = Document::parse(list) else { return Self::default() };
        let bytes = document.bytes();
        Self(document.root().items().map(|element| bytes.slice_ref(element.raw().as_bytes())).collect())
    }

    /// Gives how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives an element, from 0.
    pub fn get(&self, index: usize) -> Option<Document> {
        self.0.get(index).and_then(|element| Document::parse(element.clone()).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_taken_apart_as_it_is_written() {
        let elements = Elements::of(Bytes::from_static(br#" [1, {"a": [2]},"x"] "#));
        let texts: Vec<String> = (0..elements.len()).map(|at| elements.get(at).unwrap().root().raw().to_owned()).collect();
        assert_eq!(texts, ["1", r#"{"a": [2]}"#, "\"x\""]);
        assert!(elements.get(3).is_none() && Elements::of(Bytes::from_static(b"{}")).is_empty());
    }
}

//! The bodies that the core may read.

use crate::record::{Body, BodyHandle, Encoding};
use crate::workflows::elements::Elements;
use bytes::Bytes;
use ensue_expression::Document;
use std::sync::Arc;

/// The bodies in memory.
pub trait Bodies {
    /// Returns the decoded bytes, or `None` if they must be fetched first.
    fn plain(&self, body: &BodyHandle) -> Option<Bytes>;

    /// Returns a body as a value, or as a text if it is not JSON. Returns `None` if it must be fetched first.
    fn document(&self, body: &BodyHandle) -> Option<Document> {
        self.plain(body).as_ref().map(document_of)
    }

    /// Returns the elements of a body that is a list, or `None` if it must be fetched first.
    fn elements(&self, body: &BodyHandle) -> Option<Arc<Elements>> {
        self.plain(body).map(|plain| Arc::new(Elements::of(plain)))
    }

    /// Returns the decoded bytes of a body that was just accepted and is stored in encoded form, or `None` if
    /// it must be fetched.
    fn decoded_bytes(&self, body: &Body) -> Option<Bytes> {
        match body.encoding {
            Encoding::Raw | Encoding::Json => body.content.clone(),
            Encoding::JsonZstd | Encoding::JsonZstdD1 => None,
        }
    }
}

/// Parses a body; text that is not JSON becomes a string.
pub(crate) fn document_of(plain: &Bytes) -> Document {
    Document::parse(plain.clone()).unwrap_or_else(|_| Document::from_value(&String::from_utf8_lossy(plain).into()))
}

//! The bodies that the core may read.

use crate::record::{Body, BodyHandle, Encoding};
use crate::workflows::elements::Elements;
use bytes::Bytes;
use ensue_expression::Document;
use std::sync::Arc;

/// The bodies at hand.
pub trait Bodies {
    /// Gives the plain bytes; none where they must be fetched first.
    fn plain(&self, body: &BodyHandle) -> Option<Bytes>;

    /// Gives a body as a value, and as a text what is no JSON; none where it must be fetched first.
    fn document(&self, body: &BodyHandle) -> Option<Document> {
        self.plain(body).as_ref().map(document_of)
    }

    /// Gives the elements of a body that is a list; none where it must be fetched first.
    fn elements(&self, body: &BodyHandle) -> Option<Arc<Elements>> {
        self.plain(body).map(|plain| Arc::new(Elements::of(plain)))
    }

    /// Gives the plain bytes of a body that is kept in another form, for one that was just taken; none where it has to be fetched.
    fn decoded(&self, body: &Body) -> Option<Bytes> {
        match body.encoding {
            Encoding::Raw | Encoding::Json => body.content.clone(),
            Encoding::JsonZstd => None,
        }
    }
}

/// Reads a body; a text that is no JSON is a string.
pub(crate) fn document_of(plain: &Bytes) -> Document {
    Document::parse(plain.clone()).unwrap_or_else(|_| Document::from_value(&String::from_utf8_lossy(plain).into()))
}

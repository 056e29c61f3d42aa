//! The stored form of bodies: JSON is compressed, everything else stays as it came.
//!
//! The digest is always that of the plain bytes and never changes here; `verify` compares it.

use std::cell::RefCell;
use std::sync::LazyLock;

use bytes::Bytes;
use ensue_engine::record::{Body, Encoding};
use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// The size of the smallest body that is compressed, in bytes.
pub const COMPRESS_BYTES_MIN: usize = 256;

/// The size of the largest body that is compressed, in bytes, and therefore the maximum size of a
/// decompressed one.
pub const PLAIN_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The fastest level. It reduces a webhook's JSON to a seventh in a hundredth of a millisecond.
const LEVEL: i32 = 1;

/// The dictionary of [`Encoding::JsonZstdD1`], trained with deliveries of GitHub. A log may hold bodies that
/// only it can expand, so it never changes: a better one is another encoding.
const BODIES_1: &[u8] = include_bytes!("../dictionaries/bodies-1.zdict");

static TO_COMPRESS: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(BODIES_1, LEVEL));
static TO_EXPAND: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(BODIES_1));

/// Why the plain content of a body is not available.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// It is sealed, and its key is not available.
    #[error("the body is sealed with the data key `{0}`; open it first")]
    Sealed(String),
    /// It is not the zstd frame that was written.
    #[error("the body's content is damaged: {0}")]
    Damaged(String),
    /// It has another size than it says.
    #[error("the body's content is damaged: it has {found} bytes, but {declared} were written")]
    Size {
        /// The declared size.
        declared: u64,
        /// The actual size.
        found: u64,
    },
}

thread_local! {
    // A new context costs three times as much as compressing a webhook.
    static CONTEXTS: RefCell<Option<Contexts>> = const { RefCell::new(None) };
    static CONTEXTS_OF_BODIES: RefCell<Option<Contexts>> = const { RefCell::new(None) };
}

type Contexts = (Compressor<'static>, Decompressor<'static>);

/// How JSON is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Without a dictionary, as release 0.1 did.
    Zstd,
    /// With the first dictionary of bodies.
    ZstdD1,
}

impl Compression {
    fn encoding(self) -> Encoding {
        match self {
            Self::Zstd => Encoding::JsonZstd,
            Self::ZstdD1 => Encoding::JsonZstdD1,
        }
    }

    /// Returns how a body is compressed, or `None` if it is not.
    fn of(encoding: Encoding) -> Option<Self> {
        match encoding {
            Encoding::Raw | Encoding::Json => None,
            Encoding::JsonZstd => Some(Self::Zstd),
            Encoding::JsonZstdD1 => Some(Self::ZstdD1),
        }
    }

    fn with<T>(self, job: impl FnOnce(&mut Compressor<'static>, &mut Decompressor<'static>) -> std::io::Result<T>) -> std::io::Result<T> {
        match self {
            Self::Zstd => with_contexts(job),
            Self::ZstdD1 => with_dictionary(job),
        }
    }
}

/// Compresses a plain JSON body if that makes it smaller. Returns every other body unchanged.
#[must_use]
pub fn compress(body: Body) -> Body {
    compress_by(body, Compression::ZstdD1)
}

/// Returns a stored body as it is stored by `compression`. A body that was not compressed stays as it is.
pub(crate) fn recode(body: Body, compression: Compression) -> Result<Body, EncodingError> {
    match Compression::of(body.encoding) {
        Some(other) if other != compression => {}
        Some(_) | None => return Ok(body),
    }
    match plain(&body)? {
        Some(plain) => Ok(compress_by(Body { encoding: Encoding::Json, content: Some(plain), ..body }, compression)),
        // Its content was erased.
        None => Ok(Body { encoding: compression.encoding(), ..body }),
    }
}

fn compress_by(body: Body, compression: Compression) -> Body {
    let Some(plain) = body.content.as_ref().filter(|_| body.encoding == Encoding::Json && body.key.is_none()) else {
        return body;
    };
    if plain.len() < COMPRESS_BYTES_MIN || plain.len() as u64 > PLAIN_BYTES_MAX {
        return body;
    }
    // A compression error is not a reason to lose a body: it is kept uncompressed.
    match compression.with(|compressor, _| compressor.compress(plain)) {
        Ok(small) if small.len() < plain.len() => Body { encoding: compression.encoding(), content: Some(Bytes::from(small)), ..body },
        Ok(_) | Err(_) => body,
    }
}

/// Returns the decoded bytes of a body, or `None` if its content was erased or not requested.
pub fn plain(body: &Body) -> Result<Option<Bytes>, EncodingError> {
    let Some(content) = &body.content else { return Ok(None) };
    if let Some(key) = &body.key {
        return Err(EncodingError::Sealed(key.clone()));
    }
    let plain = match Compression::of(body.encoding) {
        None => content.clone(),
        Some(compression) => {
            let capacity = usize::try_from(body.bytes.min(PLAIN_BYTES_MAX)).unwrap_or(usize::MAX);
            let plain = compression.with(|_, decompressor| decompressor.decompress(content, capacity));
            Bytes::from(plain.map_err(|error| EncodingError::Damaged(error.to_string()))?)
        }
    };
    if plain.len() as u64 != body.bytes {
        return Err(EncodingError::Size { declared: body.bytes, found: plain.len() as u64 });
    }
    Ok(Some(plain))
}

/// Compresses any bytes, even if the result is larger.
pub(crate) fn squeeze(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    with_contexts(|compressor, _| compressor.compress(plain))
}

/// Returns what [`squeeze`] compressed, up to [`PLAIN_BYTES_MAX`].
pub(crate) fn expand(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    with_contexts(|_, decompressor| decompressor.decompress(compressed, PLAIN_BYTES_MAX as usize))
}

fn with_contexts<T>(job: impl FnOnce(&mut Compressor<'static>, &mut Decompressor<'static>) -> std::io::Result<T>) -> std::io::Result<T> {
    CONTEXTS.with_borrow_mut(|slot| {
        let contexts = match slot {
            Some(contexts) => contexts,
            None => slot.insert((Compressor::new(LEVEL)?, Decompressor::new()?)),
        };
        job(&mut contexts.0, &mut contexts.1)
    })
}

/// Does a job with the dictionary of bodies.
fn with_dictionary<T>(job: impl FnOnce(&mut Compressor<'static>, &mut Decompressor<'static>) -> std::io::Result<T>) -> std::io::Result<T> {
    CONTEXTS_OF_BODIES.with_borrow_mut(|slot| {
        let contexts = match slot {
            Some(contexts) => contexts,
            None => slot.insert((Compressor::with_prepared_dictionary(&TO_COMPRESS)?, Decompressor::with_prepared_dictionary(&TO_EXPAND)?)),
        };
        job(&mut contexts.0, &mut contexts.1)
    })
}

#[cfg(test)]
mod tests {
    use ensue_engine::record::Digest;
    use proptest::prelude::*;

    use super::*;

    fn long_json() -> Bytes {
        Bytes::from(format!("[{}]", vec![r#"{"name":"ada"}"#; 100].join(",")))
    }

    #[test]
    fn compressed_body_is_smaller_with_the_same_digest_and_size() {
        let body = Body::json(long_json());
        let small = compress(body.clone());
        assert_eq!((small.encoding, small.digest, small.bytes), (Encoding::JsonZstdD1, body.digest, body.bytes));
        assert!(small.content.as_ref().unwrap().len() * 10 < long_json().len());
        assert_eq!(plain(&small).unwrap().unwrap(), long_json());
    }

    #[test]
    fn body_compressed_without_a_dictionary_is_expanded() {
        let body = Body::json(long_json());
        let small = squeeze(&long_json()).unwrap();
        let body = Body { encoding: Encoding::JsonZstd, content: Some(small.into()), ..body };
        assert_eq!(plain(&body).unwrap().unwrap(), long_json());
    }

    #[test]
    fn recoded_body_has_the_other_encoding_and_the_same_plain_bytes() {
        let new = compress(Body::json(long_json()));
        let old = recode(new.clone(), Compression::Zstd).unwrap();
        assert_eq!((old.encoding, old.digest, old.bytes), (Encoding::JsonZstd, new.digest, new.bytes));
        assert_eq!(plain(&old).unwrap().unwrap(), long_json());
        let back = recode(old, Compression::ZstdD1).unwrap();
        assert_eq!((back.encoding, plain(&back).unwrap().unwrap()), (Encoding::JsonZstdD1, long_json()));
    }

    #[test]
    fn erased_body_is_recoded_without_content() {
        let erased = Body { content: None, ..compress(Body::json(long_json())) };
        let old = recode(erased.clone(), Compression::Zstd).unwrap();
        assert_eq!(old, Body { encoding: Encoding::JsonZstd, ..erased });
    }

    #[test]
    fn sealed_body_is_recoded_only_if_its_encoding_stays() {
        let sealed = Body { key: Some("k1".into()), ..compress(Body::json(long_json())) };
        assert_eq!(recode(sealed.clone(), Compression::ZstdD1).unwrap(), sealed);
        assert!(matches!(recode(sealed, Compression::Zstd), Err(EncodingError::Sealed(_))));
        for body in [Body::raw(long_json()), Body::json("{}")] {
            assert_eq!(recode(body.clone(), Compression::Zstd).unwrap(), body);
        }
    }

    #[test]
    fn dictionary_of_stored_bodies_never_changes() {
        let digest = Digest::of(BODIES_1).to_string();
        assert_eq!(
            digest, "c7b514f4d187a17c78c50fcefcee80ba5dcc1722716df67a9067c9207ed47dd2",
            "logs hold bodies that only the released dictionary expands"
        );
    }

    #[test]
    fn compressing_twice_changes_nothing() {
        let once = compress(Body::json(long_json()));
        assert_eq!(compress(once.clone()), once);
    }

    #[test]
    fn small_raw_and_incompressible_bodies_are_not_compressed() {
        let noise: Vec<u8> = (0..300u32).map(|i| Digest::of(&i.to_le_bytes()).as_bytes()[0]).collect();
        for body in [Body::json("{}"), Body::raw(long_json()), Body::json(noise), Body::json("")] {
            assert_eq!(compress(body.clone()), body);
        }
    }

    #[test]
    fn erased_body_has_no_plain_bytes() {
        let erased = Body { content: None, ..Body::json("{}") };
        assert_eq!(plain(&erased).unwrap(), None);
        assert_eq!(compress(erased.clone()), erased);
    }

    #[test]
    fn body_never_expands_beyond_its_declared_size() {
        let bomb = Body { bytes: 10, ..compress(Body::json(long_json())) };
        assert!(matches!(plain(&bomb), Err(EncodingError::Damaged(_))));
    }

    #[test]
    fn body_shorter_than_declared_is_damaged() {
        let cut = Body { bytes: 5_000_000, ..compress(Body::json(long_json())) };
        assert!(matches!(plain(&cut), Err(EncodingError::Size { declared: 5_000_000, .. })));
        let cut = Body { bytes: 3, ..Body::json("{}") };
        assert!(matches!(plain(&cut), Err(EncodingError::Size { declared: 3, found: 2 })));
    }

    #[test]
    fn absurd_declared_size_is_not_allocated() {
        let absurd = Body { bytes: u64::MAX, ..compress(Body::json(long_json())) };
        assert!(plain(&absurd).is_err());
    }

    #[test]
    fn sealed_body_is_not_decoded() {
        let sealed = Body { key: Some("k1".into()), ..Body::json(long_json()) };
        assert_eq!(compress(sealed.clone()), sealed);
        assert!(matches!(plain(&sealed), Err(EncodingError::Sealed(_))));
    }

    proptest! {
        #[test]
        fn compressed_body_expands_to_the_original(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let body = Body::json(bytes.clone());
            prop_assert_eq!(plain(&compress(body)).unwrap().unwrap(), bytes);
        }

        #[test]
        fn flipped_bit_is_an_error_or_shows_in_the_digest(at in 0usize..100_000) {
            let mut body = compress(Body::json(long_json()));
            let mut content = body.content.take().unwrap().to_vec();
            let bit = at % (content.len() * 8);
            content[bit / 8] ^= 1 << (bit % 8);
            body.content = Some(content.into());
            if let Ok(Some(plain)) = plain(&body) {
                // zstd has bits without meaning; any change that affects the bytes must be detected.
                prop_assert!(Digest::of(&plain) != body.digest || plain == long_json());
            }
        }
    }
}

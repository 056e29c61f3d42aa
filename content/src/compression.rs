//! The header `Content-Encoding`: bodies without their compression, within limits.

use std::io::{self, BufRead as _, Read};

use bytes::Bytes;
use thiserror::Error;

/// The codings that are read, as an error lists them.
pub const CODINGS: &str = "`gzip`, `deflate`, `br` and `zstd`";

/// How many codings a body may have one over the other.
const CODINGS_MAX: usize = 4;
/// The largest window of a zstd frame, as the power of two of its bytes (RFC 9659).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The buffer of the brotli decoder, in bytes.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// How large a body may be when it is decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In bytes.
    pub bytes_max: usize,
    /// As a multiple of its compressed size.
    pub growth_max: usize,
}

impl Limit {
    /// Returns the largest size in bytes of a body that has `compressed` bytes.
    fn of(self, compressed: usize) -> usize {
        self.bytes_max.min(compressed.saturating_mul(self.growth_max))
    }
}

/// Why a body cannot be decompressed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecompressError {
    /// A coding that is not known.
    #[error("it is compressed as `{0}`; known are {CODINGS}")]
    Unknown(String),
    /// More codings than are read.
    #[error("it is compressed more than {CODINGS_MAX} times")]
    TooOften,
    /// It is larger than its [`Limit`].
    #[error("it is larger than {bytes_max} bytes when it is decompressed")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It is not what the coding says.
    #[error("it is not valid `{coding}`: {why}")]
    Damaged {
        /// The coding.
        coding: String,
        /// The error.
        why: String,
    },
}

/// Returns a body without its compression. `codings` is the value of `Content-Encoding`: names in the order in which
/// they were applied. A body without codings is returned as it is.
///
/// `deflate` is read with the header that RFC 9110 §8.4.1.2 demands, and without it, as many servers send it.
///
/// # Errors
/// If a coding is not known, the body is not what it says, or is larger than its limit.
pub fn decompress(body: Bytes, codings: &str, limit: Limit) -> Result<Bytes, DecompressError> {
    let names: Vec<String> = codings.split(',').map(|coding| coding.trim().to_ascii_lowercase()).collect();
    let codings: Vec<&String> = names.iter().filter(|coding| !matches!(coding.as_str(), "" | "identity")).collect();
    if codings.len() > CODINGS_MAX {
        return Err(DecompressError::TooOften);
    }
    let bytes_max = limit.of(body.len());
    // An empty body of an answer to HEAD, or of a 204, names the coding that it would have.
    if body.is_empty() {
        return Ok(body);
    }
    codings.into_iter().rev().try_fold(body, |body, coding| undo(&body, coding, bytes_max))
}

fn undo(body: &Bytes, coding: &str, bytes_max: usize) -> Result<Bytes, DecompressError> {
    let read = match coding {
        "gzip" | "x-gzip" => read_up_to(flate2::bufread::MultiGzDecoder::new(&body[..]), bytes_max),
        "deflate" if has_zlib_header(body) => read_up_to(flate2::bufread::ZlibDecoder::new(&body[..]), bytes_max),
        "deflate" => read_up_to(flate2::bufread::DeflateDecoder::new(&body[..]), bytes_max),
        "br" => read_up_to(brotli::Decompressor::new(&body[..], BROTLI_BUFFER_BYTES), bytes_max),
        "zstd" => zstd_reader(body).and_then(|reader| read_up_to(reader, bytes_max)),
        _ => return Err(DecompressError::Unknown(coding.chars().filter(|one| !one.is_control()).take(80).collect())),
    };
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(DecompressError::TooLarge { bytes_max }),
        Err(why) => Err(DecompressError::Damaged { coding: coding.to_owned(), why: why.to_string() }),
    }
}

/// Returns true if bytes begin as RFC 1950 §2.2 says: the method 8, and a check that makes both bytes a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0F == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn zstd_reader(body: &[u8]) -> io::Result<impl Read> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(body)?;
    reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(reader)
}

/// Reads everything, or returns `None` if it is more than `bytes_max`.
fn read_up_to(reader: impl Read, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    let mut reader = io::BufReader::new(reader.take(bytes_max as u64 + 1));
    while !reader.fill_buf()?.is_empty() {
        let read = reader.buffer().len();
        bytes.extend_from_slice(reader.buffer());
        reader.consume(read);
    }
    Ok((bytes.len() <= bytes_max).then(|| bytes.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit { bytes_max: 1 << 20, growth_max: 1_000 };

    fn compress(bytes: &[u8], coding: &str) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            "deflate" => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            "raw" => {
                let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            "br" => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 4, 20).write_all(bytes).unwrap();
                out
            }
            _ => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    fn read(body: &[u8], codings: &str) -> Result<Bytes, DecompressError> {
        decompress(Bytes::copy_from_slice(body), codings, LIMIT)
    }

    #[test]
    fn body_without_a_coding_is_returned_as_it_is() {
        for codings in ["", "identity", " , identity"] {
            assert_eq!(read(b"\xff", codings).unwrap(), &b"\xff"[..]);
        }
    }

    #[test]
    fn several_codings_are_undone_in_the_reverse_order() {
        let body = compress(&compress(b"{}", "gzip"), "br");
        assert_eq!(read(&body, "gzip, BR").unwrap(), &b"{}"[..]);
        assert_eq!(read(b"", "gzip, gzip, gzip, gzip, gzip"), Err(DecompressError::TooOften));
    }

    #[test]
    fn empty_body_is_empty_whatever_its_coding() {
        assert_eq!(read(b"", "gzip").unwrap(), &b""[..]);
    }

    #[test]
    fn unknown_coding_is_named() {
        assert_eq!(read(b"x", "compress"), Err(DecompressError::Unknown("compress".into())));
    }

    #[test]
    fn body_that_grows_beyond_its_limit_is_refused() {
        let zeros = vec![0; 64 << 10];
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let body = compress(&zeros, coding);
            let limit = |bytes_max| Limit { bytes_max, growth_max: usize::MAX };
            assert_eq!(decompress(body.clone().into(), coding, limit(64 << 10)).unwrap().len(), 64 << 10, "{coding}");
            assert_eq!(
                decompress(body.clone().into(), coding, limit((64 << 10) - 1)),
                Err(DecompressError::TooLarge { bytes_max: (64 << 10) - 1 }),
                "{coding}"
            );
            let growth = Limit { bytes_max: 1 << 20, growth_max: 10 };
            assert_eq!(decompress(body.clone().into(), coding, growth), Err(DecompressError::TooLarge { bytes_max: 10 * body.len() }));
        }
    }

    #[test]
    fn zstd_may_look_back_eight_mebibytes_and_no_further() {
        for (window_log, fits) in [(ZSTD_WINDOW_LOG_MAX, true), (ZSTD_WINDOW_LOG_MAX + 1, false)] {
            let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            writer.window_log(window_log).unwrap();
            // Without an end in sight, the window is as large as it may become.
            writer.write_all(b"[1,").unwrap();
            writer.flush().unwrap();
            writer.write_all(b"2]").unwrap();
            let result = read(&writer.finish().unwrap(), "zstd");
            assert_eq!(result.is_ok(), fits, "{window_log}: {result:?}");
            assert!(fits || matches!(result, Err(DecompressError::Damaged { .. })), "{result:?}");
        }
    }

    proptest! {
        #[test]
        fn compressed_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), coding in 0..5usize) {
            let coding = ["gzip", "deflate", "raw", "br", "zstd"][coding];
            let body = compress(&bytes, coding);
            prop_assert_eq!(&read(&body, if coding == "raw" { "deflate" } else { coding }).unwrap()[..], &bytes[..]);
        }

        #[test]
        fn bytes_that_are_cut_are_an_error_and_never_fewer_bytes(bytes in proptest::collection::vec(any::<u8>(), 1..500), coding in 0..4usize, cut in 0.0..1.0) {
            let coding = ["gzip", "deflate", "br", "zstd"][coding];
            let body = compress(&bytes, coding);
            let cut = 1 + (cut * (body.len() - 1) as f64) as usize;
            if cut < body.len() {
                prop_assert!(read(&body[..cut], coding).is_err(), "{} of {} bytes of {}", cut, body.len(), coding);
            }
        }
    }
}

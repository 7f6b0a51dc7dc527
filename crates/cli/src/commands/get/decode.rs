//! Bodies that came compressed, decompressed piece by piece as they come.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

/// Bytes that the brotli decoder holds at once.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// A place for a body.
pub(super) trait Place: Write {
    /// The body has ended: an error when it was cut.
    fn end(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// What a body is written to as it is.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Place for Plain<W> {}

struct Gzip<W: Write>(MultiGzDecoder<W>);
struct Deflate<W: Write>(ZlibDecoder<W>);
struct Brotli<W: Write>(DecompressorWriter<W>);

macro_rules! decodes {
    ($decoder:ident, $end:expr) => {
        impl<W: Write> Write for $decoder<W> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.0.flush()
            }
        }

        impl<W: Write> Place for $decoder<W> {
            fn end(&mut self) -> io::Result<()> {
                $end(&mut self.0)?;
                self.0.get_mut().flush()
            }
        }
    };
}

decodes!(Gzip, MultiGzDecoder::try_finish);
decodes!(Deflate, ZlibDecoder::try_finish);
decodes!(Brotli, DecompressorWriter::close);

/// Why a body cannot be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownCoding(pub(super) String);

/// Puts what undoes the body's coding before its place; gives the place back when it cannot.
pub(super) fn decoding<'w, W: Write + 'w>(
    fields: &HeaderMap,
    place: W,
) -> Result<Box<dyn Place + 'w>, (UnknownCoding, W)> {
    let mut codings = fields.get_all(header::CONTENT_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => String::new(),
        (Some(coding), None) => String::from_utf8_lossy(coding.as_bytes()).into_owned(),
        (Some(_), Some(_)) => "several codings".to_owned(),
    };
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Box::new(Plain(place))),
        "gzip" | "x-gzip" => Ok(Box::new(Gzip(MultiGzDecoder::new(place)))),
        "deflate" => Ok(Box::new(Deflate(ZlibDecoder::new(place)))),
        "br" => {
            let decoder = DecompressorWriter::new(place, BROTLI_BUFFER_BYTES);
            Ok(Box::new(Brotli(decoder)))
        }
        _ => Err((UnknownCoding(coding), place)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use http::HeaderValue;

    /// `twice twice twice` by the reference encoder of brotli.
    const BROTLI: &[u8] = &[
        0x1b, 0x10, 0x00, 0xf8, 0x8d, 0x54, 0xb5, 0xbf, 0x06, 0x19, 0xa3, 0xbb, 0x53, 0x65, 0x69,
        0x01, 0x4f, 0x1c, 0x60, 0x17,
    ];
    const TEXT: &[u8] = b"twice twice twice";

    fn undone(coding: &'static str, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut fields = HeaderMap::new();
        fields.insert("content-encoding", HeaderValue::from_static(coding));
        let mut out = Vec::new();
        let mut place = decoding(&fields, &mut out).unwrap();
        for byte in body {
            place.write_all(&[*byte])?;
        }
        place.end()?;
        drop(place);
        Ok(out)
    }

    fn gzip() -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(TEXT).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib() -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(TEXT).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_coding_that_is_asked_for_is_undone() {
        assert_eq!(undone("gzip", &gzip()).unwrap(), TEXT);
        assert_eq!(undone("X-GZIP", &gzip()).unwrap(), TEXT);
        assert_eq!(undone("deflate", &zlib()).unwrap(), TEXT);
        assert_eq!(undone("br", BROTLI).unwrap(), TEXT);
        assert_eq!(undone("identity", TEXT).unwrap(), TEXT);
    }

    #[test]
    fn cut_and_false_bodies_are_errors() {
        for (coding, body) in [
            ("gzip", gzip()),
            ("deflate", zlib()),
            ("br", BROTLI.to_vec()),
        ] {
            assert!(undone(coding, &body[..body.len() - 3]).is_err(), "{coding}");
        }
        for coding in ["gzip", "deflate", "br"] {
            assert!(undone(coding, &[0xff; 64]).is_err(), "{coding}");
        }
    }

    #[test]
    fn unknown_codings_are_named() {
        let mut fields = HeaderMap::new();
        fields.insert("content-encoding", HeaderValue::from_static("zstd"));
        let told = decoding(&fields, Vec::new())
            .err()
            .map(|(coding, _)| coding);
        assert_eq!(told, Some(UnknownCoding("zstd".to_owned())));
        fields.append("content-encoding", HeaderValue::from_static("gzip"));
        assert!(decoding(&fields, Vec::new()).is_err());
    }
}

//! Content codings (RFC 9110, 8.4.1): those in which a page can be read and written again. Pure.

use std::io::{self, Write};

use brotli::{CompressorWriter, DecompressorWriter};
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
}

/// For a client on this machine; less time is worth more than fewer bytes.
const BROTLI_QUALITY: u32 = 1;
const BROTLI_WINDOW: u32 = 20;
const BUFFER: usize = 4096;

impl Coding {
    /// The coding with this name in `Content-Encoding`; `None`: it can't be read here.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase();
        match &*name {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            _ => None,
        }
    }
}

/// Those of the codings that `Accept-Encoding` names which can be read here; `identity` if none is left.
pub(super) fn accepted(names: &str) -> String {
    let is_known = |one: &&str| {
        let name = one.split(';').next().unwrap_or_default();
        !name.trim().is_empty() && Coding::named(name).is_some()
    };
    let known: Vec<&str> = names.split(',').filter(is_known).map(str::trim).collect();
    if known.is_empty() {
        "identity".into()
    } else {
        known.join(", ")
    }
}

/// Decodes into `W`.
pub(super) enum Decoder<W: Write> {
    Identity(W),
    Gzip(Box<MultiGzDecoder<W>>),
    Brotli(Box<DecompressorWriter<W>>),
}

impl<W: Write> Decoder<W> {
    pub(super) fn new(coding: Coding, to: W) -> Self {
        match coding {
            Coding::Identity => Self::Identity(to),
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(to))),
            Coding::Brotli => Self::Brotli(Box::new(DecompressorWriter::new(to, BUFFER))),
        }
    }

    /// What decoded bytes are written to.
    pub(super) fn get_mut(&mut self) -> &mut W {
        match self {
            Self::Identity(to) => to,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
        }
    }

    /// Has everything written that can be decoded so far.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(to) => to.write_all(bytes),
            Self::Gzip(decoder) => {
                decoder.write_all(bytes)?;
                decoder.flush()
            }
            Self::Brotli(decoder) => {
                decoder.write_all(bytes)?;
                decoder.flush()
            }
        }
    }

    /// There is nothing more; an error if the bytes end too early.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Identity(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
        }
    }
}

/// Encodes into a buffer.
pub(super) enum Encoder {
    Identity(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self::Identity(Vec::new()),
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::fast()))),
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(to) => to.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
        }
    }

    /// What a client can decode of all that was written.
    pub(super) fn take(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity(to) => Ok(std::mem::take(to)),
            Self::Gzip(encoder) => {
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Brotli(encoder) => {
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// The end.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity(to) => Ok(to),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn of_any_codings_those_are_left_that_can_be_read() -> Target {
        let corpus = [
            "gzip, deflate, br;q=0.9, zstd",
            "*;q=0, identity ; q=1",
            "X-GZip,,",
        ];
        Target::text(&corpus, 2, |names| {
            let left = accepted(names);
            assert_eq!(accepted(&left), left);
            let name = |one: &str| Coding::named(one.split(';').next().unwrap_or_default());
            assert!(left.split(',').all(|one| name(one).is_some()));
        })
    }
}

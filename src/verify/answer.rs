//! An answer over HTTP/1, as it comes in: enough of RFC 9112 to tell a whole one from one that was
//! cut. Pure.

use httparse::{ParserConfig, Status};

/// More than this is no head.
const LONGEST_HEAD: usize = 256 * 1024;
/// So are more fields than this.
const MOST_FIELDS: usize = 256;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The head; later the beginning of a chunk.
    bytes: Vec<u8>,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    rest: Rest,
}

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// So many bytes.
    Bytes(u64),
    /// Chunks, and so many bytes of one, with the end of its line.
    Chunks(u64),
    /// Everything until the connection ends.
    All,
}

/// What is known of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// There is more to come.
    Partial,
    /// It is whole, with this status.
    Whole(u16),
    /// It is TLS.
    Tls,
    /// It is something else.
    NoHttp,
}

impl Reader {
    /// Takes in what came.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Known {
        self.bytes.extend_from_slice(bytes);
        loop {
            let Some(Head { status, rest }) = &mut self.head else {
                match self.read_head() {
                    Some(Known::Partial) => continue,
                    Some(known) => return known,
                    None => return Known::Partial,
                }
            };
            let status = *status;
            match rest {
                Rest::All => {
                    self.bytes.clear();
                    return Known::Partial;
                }
                Rest::Bytes(left) => {
                    skip(&mut self.bytes, left);
                    return whole_if(*left == 0, status);
                }
                Rest::Chunks(left) => {
                    skip(&mut self.bytes, left);
                    if *left > 0 {
                        return Known::Partial;
                    }
                    match chunk(&mut self.bytes) {
                        Some(Ok(0)) => *rest = Rest::Bytes(0),
                        Some(Ok(size)) => *left = size.saturating_add(2),
                        Some(Err(())) => return Known::NoHttp,
                        None => return Known::Partial,
                    }
                }
            }
        }
    }

    /// The connection has ended in good order.
    pub(super) fn end(&self) -> Known {
        match self.head {
            Some(Head {
                status,
                rest: Rest::All,
            }) => Known::Whole(status),
            _ => Known::Partial,
        }
    }

    /// Reads the head; nothing if it is not there yet, `Partial` if there is one now, or one less.
    fn read_head(&mut self) -> Option<Known> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = ParserConfig::default()
            .ignore_invalid_headers_in_responses(true)
            .parse_response(&mut head, &self.bytes);
        let (end, status, rest) = match (parsed, head.code) {
            (Ok(Status::Partial), _) if self.bytes.len() <= LONGEST_HEAD => return None,
            (Ok(Status::Complete(end)), Some(status)) => (end, status, Rest::of(&head)),
            _ if is_tls(&self.bytes) => return Some(Known::Tls),
            _ => return Some(Known::NoHttp),
        };
        let Some(rest) = rest else {
            return Some(Known::NoHttp);
        };
        self.bytes.drain(..end);
        // What is said in between is no answer yet; 101 is the last thing said in HTTP.
        if !(100..200).contains(&status) || status == 101 {
            self.head = Some(Head { status, rest });
        }
        Some(Known::Partial)
    }
}

impl Rest {
    /// What follows this head; nothing if it contradicts itself.
    fn of(head: &httparse::Response) -> Option<Self> {
        if matches!(head.code, Some(101 | 204 | 304)) {
            return Some(Self::Bytes(0));
        }
        let mut rest = Self::All;
        for field in &*head.headers {
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Some(Self::Chunks(0));
            }
            if field.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(field.value).ok()?;
                rest = Self::Bytes(value.trim().parse().ok()?);
            }
        }
        Some(rest)
    }
}

/// A record of TLS: an alert or a handshake.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, ..])
}

fn whole_if(whole: bool, status: u16) -> Known {
    if whole {
        Known::Whole(status)
    } else {
        Known::Partial
    }
}

/// Takes bytes off, as many as are there and as are left.
fn skip(bytes: &mut Vec<u8>, left: &mut u64) {
    let count = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    bytes.drain(..count);
    *left -= count as u64;
}

/// The size of the next chunk, if its line is there. What may follow the last one is not waited for.
fn chunk(bytes: &mut Vec<u8>) -> Option<Result<u64, ()>> {
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((end, size))) => {
            bytes.drain(..end);
            Some(Ok(size))
        }
        Ok(Status::Partial) => None,
        Err(_) => Some(Err(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However it is cut into pieces, it is the same answer.
    #[track_caller]
    fn is(text: &str, known: Known, at_end: Known) {
        for size in 1..=text.len() {
            let mut reader = Reader::default();
            let mut last = Known::Partial;
            for piece in text.as_bytes().chunks(size) {
                last = reader.take(piece);
                if last != Known::Partial {
                    break;
                }
            }
            assert_eq!(last, known, "in pieces of {size}");
            if last == Known::Partial {
                assert_eq!(reader.end(), at_end);
            }
        }
    }

    #[test]
    fn whole_answers_are_told_from_cut_ones() {
        use Known::{NoHttp, Partial, Tls, Whole};
        for (text, known, at_end) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                Whole(200),
                Partial,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
                Partial,
                Partial,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Le", Partial, Partial),
            ("HTTP/1.1 200 OK\r\n\r\nhi", Partial, Whole(200)),
            (
                "HTTP/1.0 503 \r\nContent-Length: 0\r\n\r\n",
                Whole(503),
                Partial,
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                Whole(304),
                Partial,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx",
                Whole(404),
                Partial,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na;x=1\r\n0123456789\r\n0\r\n\r\n",
                Whole(200),
                Partial,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n012345",
                Partial,
                Partial,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
                NoHttp,
                Partial,
            ),
            ("SSH-2.0-x\r\n", NoHttp, Partial),
            ("\u{15}\u{3}\u{1}", Tls, Partial),
            ("", Partial, Partial),
        ] {
            is(text, known, at_end);
        }
    }
}

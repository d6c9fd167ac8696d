//! An answer over HTTP/1, as it comes in: enough of RFC 9112 to tell a whole one from one that was
//! cut. Pure.

/// More than this is no head.
const LONGEST_HEAD: usize = 256 * 1024;

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
        const START: &[u8] = b"HTTP/1.";
        let begun = self.bytes.len().min(START.len());
        if self.bytes[..begun] != START[..begun] || self.bytes.len() > LONGEST_HEAD {
            return Some(Known::NoHttp);
        }
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
        let Some((status, rest)) = parse(&String::from_utf8_lossy(&head)) else {
            return Some(Known::NoHttp);
        };
        // What is said in between is no answer yet; 101 is the last thing said in HTTP.
        if !(100..200).contains(&status) || status == 101 {
            self.head = Some(Head { status, rest });
        }
        Some(Known::Partial)
    }
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
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line: Vec<u8> = bytes.drain(..end + 2).collect();
    let line = String::from_utf8_lossy(&line);
    let size = line.split([';', '\r']).next().unwrap_or_default();
    Some(u64::from_str_radix(size.trim(), 16).map_err(|_| ()))
}

fn parse(head: &str) -> Option<(u16, Rest)> {
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut rest = Rest::All;
    for (name, value) in fields {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            rest = Rest::Chunks(0);
        } else if name.eq_ignore_ascii_case("content-length") && rest == Rest::All {
            rest = Rest::Bytes(value.trim().parse().ok()?);
        }
    }
    let is_empty = matches!(status, 101 | 204 | 304);
    Some((status, if is_empty { Rest::Bytes(0) } else { rest }))
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
        use Known::{NoHttp, Partial, Whole};
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
            ("\u{15}\u{3}\u{1}", NoHttp, Partial),
            ("", Partial, Partial),
        ] {
            is(text, known, at_end);
        }
    }
}

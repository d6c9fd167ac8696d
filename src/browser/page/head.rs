//! What a client asks for, by the first bytes that it sends. Pure.

use httparse::{Error, Header, Request, Status};

/// More header fields than browsers send.
const MOST_FIELDS: usize = 100;

/// The header by which our own page is known, and with which it asks. A page of somebody else can't send it
/// without being allowed to.
pub(in crate::browser) const MARK: &str = "hotrun-page";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::browser) enum Asks {
    /// A browser wants to show a page, at this host.
    Page {
        /// What its `Host` header says.
        host: String,
    },
    /// Our own page wants to know whether anybody is there.
    Anybody,
    /// Something else, by HTTP/1.
    Http,
    /// Nothing that is known here: TLS, HTTP/2, any other protocol.
    Other,
}

/// `None`: that is not clear yet.
pub(in crate::browser) fn read(bytes: &[u8]) -> Option<Asks> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(Status::Partial) => None,
        Ok(Status::Complete(_)) => Some(asks(&request)),
        // The request line was read before.
        Err(Error::TooManyHeaders | Error::HeaderName | Error::HeaderValue) => Some(Asks::Http),
        Err(_) => Some(Asks::Other),
    }
}

fn asks(request: &Request<'_, '_>) -> Asks {
    // The preface of HTTP/2 looks like a request (RFC 9113, 3.4).
    if request.method == Some("PRI") {
        return Asks::Other;
    }
    if field(request, MARK).is_some() {
        return Asks::Anybody;
    }
    let is_page = request.method == Some("GET")
        && field(request, "accept").is_some_and(wants_html)
        // Scripts can ask for HTML too; browsers say what it is for (Fetch Metadata).
        && field(request, "sec-fetch-mode").is_none_or(|mode| mode == "navigate")
        && field(request, "sec-purpose").is_none()
        && field(request, "upgrade").is_none();
    match field(request, "host").filter(|_| is_page) {
        Some(host) => Asks::Page {
            host: host.to_owned(),
        },
        None => Asks::Http,
    }
}

fn wants_html(accept: &str) -> bool {
    let mut kinds = accept.split(',').filter_map(|one| one.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

fn field<'a>(request: &'a Request<'_, '_>, name: &str) -> Option<&'a str> {
    let is_it = |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
    let found = request.headers.iter().find(is_it)?;
    std::str::from_utf8(found.value).ok()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(super) const BROWSER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

    pub(crate) fn what_is_clear_of_any_bytes_stays_so() -> Target {
        let page = format!("GET /a?b HTTP/1.1\r\nHost: localhost:3000\r\n{BROWSER}\r\nbody");
        let corpus = [
            page.as_bytes(),
            b"POST / HTTP/1.0\r\nSec-Fetch-Mode: navigate\r\nHotrun-Page: a\r\nA: \xff\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        ];
        Target::bytes(&corpus, 1, |bytes| {
            let whole = read(bytes);
            let length = bytes.len();
            for end in [length / 3, length / 2, length.saturating_sub(1)] {
                let begun = read(&bytes[..end]);
                assert!(begun.is_none() || begun == whole, "{begun:?} {whole:?}");
            }
            if let Some(Asks::Page { host }) = whole {
                assert!(!host.contains(['\r', '\n', '\0']));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::hostile_tests::BROWSER;
    use super::*;

    fn get(fields: &str) -> Option<Asks> {
        read(format!("GET /a?b HTTP/1.1\r\nHost: localhost:3000\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn a_page_is_for_a_browser_that_wants_to_show_it() {
        let page = Some(Asks::Page {
            host: "localhost:3000".into(),
        });
        assert_eq!(get(BROWSER), page);
        assert_eq!(get(&format!("{BROWSER}Sec-Fetch-Mode: navigate\r\n")), page);
        assert_eq!(get("accept: TEXT/HTML\r\n"), page);
        for other in [
            "",
            "Accept: */*\r\n",
            "Accept: text/htmlx\r\n",
            "Accept: application/json, text/plain\r\n",
            &format!("{BROWSER}Sec-Fetch-Mode: cors\r\n"),
            &format!("{BROWSER}Sec-Purpose: prefetch\r\n"),
            &format!("{BROWSER}Upgrade: websocket\r\n"),
        ] {
            assert_eq!(get(other), Some(Asks::Http), "{other}");
        }
        let post = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{BROWSER}\r\n");
        assert_eq!(read(post.as_bytes()), Some(Asks::Http));
        let nowhere = format!("GET / HTTP/1.0\r\n{BROWSER}\r\n");
        assert_eq!(read(nowhere.as_bytes()), Some(Asks::Http));
    }

    #[test]
    fn the_page_may_ask_whether_anybody_is_there() {
        let script = include_str!("page.js");
        assert!(script.contains(r#"{ "Hotrun-Page": "#));
        assert_eq!(get("Hotrun-Page: anybody\r\n"), Some(Asks::Anybody));
    }

    #[test]
    fn what_comes_in_pieces_is_waited_for() {
        let whole = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{BROWSER}\r\n");
        for end in 0..whole.len() {
            assert_eq!(read(&whole.as_bytes()[..end]), None, "{end}");
        }
        assert!(matches!(read(whole.as_bytes()), Some(Asks::Page { .. })));
    }

    #[test]
    fn other_protocols_are_left_alone() {
        let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let postgres: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
        for bytes in [hello, preface, postgres, b"\x00", b"EHLO\r\n"] {
            assert_eq!(read(bytes), Some(Asks::Other), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_broken_gets_no_page() {
        let many = "A: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(get(&many), Some(Asks::Http));
        assert_eq!(get("A\x01: b\r\n"), Some(Asks::Http));
    }
}

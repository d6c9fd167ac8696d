//! Pages as nobody would write them, whole ones and coded ones.

use std::io;

use super::coding::{Coding, Decoder, Encoder};
use super::html::{Injector, Script};
use crate::hostile::Target;

pub(super) const SCRIPT: &str = "<script src=\"/__hotrun/livereload.js\" async></script>";

pub(super) const PAGE: &str =
    "<!doctype html><html><head><title>a</title></head><body>b</body></html>";

pub(super) fn script(is_page: bool) -> Script {
    Script {
        path: "/__hotrun/livereload.js",
        nonce: None,
        host: "localhost:3000".into(),
        is_page,
    }
}

pub(super) fn encoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    encoder.write(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The bytes without the script, and how often it was there.
pub(super) fn without_script(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut rest = bytes;
    let mut without = Vec::new();
    let mut count = 0;
    while let Some(at) = rest
        .windows(SCRIPT.len())
        .position(|part| part == SCRIPT.as_bytes())
    {
        without.extend_from_slice(&rest[..at]);
        rest = &rest[at + SCRIPT.len()..];
        count += 1;
    }
    without.extend_from_slice(rest);
    (without, count)
}

/// In pieces of this size.
fn injected_in_pieces(coding: Coding, bytes: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut injector = Injector::new(coding, script(true));
    let mut got = Vec::new();
    for piece in bytes.chunks(size) {
        got.extend(injector.push(piece)?);
    }
    got.extend(injector.finish()?);
    Ok(got)
}

/// The page, if it can be decoded to its end.
fn decodes(coding: Coding, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(coding, Vec::new());
    let written = decoder.write(bytes);
    written.and_then(|()| decoder.finish()).ok()?;
    Some(std::mem::take(decoder.get_mut()))
}

/// A policy within it is changed, and a script of ours that it already has would be taken for another.
fn is_left_alone(page: &[u8]) -> bool {
    let text = String::from_utf8_lossy(page).to_ascii_lowercase();
    !text.contains("http-equiv") && !text.contains("__hotrun")
}

const MUTATED: &[&str] = &[
    PAGE,
    "<HTML><HEAD class='a' ><meta charset=\"windows-1252\"><p title='a>b'>caf\u{e9} &amp; &#0;",
    "<!-- <head> --><script>if (a < b) { '<head>' }</script><body onload=\"a('<head>')\">",
    "<svg><head/></svg><template><head></head></template><textarea><head></textarea><plaintext>",
    "<head><meta http-equiv=\"Content-Security-Policy\" content=\"connect-src 'self'; &quot;x\">",
];

pub(crate) fn any_page_differs_by_the_script_alone() -> Target {
    let corpus: Vec<&[u8]> = MUTATED.iter().map(|page| page.as_bytes()).collect();
    Target::bytes(&corpus, 40, |page| {
        let whole = injected_in_pieces(Coding::Identity, page, usize::MAX).unwrap();
        let size = 1 + page.len() % 7;
        let pieces = injected_in_pieces(Coding::Identity, page, size).unwrap();
        assert!(whole == pieces);
        if is_left_alone(page) {
            let (without, count) = without_script(&whole);
            assert!(without == page && count <= 1, "{count}");
        }
    })
}

pub(crate) fn any_gzip_page_is_read_or_passed_on() -> Target {
    any_coded_page_is_read_or_passed_on(Coding::Gzip)
}

pub(crate) fn any_brotli_page_is_read_or_passed_on() -> Target {
    any_coded_page_is_read_or_passed_on(Coding::Brotli)
}

/// A page that its coding was broken for passes as it is, or ends with an error, or is another page.
fn any_coded_page_is_read_or_passed_on(coding: Coding) -> Target {
    let pages = MUTATED.iter().map(|page| encoded(coding, page.as_bytes()));
    let pages: Vec<Vec<u8>> = pages.collect();
    let corpus: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    Target::bytes(&corpus, 100, move |bytes| {
        let page = decodes(coding, bytes);
        for size in [usize::MAX, 1 + bytes.len() % 7] {
            match (injected_in_pieces(coding, bytes, size), &page) {
                (Err(_), page) => assert!(page.is_none()),
                (Ok(got), _) if got == bytes => {}
                (Ok(_), None) => panic!("a page from what is none"),
                (Ok(got), Some(page)) => {
                    let got = decodes(coding, &got).unwrap();
                    assert!(!is_left_alone(page) || without_script(&got).0 == *page);
                }
            }
        }
    })
}

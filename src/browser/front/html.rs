//! Puts the script into a page while the page passes through; every other byte stays as it is. Pure.
//!
//! The script goes to the beginning of `<head>`, so that it runs before anything of the page can fail; of
//! `<body>` in a page without a head; else to the end, if it is certain that this is a page and not a
//! piece of one, as scripts ask for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use encoding_rs::Encoding;
use lol_html::html_content::{ContentType, Element};
use lol_html::send::{HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, HandlerResult, doctype, element, end};

use super::coding::{Coding, Decoder, Encoder};
use super::policy::allow_socket;

/// What is put into a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Its path at the address of the page.
    pub(super) path: &'static str,
    /// What the page's policy wants of it.
    pub(super) nonce: Option<String>,
    /// Where the page was asked for: for policies within it.
    pub(super) host: String,
    /// A browser shows what it asked for as a page.
    pub(super) is_page: bool,
}

impl Script {
    /// The element.
    pub(super) fn element(&self) -> String {
        let nonce = self.nonce.as_ref();
        // It comes from a header: only what can stand in an attribute.
        let nonce = nonce.map(|nonce| nonce.replace('"', "&quot;"));
        let nonce = nonce.map_or_else(String::new, |nonce| format!(" nonce=\"{nonce}\""));
        format!("<script src=\"{}\"{nonce} async></script>", self.path)
    }
}

/// A page in this character encoding can be read: its ASCII characters are bytes of their own.
/// `None`: the answer does not say.
pub(super) fn is_readable(charset: Option<&str>) -> bool {
    charset.is_none_or(|label| {
        let encoding = Encoding::for_label(label.as_bytes());
        encoding.and_then(AsciiCompatibleEncoding::new).is_some()
    })
}

/// One page on its way.
pub(super) struct Injector {
    decoder: Decoder<Page>,
    encoder: Encoder,
    /// What has come, as long as nothing has gone out.
    raw: Option<Vec<u8>>,
    /// It was not what it said it was, and passes as it is.
    passes: bool,
}

impl Injector {
    pub(super) fn new(coding: Coding, script: Script) -> Self {
        Self {
            decoder: Decoder::new(coding, Page::new(script)),
            encoder: Encoder::new(coding),
            raw: Some(Vec::new()),
            passes: false,
        }
    }

    /// Takes in bytes, and returns those that can go out. An error: what has gone out can't be continued.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if self.passes {
            return Ok(bytes.to_vec());
        }
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(bytes);
        }
        let rewritten = self.decoder.write(bytes).and_then(|()| self.encode());
        self.or_raw(rewritten)
    }

    /// What is left at the end.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let is_empty = self.raw.as_ref().is_some_and(Vec::is_empty);
        if self.passes || is_empty {
            return Ok(Vec::new());
        }
        let finished = self.decoder.finish();
        let ended = finished.and_then(|()| self.decoder.get_mut().end());
        let rest = ended.and_then(|()| self.encode());
        let rest = self.or_raw(rest)?;
        if self.passes {
            return Ok(rest);
        }
        let end = self.encoder.finish()?;
        Ok([rest, end].concat())
    }

    fn encode(&mut self) -> io::Result<Vec<u8>> {
        let page = self.decoder.get_mut().take();
        if page.is_empty() {
            return Ok(page);
        }
        self.encoder.write(&page)?;
        self.encoder.take()
    }

    fn or_raw(&mut self, rewritten: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
        match (rewritten, &mut self.raw) {
            (Ok(bytes), raw) => {
                if !bytes.is_empty() {
                    *raw = None;
                }
                Ok(bytes)
            }
            (Err(_), Some(raw)) => {
                self.passes = true;
                Ok(std::mem::take(raw))
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// Text that is rewritten.
struct Page {
    /// `None` at the end.
    rewriter: Option<HtmlRewriter<'static, Out>>,
    out: Out,
    /// The first bytes, which may say that the text is in UTF-16 (a byte order mark).
    first: Option<Vec<u8>>,
    is_wide: bool,
}

/// What was rewritten.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn put(&self, bytes: &[u8]) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(bytes);
    }
}

impl lol_html::OutputSink for Out {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.put(chunk);
    }
}

impl Page {
    fn new(script: Script) -> Self {
        let out = Out::default();
        Self {
            rewriter: Some(HtmlRewriter::new(settings(script), out.clone())),
            out,
            first: Some(Vec::new()),
            is_wide: false,
        }
    }

    /// What was rewritten since the last time.
    fn take(&mut self) -> Vec<u8> {
        let mut out = self.out.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut out)
    }

    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.rewriter {
            Some(rewriter) if !self.is_wide => rewriter.write(bytes).map_err(io::Error::other),
            _ => {
                self.out.put(bytes);
                Ok(())
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(first) = self.first.take() {
            self.rewrite(&first)?;
        }
        match self.rewriter.take() {
            Some(rewriter) if !self.is_wide => rewriter.end().map_err(io::Error::other),
            _ => Ok(()),
        }
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut first) = self.first.take() else {
            self.rewrite(bytes)?;
            return Ok(bytes.len());
        };
        first.extend_from_slice(bytes);
        if first.len() < 2 {
            self.first = Some(first);
        } else {
            self.is_wide = matches!(first[..2], [0xfe, 0xff] | [0xff, 0xfe]);
            self.rewrite(&first)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(script: Script) -> Settings<'static, 'static> {
    let once = Arc::new(Once {
        is_done: AtomicBool::new(false),
        is_page: AtomicBool::new(script.is_page),
        script,
    });
    let (head, body, meta) = (once.clone(), once.clone(), once.clone());
    let (document, last) = (once.clone(), once);
    Settings::new_send()
        .with_strict(false)
        .append_element_content_handler(element!("head", move |element| head.prepend(element)))
        .append_element_content_handler(element!("body", move |element| body.prepend(element)))
        .append_element_content_handler(element!("meta[http-equiv][content]", move |element| {
            meta.extend(element)
        }))
        .append_document_content_handler(doctype!(move |_| {
            document.is_page.store(true, Ordering::Relaxed);
            Ok(())
        }))
        .append_document_content_handler(end!(move |end| {
            if last.is_page.load(Ordering::Relaxed) && last.is_first() {
                end.append(&last.script.element(), ContentType::Html);
            }
            Ok(())
        }))
}

/// The script is put into a page once.
struct Once {
    is_done: AtomicBool,
    is_page: AtomicBool,
    script: Script,
}

impl Once {
    fn is_first(&self) -> bool {
        !self.is_done.swap(true, Ordering::Relaxed)
    }

    #[expect(clippy::unnecessary_wraps, reason = "lol_html's handlers may fail")]
    fn prepend(
        &self,
        element: &mut Element<'_, '_, lol_html::send::SendHandlerTypes>,
    ) -> HandlerResult {
        if self.is_first() {
            element.prepend(&self.script.element(), ContentType::Html);
        }
        Ok(())
    }

    /// A policy within the page comes after our script, and so is none for that, but for its WebSocket.
    fn extend(
        &self,
        element: &mut Element<'_, '_, lol_html::send::SendHandlerTypes>,
    ) -> HandlerResult {
        let kind = element.get_attribute("http-equiv").unwrap_or_default();
        let policy = element.get_attribute("content").unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("content-security-policy") {
            return Ok(());
        }
        let allowed = allow_socket(&policy, &self.script.host);
        if allowed != policy {
            element.set_attribute("content", &allowed)?;
        }
        Ok(())
    }
}

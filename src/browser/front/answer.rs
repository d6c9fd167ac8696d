//! What of a request and its answer is changed, and what not. Pure but for the body, which is changed
//! piece by piece as it comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_SECURITY_POLICY_REPORT_ONLY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::{request, response};
use hyper::{Method, Response, StatusCode, Version};

use super::coding::{self, Coding};
use super::html::{Injector, Script, is_readable};
use super::policy::{Needs, allow};
use super::stream::Answering;
use super::validators;
use crate::browser::page::head::MARK;

/// The path of the script, below [`OWN`].
const SCRIPT: &str = "/__hotrun/livereload.js";

/// Requests below this path are for hotrun's own server.
const OWN: &str = "/__hotrun";

/// The path at hotrun's own server; `None`: the request is for the app.
pub(super) fn own_path(path: &str) -> Option<&str> {
    path.strip_prefix(OWN).filter(|rest| rest.starts_with('/'))
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where it was sent to; `None`: it is not for a page.
    page_at: Option<String>,
    /// A browser has said that it will show the answer as a page.
    is_certain: bool,
    /// The browser has kept the page with the script.
    is_kept: bool,
    /// It wants no body.
    is_head: bool,
}

impl Asked {
    /// Reads a request, and makes it one whose answer can be read.
    pub(super) fn read(request: &mut request::Parts) -> Self {
        let headers = &mut request.headers;
        let Some((host, is_certain)) = page_at(headers) else {
            return Self::default();
        };
        let accepted = headers.get(ACCEPT_ENCODING);
        let accepted = accepted.map(|names| coding::accepted(names.to_str().unwrap_or_default()));
        if let Some(accepted) = accepted.and_then(|names| HeaderValue::try_from(names).ok()) {
            headers.insert(ACCEPT_ENCODING, accepted);
        }
        Self {
            page_at: Some(host),
            is_certain,
            is_kept: validators::unmark(headers),
            is_head: request.method == Method::HEAD,
        }
    }

    /// The answer as the client gets it. `nonce` is one that nobody can guess.
    pub(super) fn answer(
        &self,
        answer: Response<Incoming>,
        answering: Answering,
        nonce: &str,
    ) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        // The client's connection is framed by itself. A body whose end is that of the app's connection
        // has no other end there either: then the client, too, can't tell whether it is complete.
        let is_chunked = head.headers.remove(TRANSFER_ENCODING).is_some();
        if is_chunked {
            // One that says both is in chunks (RFC 9112, 6.3).
            head.headers.remove(CONTENT_LENGTH);
        }
        let is_framed = is_chunked || head.headers.contains_key(CONTENT_LENGTH);
        head.version = if is_framed || body.is_end_stream() {
            Version::HTTP_11
        } else {
            Version::HTTP_10
        };
        let kind = match self.change(&mut head, nonce) {
            Some((coding, script)) => Kind::Page(Some(Box::new(Injector::new(coding, script)))),
            None => Kind::Same,
        };
        let body = Body(Some(Coming {
            body,
            kind,
            _answering: answering,
        }));
        Response::from_parts(head, body)
    }

    /// Changes the head of an answer; the coding of the body and what is put into it, if it is changed.
    fn change(&self, head: &mut response::Parts, nonce: &str) -> Option<(Coding, Script)> {
        let host = self.page_at.as_ref()?;
        if head.status == StatusCode::NOT_MODIFIED {
            if self.is_kept {
                // The browser takes over these headers for the page that it has kept.
                extend_policies(&mut head.headers, host, "");
                validators::mark(&mut head.headers);
            }
            return None;
        }
        let coding = page_in(head)?;
        let (nonce, is_ours) = extend_policies(&mut head.headers, host, nonce)?;
        if is_ours {
            validators::forget(&mut head.headers);
        } else {
            validators::mark(&mut head.headers);
        }
        validators::forget_bytes(&mut head.headers);
        let script = Script {
            path: SCRIPT,
            nonce,
            host: host.clone(),
            is_page: self.is_certain,
        };
        (!self.is_head).then_some((coding, script))
    }
}

/// The host of a request whose answer a browser may show as a page, and whether it has said that it will.
/// Browsers say what a request is for (Fetch Metadata) to this machine and by TLS.
fn page_at(headers: &HeaderMap) -> Option<(String, bool)> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST)?.to_owned();
    match text(HeaderName::from_static("sec-fetch-dest")) {
        Some("document" | "iframe" | "frame") => Some((host, true)),
        Some(_) => None,
        None => text(ACCEPT)?.contains("text/html").then_some((host, false)),
    }
}

/// The content coding of an answer that is a whole page, if it can be read.
fn page_in(head: &response::Parts) -> Option<Coding> {
    let text = |name: HeaderName| head.headers.get(name).map(HeaderValue::to_str);
    let has_page = !matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
    );
    let is_own = head.headers.contains_key(MARK);
    if !has_page || head.status.is_informational() || is_own {
        return None;
    }
    let kind = text(CONTENT_TYPE)?.ok()?;
    let mut parameters = kind.split(';').map(str::trim);
    if !parameters.next()?.eq_ignore_ascii_case("text/html") {
        return None;
    }
    let charset = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("charset");
        is_it.then(|| value.trim().trim_matches('"'))
    });
    if !is_readable(charset) || head.headers.get_all(CONTENT_ENCODING).iter().count() > 1 {
        return None;
    }
    match text(CONTENT_ENCODING) {
        None => Some(Coding::Identity),
        Some(name) => Coding::named(name.ok()?),
    }
}

/// Extends the policies of an answer; the nonce of the script, and whether it is ours. `None`: there can be
/// no script in the page.
fn extend_policies(
    headers: &mut HeaderMap,
    host: &str,
    nonce: &str,
) -> Option<(Option<String>, bool)> {
    let needs = Needs {
        host,
        script: SCRIPT,
        nonce,
    };
    let names = [CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY];
    // All at once: the script has one nonce for all of them.
    let mut all = Vec::new();
    for name in &names {
        for value in headers.get_all(name) {
            let policies = value.to_str().ok()?.split(',');
            all.extend(policies.map(|policy| (name.clone(), policy.to_owned())));
        }
    }
    let policies: Vec<&str> = all.iter().map(|(_, policy)| &**policy).collect();
    let allowed = allow(&policies, needs)?;
    for name in &names {
        headers.remove(name);
    }
    for ((name, _), policy) in all.iter().zip(allowed.policies) {
        headers.append(name, HeaderValue::try_from(policy).ok()?);
    }
    Some((allowed.nonce, allowed.is_our_nonce))
}

/// The body of an answer; `None`: there is nothing more of it.
#[derive(Default)]
pub(super) struct Body(Option<Coming>);

/// A body that comes from the app.
struct Coming {
    body: Incoming,
    kind: Kind,
    _answering: Answering,
}

/// What is done to it.
enum Kind {
    /// Nothing.
    Same,
    /// The script is put into it; `None`: that has ended.
    Page(Option<Box<Injector>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let Some(coming) = &mut this.0 else {
            return Poll::Ready(None);
        };
        let frame = match &mut coming.kind {
            Kind::Same => {
                let frame = ready!(Pin::new(&mut coming.body).poll_frame(context));
                frame.map(|frame| frame.map_err(io::Error::other))
            }
            Kind::Page(injector) => ready!(poll_page(&mut coming.body, injector, context)),
        };
        if !matches!(frame, Some(Ok(_))) {
            this.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|coming| match &coming.kind {
            Kind::Same => coming.body.is_end_stream(),
            Kind::Page(injector) => injector.is_none(),
        })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(coming) if matches!(coming.kind, Kind::Same) => coming.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

/// Trailers of a page are left out: they are about its bytes.
fn poll_page(
    body: &mut Incoming,
    injector: &mut Option<Box<Injector>>,
    context: &mut Context<'_>,
) -> Poll<Option<io::Result<Frame<Bytes>>>> {
    while let Some(page) = injector {
        let frame = ready!(Pin::new(&mut *body).poll_frame(context)).transpose();
        let written = match frame.map_err(io::Error::other) {
            Ok(Some(frame)) => frame
                .data_ref()
                .map_or(Ok(Vec::new()), |data| page.push(data)),
            Ok(None) => injector.take().map_or(Ok(Vec::new()), |page| page.finish()),
            Err(error) => Err(error),
        };
        match written {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            Err(error) => {
                *injector = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
    Poll::Ready(None)
}

//! Which request gets what: the rules that keep pages of others out. Pure.

use std::net::Ipv4Addr;

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode, Uri};

use crate::browser::access::{is_own_host, is_own_origin};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The script.
    Script(Policy),
    /// A WebSocket that speaks `LiveReload`'s protocol.
    Protocol,
    /// A WebSocket of our own script.
    Overlay {
        /// It has the token of this run, and not that of an earlier one.
        is_known: bool,
    },
}

/// Which pages a browser lets include the script (`Cross-Origin-Resource-Policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Those of the same site.
    SameSite,
    /// Any, where the browser has just said that the page is of the same site. To Chromium (156) an IP
    /// address is of no site, not even of its own.
    Any,
}

/// The origins of browser extensions, which speak the protocol. No page can have one of these.
const EXTENSIONS: [&str; 3] = [
    "chrome-extension://",
    "moz-extension://",
    "safari-web-extension://",
];

/// Decides, or refuses.
pub(super) fn route(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    hosts: &[String],
    token: &str,
) -> Result<Route, StatusCode> {
    // A name that others own may be made to resolve to this machine; the page of that name is then as
    // good as our own for the browser, but for the name that it asks for.
    let mut names = headers.get_all(HOST).iter();
    let name = names.next().and_then(|name| name.to_str().ok());
    if !name.is_some_and(|name| is_own_host(name, hosts)) || names.next().is_some() {
        return Err(StatusCode::FORBIDDEN);
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let origin = text(headers, &ORIGIN)?;
    let is_own = origin.map(|origin| is_own_origin(origin, hosts));
    match uri.path() {
        "/livereload.js" => {
            // Any page may include a script; what it has in it would be that page's to use.
            let site = text(headers, &HeaderName::from_static("sec-fetch-site"))?;
            must(site != Some("cross-site") && is_own != Some(false))?;
            let is_address = name.is_some_and(|name| {
                let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
                name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok()
            });
            Ok(Route::Script(match site {
                Some("same-site") if is_address => Policy::Any,
                _ => Policy::SameSite,
            }))
        }
        // Without an origin it is no browser.
        "/livereload" => {
            let is_extension = |origin: &str| EXTENSIONS.iter().any(|one| origin.starts_with(one));
            must(is_own.is_none_or(|own| own) || origin.is_some_and(is_extension))?;
            Ok(Route::Protocol)
        }
        "/overlay" => {
            must(is_own == Some(true))?;
            let said = uri.query().and_then(|query| query.strip_prefix("token="));
            let said = said.ok_or(StatusCode::FORBIDDEN)?;
            Ok(Route::Overlay {
                is_known: said == token,
            })
        }
        _ => Err(StatusCode::NOT_FOUND),
    }
}

fn must(holds: bool) -> Result<(), StatusCode> {
    if holds {
        Ok(())
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

/// A header of which there is one at most.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, StatusCode> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    let value = value.map(|value| value.to_str().map_err(|_| StatusCode::FORBIDDEN));
    match values.next() {
        Some(_) => Err(StatusCode::FORBIDDEN),
        None => value.transpose(),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::hostile::Target;

    pub(super) const TOKEN: &str = "0123";

    /// The name in an authority, by another reader of it than ours.
    fn is_own_name(authority: &str) -> bool {
        let Ok(authority) = authority.parse::<hyper::http::uri::Authority>() else {
            return true;
        };
        let name = authority.host().to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<std::net::IpAddr>().is_ok()
            || ["localhost", "app.test"].contains(&name)
            || name.ends_with(".localhost")
    }

    pub(crate) fn no_request_of_another_page_is_answered() -> Target {
        let corpus = [
            "GET /livereload.js?snipver=1\nhost: localhost:35729\nsec-fetch-site: same-site",
            "HEAD /livereload.js\nhost: [::1]:35729\nsec-fetch-site: cross-site",
            "GET /livereload\nhost: app.test\norigin: http://a.localhost:3000",
            "GET /livereload\nhost: 127.0.0.1:1\norigin: chrome-extension://abc",
            "GET /overlay?token=0123\nhost: LOCALHOST.\norigin: https://app.test",
            "GET /overlay?token=0123\nhost: evil.example:80\norigin: http://evil.example",
            "POST http://user@evil.example/overlay\nhost: localhost\nhost: evil.example\norigin: null",
        ];
        Target::text(&corpus, 4, |text| {
            let mut lines = text.split('\n');
            let first = lines.next().unwrap_or_default();
            let (method, uri) = first.split_once(' ').unwrap_or((first, ""));
            let method = Method::from_bytes(method.as_bytes());
            let (Ok(method), Ok(uri)) = (method, uri.parse::<Uri>()) else {
                return;
            };
            let mut headers = HeaderMap::new();
            for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    headers.append(name, value);
                }
            }
            let hosts = ["app.test".to_owned()];
            let Ok(route) = route(&method, &uri, &headers, &hosts, TOKEN) else {
                return;
            };
            assert_eq!(headers.get_all(HOST).iter().count(), 1);
            assert!(is_own_name(headers[HOST].to_str().unwrap()));
            let origin = headers.get(ORIGIN);
            let origin = origin.and_then(|origin| origin.to_str().ok());
            let parts = origin.and_then(|origin| origin.split_once("://"));
            let is_own = parts.map(|(_, name)| is_own_name(name));
            match route {
                Route::Overlay { is_known } => {
                    assert_eq!(is_own, Some(true));
                    assert_eq!(is_known, uri.query() == Some("token=0123"));
                }
                Route::Protocol | Route::Script(_) => {
                    let is_page = origin.is_some_and(|origin| origin.starts_with("http"));
                    assert!(!is_page || is_own == Some(true));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::hostile_tests::TOKEN;
    use super::*;

    const SCRIPT: Result<Route, u16> = Ok(Route::Script(Policy::SameSite));

    /// Asks with these headers; `localhost` is the host unless another is named.
    fn asked(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Result<Route, u16> {
        let mut map = HeaderMap::new();
        map.insert(HOST, HeaderValue::from_static("localhost:35729"));
        for (name, value) in headers {
            let name = HeaderName::from_static(name);
            if name == HOST {
                map.remove(HOST);
            }
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let uri: Uri = path.parse().unwrap();
        let hosts = ["app.test".to_owned()];
        route(&method, &uri, &map, &hosts, TOKEN).map_err(|status| status.as_u16())
    }

    fn get(path: &str, headers: &[(&'static str, &str)]) -> Result<Route, u16> {
        asked("GET", path, headers)
    }

    /// CVE-2025-24010: a page of a name that resolves to this machine asks for all that is there.
    #[test]
    fn only_own_hosts_are_answered() {
        for (host, expected) in [
            ("127.0.0.1:35729", SCRIPT),
            ("[::1]:35729", SCRIPT),
            ("app.test:35729", SCRIPT),
            ("evil.example:35729", Err(403)),
        ] {
            assert_eq!(get("/livereload.js", &[("host", host)]), expected, "{host}");
        }
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(get("/livereload.js", &two[1..]), Err(403));
        let both = [
            ("accept", "*/*"),
            ("origin", "http://localhost"),
            ("origin", "null"),
        ];
        assert_eq!(get("/livereload.js", &both), Err(403));
    }

    /// CVE-2018-14732: a WebSocket can be opened by any page, which then reads all that is said.
    #[test]
    fn web_sockets_are_opened_by_own_pages() {
        let from = |path, origin: &str| get(path, &[("origin", origin)]);
        let own = "http://localhost:3000";
        assert_eq!(from("/livereload", own), Ok(Route::Protocol));
        assert_eq!(from("/livereload", "http://evil.example"), Err(403));
        assert_eq!(from("/livereload", "null"), Err(403));
        assert_eq!(get("/livereload", &[]), Ok(Route::Protocol));
        let extension = "chrome-extension://jnihajbhpnppcggbcgedagnkighmdlei";
        assert_eq!(from("/livereload", extension), Ok(Route::Protocol));
        assert_eq!(from("/overlay?token=0123", extension), Err(403));
        let known = |is_known| Ok(Route::Overlay { is_known });
        assert_eq!(from("/overlay?token=0123", own), known(true));
        assert_eq!(from("/overlay?token=3210", own), known(false));
        assert_eq!(from("/overlay?token=0123", "http://evil.example"), Err(403));
        assert_eq!(from("/overlay", own), Err(403));
        assert_eq!(get("/overlay?token=0123", &[]), Err(403));
    }

    /// CVE-2025-30360: a script can be included by any page, which then reads what is in it.
    #[test]
    fn the_script_is_for_own_pages() {
        let from = |site| get("/livereload.js", &[("sec-fetch-site", site)]);
        assert_eq!(from("same-site"), SCRIPT);
        assert_eq!(from("none"), SCRIPT);
        assert_eq!(from("cross-site"), Err(403));
        for (host, site, policy) in [
            ("127.0.0.1:35729", "same-site", Policy::Any),
            ("[::1]:35729", "same-site", Policy::Any),
            ("127.0.0.1:35729", "none", Policy::SameSite),
            ("localhost:35729", "same-site", Policy::SameSite),
        ] {
            let answer = get(
                "/livereload.js",
                &[("host", host), ("sec-fetch-site", site)],
            );
            assert_eq!(answer, Ok(Route::Script(policy)), "{host} {site}");
        }
        let from = |origin| get("/livereload.js", &[("origin", origin)]);
        assert_eq!(from("http://127.0.0.1:3000"), SCRIPT);
        assert_eq!(from("http://evil.example"), Err(403));
        // As the extensions' snippet asks for it.
        assert_eq!(get("/livereload.js?snipver=1&port=1&host=x", &[]), SCRIPT);
    }

    /// CVE-2025-30208: a server for developers gives out any file that is asked for.
    #[test]
    fn there_is_nothing_else() {
        assert_eq!(asked("HEAD", "/livereload.js", &[]), SCRIPT);
        for path in [
            "/",
            "/@fs/etc/passwd?raw??",
            "/livereload.js/../../etc/passwd",
            "/livereload/",
            "/__open-in-editor?file=x",
            "//livereload.js",
            "/livereload%2ejs",
        ] {
            assert_eq!(get(path, &[]), Err(404), "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"] {
            let asked = asked(method, "/livereload.js", &[]);
            assert_eq!(asked, Err(405), "{method}");
        }
    }
}

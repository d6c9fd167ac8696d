//! Validators of pages (RFC 9110, 8.8 and 13.1): a browser that has kept a page without our script must not
//! be told that it has not changed, and one that has kept it with the script may be. So the entity tag of
//! a page with the script is marked, and only what is marked is passed on to the app, unmarked. Pure.

use hyper::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};

/// Added to entity tags.
const MARK: &str = "-hotrun";

/// The tag of a page that has none, but a date.
const DATED: &str = "W/\"-hotrun\"";

/// Makes the request one that is right for the app; whether the browser has kept the page with the script.
pub(super) fn unmark(headers: &mut HeaderMap) -> bool {
    // Parts of a page have no place for the script.
    for name in [RANGE, IF_RANGE] {
        headers.remove(name);
    }
    let all = headers.get_all(IF_NONE_MATCH).iter();
    let all: Vec<String> = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(tags)
        .filter_map(|tag| Some(tag.strip_suffix('"')?.strip_suffix(MARK)?.to_owned() + "\""))
        .collect();
    headers.remove(IF_NONE_MATCH);
    if all.is_empty() {
        headers.remove(IF_MODIFIED_SINCE);
        return false;
    }
    let has_tag = |tag: &&String| !tag.ends_with("\"\"");
    let own: Vec<&str> = all.iter().filter(has_tag).map(String::as_str).collect();
    if !own.is_empty()
        && let Ok(value) = HeaderValue::try_from(own.join(", "))
    {
        headers.insert(IF_NONE_MATCH, value);
    }
    true
}

/// Marks the validators of a page with the script, or of the answer that the browser has it.
pub(super) fn mark(headers: &mut HeaderMap) {
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    let marked = match tag.and_then(|tag| tag.strip_suffix('"')) {
        Some(tag) => HeaderValue::try_from(format!("{tag}{MARK}\"")).ok(),
        None if headers.contains_key(LAST_MODIFIED) => Some(HeaderValue::from_static(DATED)),
        None => None,
    };
    headers.remove(ETAG);
    if let Some(marked) = marked {
        headers.insert(ETAG, marked);
    }
}

/// Removes what is about the bytes of the body, which are others with the script.
pub(super) fn forget_bytes(headers: &mut HeaderMap) {
    for name in [
        "content-length",
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
    ] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// Removes all validators: the page is for this one answer.
pub(super) fn forget(headers: &mut HeaderMap) {
    headers.remove(ETAG);
    headers.remove(LAST_MODIFIED);
}

/// The entity tags of a list. A tag may have commas in it.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let begin = rest.find('"')?;
        let end = begin + 1 + rest[begin + 1..].find('"')?;
        let weak = rest[..begin].trim_start_matches([',', ' ', '\t']) == "W/";
        let tag = &rest[begin - if weak { 2 } else { 0 }..=end];
        rest = &rest[end + 1..];
        Some(tag)
    })
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    /// What a browser sends next time for a page that was answered with these.
    pub(super) fn again(answer: &HeaderMap) -> HeaderMap {
        let sends = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
        let sent = sends
            .iter()
            .filter_map(|(has, sends)| Some((sends.clone(), answer.get(has)?.clone())));
        sent.collect()
    }

    /// It is an entity tag (RFC 9110, 8.8.3).
    fn is_tag(value: &str) -> bool {
        let opaque = value.strip_prefix("W/").unwrap_or(value).strip_prefix('"');
        let opaque = opaque.and_then(|rest| rest.strip_suffix('"'));
        opaque.is_some_and(|opaque| !opaque.is_empty() && !opaque.contains('"'))
    }

    pub(crate) fn any_tag_comes_back_as_the_app_has_sent_it() -> Target {
        let corpus = [
            "\"a,b\"",
            "W/\"ab\"",
            "\"a\" , W/\"b,c-hotrun\",\"d-hotrun\"",
            "*",
            "\"\"",
        ];
        Target::text(&corpus, 2, |text| {
            let Ok(value) = HeaderValue::from_str(text) else {
                return;
            };
            let mut answer = HeaderMap::from_iter([(ETAG, value.clone())]);
            mark(&mut answer);
            let mut request = again(&answer);
            let is_marked = unmark(&mut request);
            if is_tag(text) && value.to_str().is_ok() {
                assert!(is_marked);
                assert_eq!(request.get(IF_NONE_MATCH), Some(&value));
            }
            let mut request = HeaderMap::from_iter([(IF_NONE_MATCH, value)]);
            unmark(&mut request);
            let tags = request.get(IF_NONE_MATCH);
            assert!(tags.is_none_or(|tags| tags.len() <= text.len()));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::hostile_tests::again;
    use super::*;

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        let value = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(value).collect()
    }

    #[test]
    fn a_page_with_the_script_is_asked_for_as_the_app_knows_it() {
        let date = "Mon, 30 Nov 2026 10:00:00 GMT";
        for validators in [
            &[(ETAG, "\"a,b\"")][..],
            &[(ETAG, "W/\"ab\"")],
            &[(LAST_MODIFIED, date)],
            &[(ETAG, "\"a\""), (LAST_MODIFIED, date)],
        ] {
            let plain = headers(validators);
            let mut answer = plain.clone();
            mark(&mut answer);
            assert_ne!(answer, plain);
            let mut request = again(&answer);
            assert!(unmark(&mut request), "{request:?}");
            assert_eq!(request, again(&plain));
            // A page that was kept without the script is asked for anew.
            let mut request = again(&plain);
            assert!(!unmark(&mut request));
            assert!(request.is_empty(), "{request:?}");
        }
    }

    #[test]
    fn lists_and_broken_tags_are_read() {
        let all: Vec<&str> = tags("\"a\" , W/\"b,c\",\"d-hotrun\"").collect();
        assert_eq!(all, ["\"a\"", "W/\"b,c\"", "\"d-hotrun\""]);
        for broken in ["", "*", "a", "\"", "W/\"", ",,", "\u{e9}\"x"] {
            assert_eq!(tags(broken).count(), 0, "{broken}");
        }
        let mut some = headers(&[(IF_NONE_MATCH, "\"a\", \"b-hotrun\", W/\"c-hotrun\"")]);
        assert!(unmark(&mut some));
        assert_eq!(some[IF_NONE_MATCH], "\"b\", W/\"c\"");
        let mut without = headers(&[]);
        mark(&mut without);
        assert!(without.is_empty());
        let mut odd = headers(&[(ETAG, "unquoted")]);
        mark(&mut odd);
        assert!(odd.is_empty());
    }

    #[test]
    fn parts_are_not_asked_for() {
        let mut part = headers(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"a\"")]);
        assert!(!unmark(&mut part));
        assert!(part.is_empty());
    }
}

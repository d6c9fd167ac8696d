//! The bytes of the page: a document that stays open, a script element for each change of the picture, and
//! at last one that loads the app. Pure.
//!
//! Only scripts with the nonce of this answer run, and the picture is written as JSON in which nothing can
//! end a script element: so nothing that a compiler or an app has written is ever markup.

use super::super::picture::Picture;
use super::head::MARK;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");

/// The answer's head and the first part of the document.
pub(super) fn begin(nonce: &str) -> String {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'"
    );
    let page = PAGE.replace("{script}", SCRIPT).replace("{nonce}", nonce);
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: {policy}\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nRetry-After: 1\r\nConnection: close\r\n{MARK}: page\r\n\r\n{page}"
    )
}

/// Shows this picture in place of the one before.
pub(super) fn update(nonce: &str, picture: &Picture) -> String {
    // A picture has nothing that can't be JSON.
    let json = serde_json::to_string(picture).unwrap_or_else(|_| "{}".into());
    script(nonce, &format!("hotrun({})", in_script(&json)))
}

/// Loads the app.
pub(super) fn end(nonce: &str) -> String {
    script(nonce, "live()")
}

/// The answer to clients that must not see more.
pub(super) fn bare() -> String {
    let text = "The app is not running.\n";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn script(nonce: &str, text: &str) -> String {
    format!("<script nonce=\"{nonce}\">{text}</script>\n")
}

/// JSON has `<` and `&` in strings only, where they can be escaped: without them no tag and no comment
/// begins or ends.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::status::Status;

    #[test]
    fn what_others_have_written_is_no_markup() {
        let evil = "</script><script>alert(1)</script><!-- \u{2028} \" \\ &lt; \x1b[31m<b>";
        let target = Some(evil.to_owned());
        let picture = Picture::of(target, Status::preparing(), &[evil], &[evil.into()], None);
        let sent = update("n", &picture);
        let inner = sent
            .strip_prefix("<script nonce=\"n\">hotrun(")
            .and_then(|sent| sent.strip_suffix(")</script>\n"))
            .unwrap();
        assert!(!inner.contains(['<', '>', '&']), "{inner}");
        let read: serde_json::Value = serde_json::from_str(inner).unwrap();
        assert_eq!(read["target"], evil);
        assert_eq!(read["state"], "preparing");
        assert_eq!(read["errors"][0][1]["style"], "red");
    }

    #[test]
    fn only_what_has_the_nonce_runs() {
        let page = begin("0123");
        assert!(page.contains("script-src 'nonce-0123'; style-src 'nonce-0123'"));
        for tag in ["<script", "<style"] {
            let all = page.matches(tag).count();
            let marked = page.matches(&format!("{tag} nonce=\"0123\">")).count();
            assert_eq!(all, marked, "{tag}");
        }
        assert!(!page.contains("{nonce}") && !page.contains("{script}"));
        // Attributes for styles and events would need a weaker policy.
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" on"));
    }
}

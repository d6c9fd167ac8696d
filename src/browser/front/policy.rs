//! Content security policies (CSP 3), extended by what our script needs and by nothing else: what the
//! app's policy refuses in production is refused here too. Pure.

/// What a page needs for our script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs<'a> {
    /// The host and port that the page was asked for at, as its `Host` header has it.
    pub(super) host: &'a str,
    /// The path of the script.
    pub(super) script: &'a str,
    /// Allows the script where a policy names scripts by nonces or hashes and has no nonce itself.
    pub(super) nonce: &'a str,
}

/// Policies that allow our script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The policies, in the order in which they were given.
    pub(super) policies: Vec<String>,
    /// The nonce that the script must have.
    pub(super) nonce: Option<String>,
    /// The nonce is not the app's own.
    pub(super) is_our_nonce: bool,
}

/// A policy.
struct Policy(Vec<Directive>);

/// A directive: its name, and its sources or other values.
struct Directive {
    name: String,
    values: Vec<String>,
}

/// Extends policies. `None`: no script at all can run in the page.
pub(super) fn allow(policies: &[&str], needs: Needs<'_>) -> Option<Allowed> {
    let mut all: Vec<Policy> = policies.iter().map(|text| Policy::read(text)).collect();
    if all.iter().any(Policy::is_without_scripts) {
        return None;
    }
    // The script has one nonce, which each policy must allow.
    let theirs = all.iter().find_map(Policy::nonce);
    let is_our_nonce = theirs.is_none() && all.iter().any(Policy::names_scripts);
    let nonce = theirs.or_else(|| is_our_nonce.then(|| needs.nonce.to_owned()));
    for policy in &mut all {
        policy.allow_script(needs, nonce.as_deref());
        policy.allow_socket(needs.host);
    }
    Some(Allowed {
        policies: all.iter().map(Policy::text).collect(),
        nonce,
        is_our_nonce,
    })
}

/// The same for a policy that our script comes before.
pub(super) fn allow_socket(policy: &str, host: &str) -> String {
    let mut extended = Policy::read(policy);
    if extended.allow_socket(host) {
        extended.text()
    } else {
        policy.to_owned()
    }
}

impl Policy {
    fn read(text: &str) -> Self {
        let directives = text.split(';').filter_map(|directive| {
            let mut words = directive.split_ascii_whitespace();
            Some(Directive {
                name: words.next()?.to_ascii_lowercase(),
                values: words.map(str::to_owned).collect(),
            })
        });
        Self(directives.collect())
    }

    fn text(&self) -> String {
        let directive = |one: &Directive| {
            let words = std::iter::once(&one.name).chain(&one.values);
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        self.0.iter().map(directive).collect::<Vec<_>>().join("; ")
    }

    /// Of several directives with one name the first counts.
    fn find(&self, names: &[&str]) -> Option<usize> {
        let find = |name: &&str| self.0.iter().position(|one| one.name == *name);
        names.iter().find_map(find)
    }

    /// The page is sandboxed without scripts.
    fn is_without_scripts(&self) -> bool {
        let allows = |values: &[String]| {
            let mut values = values.iter();
            values.any(|value| value.eq_ignore_ascii_case("allow-scripts"))
        };
        let sandbox = self.find(&["sandbox"]);
        sandbox.is_some_and(|at| !allows(&self.0[at].values))
    }

    /// The directive that decides about our script; with none, everything is allowed.
    fn of_scripts(&self) -> Option<usize> {
        self.find(&["script-src-elem", "script-src", "default-src"])
    }

    fn nonce(&self) -> Option<String> {
        let values = &self.0[self.of_scripts()?].values;
        let nonce = |value: &String| {
            let is_it = value.get(..7)?.eq_ignore_ascii_case("'nonce-");
            is_it.then(|| value[7..].strip_suffix('\'').map(str::to_owned))?
        };
        values.iter().find_map(nonce)
    }

    /// Scripts are allowed one by one, by a nonce or hash, so that a script of ours needs a nonce. Where a
    /// policy has `'unsafe-inline'` a nonce would take that from it.
    fn names_scripts(&self) -> bool {
        let is_name = |value: &String| {
            let value = value.to_ascii_lowercase();
            let starts = ["'nonce-", "'sha256-", "'sha384-", "'sha512-"];
            value == "'strict-dynamic'" || starts.iter().any(|start| value.starts_with(start))
        };
        let at = self.of_scripts();
        at.is_some_and(|at| self.0[at].values.iter().any(is_name))
    }

    fn allow_script(&mut self, needs: Needs<'_>, nonce: Option<&str>) {
        let Some(at) = self.of_scripts() else {
            return;
        };
        let source = match nonce {
            Some(nonce) if self.names_scripts() => format!("'nonce-{nonce}'"),
            _ if self.has(at, "'self'") => return,
            _ => source("http", needs.host, needs.script),
        };
        self.allow("script-src-elem", at, source);
    }

    /// Whether that has changed it.
    fn allow_socket(&mut self, host: &str) -> bool {
        // Not every browser takes `'self'` for the same host's WebSockets.
        let at = self.find(&["connect-src", "default-src"]);
        at.is_some_and(|at| self.allow("connect-src", at, source("ws", host, "")))
    }

    fn has(&self, at: usize, source: &str) -> bool {
        let mut values = self.0[at].values.iter();
        values.any(|value| value.eq_ignore_ascii_case(source))
    }

    /// Adds a source to the directive that decides; if that is about other things as well, `name` is put
    /// in its place for this one. Whether that has changed it.
    fn allow(&mut self, name: &str, at: usize, source: String) -> bool {
        if self.has(at, &source) {
            return false;
        }
        let mut values = self.0[at].values.clone();
        values.retain(|value| !value.eq_ignore_ascii_case("'none'"));
        values.push(source);
        if self.0[at].name == "default-src" {
            let name = name.to_owned();
            self.0.push(Directive { name, values });
        } else {
            self.0[at].values = values;
        }
        true
    }
}

/// A source for a path of this host. A policy can't name an IPv6 address: there it is the page's own
/// origin, or any WebSocket.
fn source(scheme: &str, host: &str, path: &str) -> String {
    match (host.starts_with('['), scheme) {
        (false, _) => format!("{scheme}://{host}{path}"),
        (true, "ws") => "ws:".into(),
        (true, _) => "'self'".into(),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(super) const NEEDS: Needs<'static> = Needs {
        host: "localhost:3000",
        script: "/s.js",
        nonce: "ours",
    };

    pub(crate) fn any_policy_is_extended_once_and_loses_nothing() -> Target {
        let corpus = [
            "default-src 'none'; img-src *; connect-src 'self'",
            "script-src 'nonce-abc' 'strict-dynamic'\nscript-src 'self' 'unsafe-inline'",
            "Script-Src-Elem 'sha256-x' 'NONE';; script-src https:\nsandbox Allow-Scripts",
            "default-src 'NONCE-abc'\nconnect-src ws://localhost:3000; sandbox",
        ];
        Target::text(&corpus, 10, |text| {
            let policies: Vec<&str> = text.split('\n').collect();
            let Some(once) = allow(&policies, NEEDS) else {
                return;
            };
            assert_eq!(once.policies.len(), policies.len());
            let all: Vec<&str> = once.policies.iter().map(String::as_str).collect();
            assert_eq!(allow(&all, NEEDS).unwrap().policies, all);
            for (before, after) in policies.iter().zip(&once.policies) {
                let after = after.to_ascii_lowercase();
                let after: Vec<&str> = after.split([';', ' ']).collect();
                let before_words = before.to_ascii_lowercase();
                let words = before_words.split(|c: char| c == ';' || c.is_ascii_whitespace());
                for word in words.filter(|word| !["'none'", ""].contains(word)) {
                    assert!(after.contains(&word), "{word}");
                }
                let with_socket = allow_socket(before, NEEDS.host);
                assert_eq!(allow_socket(&with_socket, NEEDS.host), with_socket);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::hostile_tests::NEEDS;
    use super::*;

    fn allowed(policies: &[&str]) -> Allowed {
        allow(policies, NEEDS).unwrap()
    }

    #[test]
    fn a_policy_gets_what_the_script_needs_and_nothing_else() {
        let ws = "ws://localhost:3000";
        let js = "http://localhost:3000/s.js";
        for (policy, expected) in [
            ("img-src 'none'", "img-src 'none'".to_owned()),
            ("script-src 'self'", "script-src 'self'".into()),
            ("script-src 'none'", format!("script-src {js}")),
            (
                "Script-Src cdn.example 'unsafe-inline';connect-src 'self' ;",
                format!("script-src cdn.example 'unsafe-inline' {js}; connect-src 'self' {ws}"),
            ),
            (
                "default-src 'self'",
                format!("default-src 'self'; connect-src 'self' {ws}"),
            ),
            (
                "default-src 'none'; img-src *",
                format!("default-src 'none'; img-src *; script-src-elem {js}; connect-src {ws}"),
            ),
            (
                "script-src 'none'; script-src-elem 'self'",
                "script-src 'none'; script-src-elem 'self'".into(),
            ),
            ("connect-src *", format!("connect-src * {ws}")),
        ] {
            let allowed = allowed(&[policy]);
            assert_eq!(
                (allowed.nonce, allowed.policies),
                (None, vec![expected]),
                "{policy}"
            );
        }
    }

    #[test]
    fn nonces_are_kept_and_added_where_scripts_are_named() {
        let own = allowed(&["script-src 'nonce-abc' 'strict-dynamic'"]);
        assert_eq!(own.policies, ["script-src 'nonce-abc' 'strict-dynamic'"]);
        assert_eq!(
            (own.nonce.as_deref(), own.is_our_nonce),
            (Some("abc"), false)
        );
        let hash = allowed(&["script-src 'sha256-x'"]);
        assert_eq!(hash.policies, ["script-src 'sha256-x' 'nonce-ours'"]);
        assert_eq!(
            (hash.nonce.as_deref(), hash.is_our_nonce),
            (Some("ours"), true)
        );
        // A nonce would take `'unsafe-inline'` from the second one.
        let both = allowed(&[
            "script-src 'nonce-abc'",
            "script-src 'self' 'unsafe-inline'",
        ]);
        assert_eq!(
            both.policies,
            [
                "script-src 'nonce-abc'",
                "script-src 'self' 'unsafe-inline'"
            ]
        );
        let two = allowed(&["script-src 'sha256-x'", "script-src 'nonce-abc'"]);
        assert_eq!(
            two.policies,
            [
                "script-src 'sha256-x' 'nonce-abc'",
                "script-src 'nonce-abc'"
            ]
        );
        let case = allowed(&["default-src 'NONCE-abc'"]);
        assert_eq!(case.nonce.as_deref(), Some("abc"));
    }

    #[test]
    fn where_no_script_runs_nothing_is_done() {
        assert_eq!(allow(&["sandbox allow-forms"], NEEDS), None);
        let some = allow(&["sandbox Allow-Scripts"], NEEDS);
        assert_eq!(some.unwrap().policies, ["sandbox Allow-Scripts"]);
        assert_eq!(allowed(&[]), Allowed::default());
        assert_eq!(allowed(&["", ";;"]).policies, ["", ""]);
    }

    #[test]
    fn an_ipv6_address_can_not_be_named() {
        let needs = Needs {
            host: "[::1]:3000",
            ..NEEDS
        };
        let allowed = allow(&["script-src 'none'; connect-src 'none'"], needs).unwrap();
        assert_eq!(allowed.policies, ["script-src 'self'; connect-src ws:"]);
    }

    #[test]
    fn a_policy_behind_the_script_is_about_its_socket_alone() {
        for (policy, expected) in [
            ("script-src 'none'", "script-src 'none'"),
            ("connect-src 'none'", "connect-src ws://localhost:3000"),
            ("  img-src  * ;", "  img-src  * ;"),
        ] {
            assert_eq!(allow_socket(policy, NEEDS.host), expected);
        }
    }
}

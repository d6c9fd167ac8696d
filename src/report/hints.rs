//! The next step for what is not as it should be, and what was awaited in vain. Pure.

use std::path::Path;

use super::context::Context;
use super::phrases::ms;
use crate::config::{Question, Ready};
use crate::session::action::Hint;
use crate::session::event::{Answer, Holder, Taken};
use crate::session::model::{Cure, Writer};
use crate::session::reason::{AND_REBUILD, Reason};
use crate::sys;

/// The builds wait for another cargo again and again.
pub(super) fn often_blocked(on: &str) -> Reason {
    Reason::new(
        format!("builds wait for another cargo again and again: {on}"),
        "give it a directory of its own (rust-analyzer: set `cargo.targetDir` to true), or use \
         `--fast`, which has one",
    )
}

/// What to do where builds take long.
pub(super) const SLOW_BUILDS: &str = "`--fast` (`fast = true` of [build]) builds with no more debug \
                                      information than backtraces need, and without cargo where only \
                                      your own sources changed; `hotrun doctor --builds` measures what \
                                      that gains";

/// What to do where a stream ends with the generation that sends it.
pub(super) const STREAM: &str = "a stream or WebSocket ends with the version that sends it: have the \
                                 client connect again (`EventSource` does), and end streams on the stop \
                                 signal if the app finishes by itself";

/// What to do where an app does not accept on a held address.
pub(super) const UNCLAIMED: &str =
    "take every socket that is handed over, or hold only what the app serves";

/// What to do about a program that ends at once and without a word.
pub(super) const SILENT: &str = "its stdin is empty; if it is to read yours, use `--stdin app`";

/// What was awaited of a candidate in vain, and what to do about that.
pub(super) fn not_ready(
    context: &Context,
    answer: Option<Answer>,
) -> (Option<String>, Option<String>) {
    let awaited = match &context.expected {
        Some(Ready::Asked(Question::Accept)) => {
            let awaited = "no connection to it was accepted".into();
            return (Some(awaited), accepts_nothing(&context.addresses));
        }
        Some(Ready::Asked(Question::Http { tls, path })) => {
            let over = if *tls { " over TLS" } else { "" };
            let (said, hint) = answered(answer, path);
            let awaited =
                format!("no `GET {path}`{over} was answered with a status below 400{said}");
            if hint.is_some() {
                return (Some(awaited), hint);
            }
            awaited
        }
        Some(Ready::Notify) => "no `READY=1` came on `NOTIFY_SOCKET`".into(),
        Some(Ready::Log(pattern)) => format!("no line of its output matches `{pattern}`"),
        Some(Ready::Delay(time)) => format!("`ready` waits for {}", ms(*time)),
        None => return (None, accepts_nothing(&context.addresses)),
    };
    let hint = "raise `ready_timeout` if it needs longer, or set another `ready` in [app] of \
                .reload.toml";
    (Some(awaited), Some(hint.into()))
}

/// What came instead of a good answer, and what to do where another time limit would not help.
fn answered(answer: Option<Answer>, path: &str) -> (String, Option<String>) {
    let ask = |scheme| {
        Some(format!(
            "set `ready = \"{scheme}:{path}\"` in [app] of .reload.toml"
        ))
    };
    let (said, hint) = match answer {
        None => return (String::new(), None),
        Some(Answer::Status(code)) => (format!("it answered {code}"), None),
        Some(Answer::Nothing) => ("it closed the connection without a word".into(), None),
        Some(Answer::Other) => (
            "it answers with something else than HTTP".into(),
            Some(NO_HTTP.into()),
        ),
        Some(Answer::Tls) => ("the port speaks TLS".into(), ask("https")),
        Some(Answer::Plain) => ("the port speaks no TLS".into(), ask("http")),
        Some(Answer::Http2) => ("the port speaks HTTP/2 alone".into(), Some(NO_HTTP.into())),
    };
    (format!(": {said}"), hint)
}

/// What proves that a server is ready which speaks something else.
const NO_HTTP: &str = "`http:` and `https:` ask in HTTP/1.1; set `ready = \"tcp\"`, then it is enough \
                       that the app accepts a connection, or `\"log:REGEX\"` or `\"notify\"`, in [app] \
                       of .reload.toml";

/// Nothing was seen that proves by itself that an app serves.
fn accepts_nothing(held: &[String]) -> Option<String> {
    let accepts = |address: &&String| {
        let datagrams = ["udp:", "unix-dgram:"];
        !datagrams.iter().any(|kind| address.starts_with(kind))
    };
    match held.iter().find(accepts) {
        Some(address) => Some(format!(
            "nothing was seen accepting on {address}; take the socket from `listenfd`, or set \
             `ready` in [app] of .reload.toml"
        )),
        None if held.is_empty() => None,
        None => Some("set `ready` in [app] of .reload.toml to what proves that it serves".into()),
    }
}

/// What can be done for a file that nothing depends on.
pub(super) fn no_dependents(path: &Path, cure: Cure, context: &Context) -> String {
    let shown = pattern(path, context);
    let dir = shown.rsplit_once('/').map_or(".", |(dir, _)| dir);
    if let Cure::CompiledIn(_) = cure {
        let watched = dir.trim_start_matches("./");
        let declared = path.parent().unwrap_or(path).display();
        return format!(
            "print `cargo::rerun-if-changed={declared}` in build.rs, or write `paths = \
             [\"{watched}\"]` under [watch] in .reload.toml"
        );
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let name = ending.map_or_else(|| "*".into(), |ending| format!("*.{ending}"));
    let paths = if dir.split('/').all(|part| part == "." || part == "..") {
        format!("{dir}/{name}")
    } else {
        format!("{dir}/**/{name}")
    };
    let (when, reaction) = match ending {
        Some("css" | "js" | "mjs") => ("if browsers load it", "reload-browser"),
        _ => ("if the app reads it when it starts", "restart"),
    };
    // Of these, some apps read each anew for each request.
    let or = match ending {
        Some("hbs" | "html" | "j2" | "jinja" | "jinja2" | "liquid" | "tera") => {
            "; `\"reload-browser\"` if it reads it for each request"
        }
        _ => "",
    };
    format!(
        "{when}, write `[[on]]`, `paths = [\"{paths}\"]` and `do = \"{reaction}\"` into \
         .reload.toml{or}"
    )
}

/// What to do about a file that the build or the app writes, so that it is known for good.
pub(super) fn own_writing(path: &Path, writer: Writer, context: &Context) -> String {
    match writer {
        Writer::Build => "have it written into `OUT_DIR`, or only when its content differs".into(),
        Writer::Start | Writer::App => format!(
            "print `cargo::rerun-if-changed` in build.rs for what it reads, or add `{}` to `ignore` of \
             [watch]",
            pattern(path, context)
        ),
    }
}

/// What to do about a reaction that changes what it reacts to.
pub(super) fn edit_loop(path: &Path, context: &Context) -> String {
    format!(
        "write the file only when its content differs, or add `{}` to `ignore` of [watch]",
        pattern(path, context)
    )
}

/// The pattern that matches this file alone, as it is written in the configuration file.
fn pattern(path: &Path, context: &Context) -> String {
    let path = context.base.join(path);
    let dirs = context.patterns.ancestors().enumerate();
    // Farther up than the project itself, a whole path says it better.
    let dirs = dirs.take_while(|(up, dir)| *up == 0 || dir.starts_with(&context.base));
    for (up, dir) in dirs {
        if let Ok(inside) = path.strip_prefix(dir) {
            let inside = sys::slashed(inside);
            // Without a slash it would match that name anywhere.
            return match (up, path.parent() == Some(dir)) {
                (0, true) => format!("./{inside}"),
                (_, _) => format!("{}{inside}", "../".repeat(up)),
            };
        }
    }
    sys::slashed(&path)
}

/// What to do where an address that the app binds is taken.
pub(super) fn in_use(taken: &Taken, once: bool) -> Option<String> {
    match taken.by {
        Holder::Live => None,
        Holder::Hotrun => Some(
            "give the app another port, or hotrun: `port` of [livereload] in .reload.toml".into(),
        ),
        Holder::Held(_) => Some(format!(
            "declare what the app binds (`--listen {}`), or nothing at all",
            taken.address
        )),
        Holder::Other(_) => {
            let then = if once { "" } else { AND_REBUILD };
            Some(format!(
                "end that program{then}, or give this app another port, like with a variable in `env` \
                 of [app] in .reload.toml"
            ))
        }
    }
}

/// What may help an app that has ended.
pub(super) fn ended(hint: &Hint, context: &Context) -> String {
    match hint {
        Hint::BindsHeld => {
            let address = context
                .addresses
                .first()
                .map_or("the address", String::as_str);
            format!(
                "{address} is held by hotrun; take it from `listenfd` instead of binding \
                 it, or leave out --listen"
            )
        }
        Hint::AsksFirst => {
            let address = context
                .addresses
                .first()
                .map_or("its address", String::as_str);
            format!(
                "the app connects to {address} to see whether it runs already, and hotrun holds \
                 that for it; start hotrun with --no-capture: it then stops the app before it starts \
                 the next one"
            )
        }
        Hint::WantsTerminal => {
            "the app wants the terminal: use `--stdin app`, or set `tty = true` in [app] of \
             .reload.toml"
                .into()
        }
        Hint::Succeeded => {
            let held = if context.declares {
                "if its work is done by then, leave --listen out"
            } else {
                "a server stays until it is asked to end"
            };
            let stdin = if context.reads {
                ""
            } else {
                "; if it ends because its stdin is empty, use `--stdin app`"
            };
            format!("{held}{stdin}")
        }
        Hint::NotBuilt(names) => {
            let (shown, written) = (names.join("`, `"), names.join("\", \""));
            format!(
                "`{shown}` of this package is not built; if the app starts it from beside its \
                 own executable, write `bins = [\"{written}\"]` into [build] of .reload.toml"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Text;

    #[track_caller]
    fn case(ready: Option<&str>, held: &[&str], why: Option<&str>, hint: Option<&str>) {
        let context = Context {
            addresses: held.iter().map(ToString::to_string).collect(),
            expected: ready.map(|ready| Ready::read(ready).unwrap()),
            ..Context::default()
        };
        let (reason, advice) = not_ready(&context, None);
        assert_eq!(reason.as_deref(), why);
        match hint {
            Some(hint) => assert!(advice.is_some_and(|advice| advice.contains(hint))),
            None => assert_eq!(advice, None),
        }
    }

    #[track_caller]
    fn advised(path: &str, patterns: &str, of_file: &str, of_its_like: &str) {
        let context = Context {
            base: "/w".into(),
            patterns: patterns.into(),
            ..Context::default()
        };
        assert_eq!(pattern(Path::new(path), &context), of_file);
        let text = no_dependents(Path::new(path), Cure::Restart, &context);
        let paths = format!("`paths = [\"{of_its_like}\"]`");
        assert!(text.contains(&paths), "{text}");
    }

    #[test]
    fn patterns_start_from_the_configuration_file() {
        let page = "app/templates/a.html";
        advised(page, "/w", page, "app/templates/**/*.html");
        advised(page, "/w/app", "templates/a.html", "templates/**/*.html");
        advised(page, "/w/app/templates", "./a.html", "./*.html");
        advised(
            "shared/a.sql",
            "/w/app",
            "../shared/a.sql",
            "../shared/**/*.sql",
        );
        advised("a.sql", "/w/app", "../a.sql", "../*.sql");
        advised(
            page,
            "/etc",
            "/w/app/templates/a.html",
            "/w/app/templates/**/*.html",
        );
        advised("/x/a.sql", "/w/app", "/x/a.sql", "/x/**/*.sql");
    }

    #[test]
    fn what_browsers_load_is_reloaded_there() {
        for (path, reactions) in [
            ("static/a.css", &["`do = \"reload-browser\"`"][..]),
            ("config/a.toml", &["`do = \"restart\"`"]),
            (
                "templates/a.html",
                &["`do = \"restart\"`", "`\"reload-browser\"`"],
            ),
        ] {
            let hint = no_dependents(Path::new(path), Cure::Restart, &Context::default());
            let is_said = |reaction: &&str| hint.contains(*reaction);
            assert!(reactions.iter().all(is_said), "{hint}");
            let count = hint.matches("reload-browser").count() + hint.matches("restart").count();
            assert_eq!(count, reactions.len(), "{hint}");
        }
    }

    #[test]
    fn an_address_in_use_has_a_way_on() {
        let hint = |by, once| {
            let address = "127.0.0.1:3000".into();
            in_use(&Taken { address, by }, once)
        };
        let other = || Holder::Other("pid 7".into());
        let then = "end that program and rebuild (`r`, or `hotrun ctl rebuild`), or ";
        assert!(hint(other(), false).unwrap().starts_with(then));
        let over = "end that program, or ";
        assert!(hint(other(), true).unwrap().starts_with(over));
        let held = hint(Holder::Held("0.0.0.0:3000".into()), false).unwrap();
        assert!(held.contains("`--listen 127.0.0.1:3000`"), "{held}");
        assert_eq!(hint(Holder::Live, false), None);
    }

    #[test]
    fn what_was_awaited_is_named() {
        let held = ["udp:127.0.0.1:53", "127.0.0.1:3000"];
        let longer = Some("raise `ready_timeout`");
        for (ready, why) in [
            (
                "http:/health",
                "no `GET /health` was answered with a status below 400",
            ),
            (
                "https:/health",
                "no `GET /health` over TLS was answered with a status below 400",
            ),
            ("notify", "no `READY=1` came on `NOTIFY_SOCKET`"),
            ("log:^warm$", "no line of its output matches `^warm$`"),
            ("delay:20s", "`ready` waits for 20.0 s"),
        ] {
            case(Some(ready), &held, Some(why), longer);
        }
        let nothing = Some("nothing was seen accepting on 127.0.0.1:3000;");
        case(None, &held, None, nothing);
        let unaccepted = Some("no connection to it was accepted");
        case(Some("tcp"), &held, unaccepted, nothing);
        case(None, &held[..1], None, Some("set `ready` in [app]"));
        case(None, &[], None, None);
    }

    #[test]
    fn what_the_port_speaks_is_named_with_what_to_ask_it() {
        for (ready, answer, why, hint) in [
            (
                "http:/a",
                Answer::Tls,
                "the port speaks TLS",
                "set `ready = \"https:/a\"`",
            ),
            (
                "https:/a",
                Answer::Plain,
                "the port speaks no TLS",
                "set `ready = \"http:/a\"`",
            ),
            (
                "http:/a",
                Answer::Http2,
                "the port speaks HTTP/2 alone",
                "set `ready = \"tcp\"`",
            ),
            (
                "http:/a",
                Answer::Status(503),
                "it answered 503",
                "raise `ready_timeout`",
            ),
        ] {
            let context = Context {
                expected: Some(Ready::read(ready).unwrap()),
                ..Context::default()
            };
            let (reason, advice) = not_ready(&context, Some(answer));
            let reason = reason.unwrap();
            assert!(
                reason.ends_with(&format!(" a status below 400: {why}")),
                "{reason}"
            );
            assert!(advice.unwrap().contains(hint));
        }
    }
}

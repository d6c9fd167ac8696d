//! Why something is not as it should be, and the next step. Pure.

use std::path::Path;

use super::text::{Context, Level, ms};
use crate::config::Ready;
use crate::session::action::Hint;
use crate::session::event::{Answer, Holder, Open, Taken};
use crate::session::model::{Cure, Generation, Writer};

/// An old generation is asked to finish, and what ends with it.
pub(super) fn draining(generation: Generation, open: Open, first_stream: bool) -> (Level, String) {
    let mut level = Level::Detail;
    let mut ends = Vec::new();
    if open.streams > 0 {
        level = Level::Info;
        let s = if open.streams == 1 { "" } else { "s" };
        ends.push(format!("{} open stream{s}", open.streams));
    }
    // What an app has begun that handles the signal, it may still finish.
    if open.dies && open.busy > 0 {
        level = Level::Warn;
        let s = if open.busy == 1 { "" } else { "s" };
        ends.push(format!("{} unanswered connection{s}", open.busy));
    }
    let mut text = format!("{generation} was asked to finish");
    if !ends.is_empty() {
        text += " with ";
        text += &ends.join(" and ");
    }
    if first_stream {
        text += "\nhint: a stream or WebSocket ends with the version that sends it: have the client \
                 connect again (`EventSource` does), and end streams on the stop signal if the app \
                 finishes by itself";
    }
    (level, text)
}

/// What was awaited of a candidate in vain, and what to do about that.
pub(super) fn not_ready(context: &Context, answer: Option<Answer>) -> (String, String) {
    let awaited = match &context.expected {
        Some(Ready::Http(path)) => {
            let (said, hint) = answered(answer);
            let awaited = format!(": no `GET {path}` was answered with a status below 400{said}");
            if let Some(hint) = hint {
                return (awaited, format!("\nhint: {hint}"));
            }
            awaited
        }
        Some(Ready::Notify) => ": no `READY=1` came on `NOTIFY_SOCKET`".into(),
        Some(Ready::Log(pattern)) => format!(": no line of its output matches `{pattern}`"),
        Some(Ready::Delay(time)) => format!(": `ready` waits for {}", ms(*time)),
        None => return (String::new(), accepts_nothing(&context.addresses)),
    };
    let hint = "\nhint: raise `ready_timeout` if it needs longer, or set another `ready` in [app] \
                of .reload.toml";
    (awaited, hint.into())
}

/// What came instead of a good answer, and what to do where another time limit would not help.
fn answered(answer: Option<Answer>) -> (String, Option<&'static str>) {
    let (said, hint) = match answer {
        None => return (String::new(), None),
        Some(Answer::Status(code)) => (format!("it answered {code}"), None),
        Some(Answer::Nothing) => ("it closed the connection without a word".into(), None),
        Some(Answer::Other) => (
            "it answers with something else than HTTP".into(),
            Some(NO_HTTP),
        ),
        Some(Answer::Tls) => ("it speaks TLS there".into(), Some(NO_HTTP)),
        Some(Answer::Http2) => ("it speaks HTTP/2 alone there".into(), Some(NO_HTTP)),
    };
    (format!(", {said}"), hint)
}

/// What proves that a server is ready which speaks something else.
const NO_HTTP: &str = "`http:` asks in plain HTTP/1.1; leave `ready` out, then it is enough that the app \
                       accepts connections, or set `ready = \"log:REGEX\"` or `\"notify\"` in [app] of \
                       .reload.toml";

/// Nothing was seen that proves by itself that an app serves.
fn accepts_nothing(held: &[String]) -> String {
    let accepts = |address: &&String| {
        let datagrams = ["udp:", "unix-dgram:"];
        !datagrams.iter().any(|kind| address.starts_with(kind))
    };
    match held.iter().find(accepts) {
        Some(address) => format!(
            "\nhint: nothing was seen accepting on {address}; take the socket from `listenfd`, or set \
             `ready` in [app] of .reload.toml"
        ),
        None if held.is_empty() => String::new(),
        None => "\nhint: set `ready` in [app] of .reload.toml to what proves that it serves".into(),
    }
}

/// What can be done for a file that nothing depends on.
pub(super) fn nobody_depends(path: &Path, cure: Cure, context: &Context) -> String {
    let shown = pattern(path, context);
    let dir = shown.rsplit_once('/').map_or(".", |(dir, _)| dir);
    if let Cure::CompiledIn(name) = cure {
        let watched = dir.trim_start_matches("./");
        let declared = path.parent().unwrap_or(path).display();
        return format!(
            "`{}` is compiled in by {name}, but cargo does not know of it: nothing was built for it\n\
             hint: print `cargo::rerun-if-changed={declared}` in build.rs, or write `paths = \
             [\"{watched}\"]` under [watch] in .reload.toml",
            path.display()
        );
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let name = ending.map_or_else(|| "*".into(), |ending| format!("*.{ending}"));
    let paths = if dir.split('/').all(|part| part == "." || part == "..") {
        format!("{dir}/{name}")
    } else {
        format!("{dir}/**/{name}")
    };
    format!(
        "no program depends on `{}`: nothing was started for it\nhint: if the app reads it when it \
         starts, write `[[on]]`, `paths = [\"{paths}\"]` and `do = \"restart\"` into .reload.toml",
        path.display()
    )
}

/// What starts no build from now on, and how to say so for good.
pub(super) fn own_writing(path: &Path, writer: Writer, context: &Context) -> String {
    let shown = path.display();
    let ignore = pattern(path, context);
    match writer {
        Writer::Build => format!(
            "`{shown}` is written by the build itself: that starts no build\nhint: have it written \
             into `OUT_DIR`, or only when its content differs"
        ),
        Writer::Start => format!(
            "`{shown}` changes whenever a generation is built or started: that starts no build\n\
             hint: print `cargo::rerun-if-changed` in build.rs for what it reads, or add `{ignore}` to `ignore` \
             of [watch]"
        ),
        Writer::App => format!(
            "`{shown}` is written by the app while it runs: that starts no build\nhint: print \
             `cargo::rerun-if-changed` in build.rs for what it reads, or add `{ignore}` to `ignore` \
             of [watch]"
        ),
    }
}

/// The pattern that matches this file alone, as it is written in the configuration file.
pub(super) fn pattern(path: &Path, context: &Context) -> String {
    let path = context.base.join(path);
    let dirs = context.patterns.ancestors().enumerate();
    // Farther up than the project itself, a whole path says it better.
    let dirs = dirs.take_while(|(up, dir)| *up == 0 || dir.starts_with(&context.base));
    for (up, dir) in dirs {
        if let Ok(inside) = path.strip_prefix(dir) {
            let inside = inside.display();
            // Without a slash it would match that name anywhere.
            return match (up, path.parent() == Some(dir)) {
                (0, true) => format!("./{inside}"),
                (_, _) => format!("{}{inside}", "../".repeat(up)),
            };
        }
    }
    path.display().to_string()
}

/// Somebody else has the address that a generation has bound.
pub(super) fn in_use(generation: Generation, taken: &Taken) -> String {
    let (address, says) = (&taken.address, "cannot listen on");
    match &taken.by {
        Holder::Live => {
            format!("{generation} {says} {address}: live does, in a way that is not held")
        }
        Holder::Hotrun => format!(
            "{generation} {says} {address}: it crosses an address that hotrun was told to hold\nhint: \
             declare with --listen what the app binds, or nothing at all"
        ),
        Holder::Other(other) => format!(
            "{generation} {says} {address}: it is in use by {other}\nhint: end that program, or give this \
             app another port, like with a variable in `env` of [app] in .reload.toml"
        ),
    }
}

/// What may help an app that has ended.
pub(super) fn hint_words(hint: &Hint, context: &Context) -> String {
    match hint {
        Hint::BindsHeld => {
            let address = context
                .addresses
                .first()
                .map_or("the address", String::as_str);
            format!(
                "\nhint: {address} is held by hotrun; take it from `listenfd` instead of binding \
                 it, or leave out --listen"
            )
        }
        Hint::AsksFirst => {
            let address = context
                .addresses
                .first()
                .map_or("its address", String::as_str);
            format!(
                "\nhint: the app connects to {address} to see whether it runs already, and hotrun holds \
                 that for it; start hotrun with --no-capture: it then stops the app before it starts \
                 the next one"
            )
        }
        Hint::WantsTerminal => {
            "\nhint: the app wants the terminal: use `--stdin app`, or set `tty = true` in [app] of \
             .reload.toml"
                .into()
        }
        Hint::NotBuilt(names) => {
            let (shown, written) = (names.join("`, `"), names.join("\", \""));
            format!(
                "\nhint: `{shown}` of this package is not built; if the app starts it from beside its \
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
    fn case(ready: Option<&str>, held: &[&str], why: &str, hint: &str) {
        let context = Context {
            addresses: held.iter().map(ToString::to_string).collect(),
            expected: ready.map(|ready| Ready::read(ready).unwrap()),
            ..Context::default()
        };
        let (said, advice) = not_ready(&context, None);
        assert_eq!(said, why);
        assert!(advice.contains(hint), "{advice}");
    }

    #[track_caller]
    fn advised(path: &str, patterns: &str, of_file: &str, of_its_like: &str) {
        let context = Context {
            base: "/w".into(),
            patterns: patterns.into(),
            ..Context::default()
        };
        assert_eq!(pattern(Path::new(path), &context), of_file);
        let text = nobody_depends(Path::new(path), Cure::Restart, &context);
        let paths = format!("`paths = [\"{of_its_like}\"]`");
        assert!(text.contains(&paths), "{text}");
    }

    #[test]
    fn what_ends_with_an_old_generation_is_named() {
        let says = |dies, busy, streams, first| {
            let open = Open {
                dies,
                busy,
                streams,
            };
            let (level, text) = draining(Generation(3), open, first);
            let (text, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
            assert_eq!(hint.is_empty(), !first);
            (level, text.replace("g3 was asked to finish", ""))
        };
        assert_eq!(says(true, 0, 0, false), (Level::Detail, String::new()));
        assert_eq!(says(false, 2, 0, false), (Level::Detail, String::new()));
        let one = " with 1 open stream".to_owned();
        assert_eq!(says(false, 1, 1, true), (Level::Info, one));
        let both = " with 2 open streams and 1 unanswered connection".to_owned();
        assert_eq!(says(true, 1, 2, false), (Level::Warn, both));
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
    fn what_was_awaited_is_named() {
        let held = ["udp:127.0.0.1:53", "127.0.0.1:3000"];
        let longer = "\nhint: raise `ready_timeout`";
        case(
            Some("http:/health"),
            &held,
            ": no `GET /health` was answered with a status below 400",
            longer,
        );
        case(
            Some("notify"),
            &held,
            ": no `READY=1` came on `NOTIFY_SOCKET`",
            longer,
        );
        case(
            Some("log:^warm$"),
            &held,
            ": no line of its output matches `^warm$`",
            longer,
        );
        case(
            Some("delay:20s"),
            &held,
            ": `ready` waits for 20.0 s",
            longer,
        );
        case(
            None,
            &held,
            "",
            "nothing was seen accepting on 127.0.0.1:3000;",
        );
        case(None, &held[..1], "", "\nhint: set `ready` in [app]");
        case(None, &[], "", "");
    }
}

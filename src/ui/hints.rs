//! Why something is not as it should be, and the next step. Pure.

use std::path::Path;

use super::text::{Context, ms};
use crate::config::Ready;
use crate::session::action::Hint;

/// What was awaited of a candidate in vain, and what to do about that.
pub(super) fn not_ready(context: &Context) -> (String, String) {
    let awaited = match &context.expected {
        Some(Ready::Http(path)) => {
            format!(": no `GET {path}` was answered with a status below 400")
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

/// How to have the app started again for a file.
pub(super) fn nobody_depends(path: &Path) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let name = ending.map_or_else(|| "*".into(), |ending| format!("*.{ending}"));
    let paths = match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => format!("{}/**/{name}", dir.display()),
        None => format!("./{name}"),
    };
    format!(
        "no program depends on `{}`: nothing was started for it\nhint: if the app reads it when it \
         starts, write `[[on]]`, `paths = [\"{paths}\"]` and `do = \"restart\"` into .reload.toml",
        path.display()
    )
}

/// What may help an app that has ended.
pub(super) fn hint_words(hint: Hint, context: &Context) -> String {
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
        Hint::WantsTerminal => {
            "\nhint: the app wants the terminal: use `--stdin app`, or set `tty = true` in [app] of \
             .reload.toml"
                .into()
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
        let (said, advice) = not_ready(&context);
        assert_eq!(said, why);
        assert!(advice.contains(hint), "{advice}");
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

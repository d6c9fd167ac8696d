//! Settings in the environment: `HOTRUN_CFG_<SECTION>_<KEY>`. A string is written without quotes;
//! everything else as in the file; a list may also be its only element. Pure.

use std::ffi::OsString;

use serde::Deserialize;
use toml::{Table, Value};

use super::file::refused;
use super::layer::{Key, Layer, SECTIONS};
use super::value::Shape;
use super::wording::nearest;
use crate::exit::Failure;

/// The prefix of all names.
pub const PREFIX: &str = "HOTRUN_CFG_";

/// The variables for hotrun in an environment, as text; one that is not UTF-8 is refused rather than
/// changed.
pub fn texts(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Failure> {
    let ours = |(name, _): &(OsString, OsString)| name.to_string_lossy().starts_with(PREFIX);
    let text = |(name, value): (OsString, OsString)| match (name.into_string(), value.into_string())
    {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (name, _) => {
            let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
            let problem = format!("{name}: its name or its value is no UTF-8");
            Err(Failure::usage(problem).hint("write it in UTF-8, or in .reload.toml"))
        }
    };
    all.into_iter().filter(ours).map(text).collect()
}

/// The layer of these variables.
pub fn layer(variables: impl IntoIterator<Item = (String, String)>) -> Result<Layer, Failure> {
    let mut layer = Layer::default();
    for (name, text) in variables {
        if name.starts_with(PREFIX) {
            layer = one(&name, &text)?.over(layer);
        }
    }
    Ok(layer)
}

/// The name of the variable for a key.
pub fn name(section: &str, key: &str) -> String {
    format!("{PREFIX}{section}_{key}").to_uppercase()
}

fn one(variable: &str, text: &str) -> Result<Layer, Failure> {
    let known = || {
        let keys = |section: &super::layer::Section| {
            let section = *section;
            section.keys.iter().map(move |key| (section.name, key))
        };
        SECTIONS.0.iter().flat_map(keys)
    };
    let Some((section, key)) = known().find(|(section, key)| name(section, key.name) == variable)
    else {
        return Err(unknown(
            variable,
            known().map(|(section, key)| name(section, key.name)),
        ));
    };
    let value = value(key, text).ok_or_else(|| {
        let kind = (key.kind)();
        Failure::usage(format!(
            "{variable}: cannot read `{text}`; it takes: {kind}"
        ))
        .hint("write it as in the file: `true`, `['a', 'b']` or `{ NAME = 'value' }`")
    })?;
    let table = Table::from_iter([(key.name.to_owned(), value)]);
    let table = Table::from_iter([(section.to_owned(), table.into())]);
    // The message ends with the place in a file, which there is not.
    Layer::deserialize(table).map_err(|error| {
        let message = error.to_string();
        let (message, _) = message.rsplit_once("\nin `").unwrap_or((&message, ""));
        refused(variable, message, "")
    })
}

fn unknown(variable: &str, known: impl Iterator<Item = String>) -> Failure {
    // The common prefix is left out of the comparison.
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let known: Vec<String> = known.map(|name| bare(&name)).collect();
    let near = nearest(&bare(variable), known.iter().map(String::as_str));
    let listed = SECTIONS.1.iter().map(|section| name(section.name, ""));
    let hint = match near {
        Some(near) => format!("did you mean `{PREFIX}{near}`?"),
        None if listed.into_iter().any(|list| variable.starts_with(&list)) => {
            "a section with double brackets stands in the file only".to_owned()
        }
        None => format!("write `{PREFIX}SECTION_KEY`, like `{PREFIX}APP_SETTLE`"),
    };
    Failure::usage(format!("{variable}: there is no such setting")).hint(hint)
}

fn value(key: &Key, text: &str) -> Option<Value> {
    let as_it_is = match key.shape {
        Shape::Text => true,
        Shape::List => !text.trim_start().starts_with('['),
        Shape::Toml => false,
    };
    if !as_it_is {
        return text.parse().ok();
    }
    let text = Value::String(text.to_owned());
    // Only a list of strings may be its one element; a command stays a line for `sh`.
    let list = key.shape == Shape::List && (key.kind)().starts_with("list of");
    Some(if list { Value::Array(vec![text]) } else { text })
}

#[cfg(any(test, fuzzing))]
pub(crate) mod hostile_tests {
    use super::*;
    use crate::hostile::Target;

    pub(crate) fn any_variable_is_read_or_refused_with_a_way_out() -> Target {
        let corpus = [
            "APP_SETTLE=1s",
            "APP_ARGS=['--port=1', \"\\u00e9\"]",
            "APP_ENV={ A = '1', \"B C\" = '2' }",
            "APP_READY=log:^(a|b)+$",
            "APP_READY=https:/health",
            "BUILD_JOBS=-1",
            "BUILD_RELEASE=true",
            "WATCH_IGNORE=target/**/{a,b}[!c]*",
            "HOOKS_BEFORE_BUILD=make it",
            "LIVERELOAD_PORT=35729",
            "LIVERELOAD_EDITOR=vscode://file/{path}:{line}",
            "LISTEN_ADDRESS=:3000",
        ];
        Target::text(&corpus, 20, |text| {
            let (name, text) = text.split_once('=').unwrap_or((text, ""));
            let name = format!("{PREFIX}{name}");
            if let Err(failure) = layer([(name, text.to_owned())]) {
                assert!(failure.message.starts_with(PREFIX), "{failure}");
                let hint = failure.hint.as_deref().unwrap_or_default();
                assert!(!hint.is_empty(), "{failure}");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::Time;
    use super::*;
    use crate::sys::testing::ODD;

    #[test]
    fn what_is_no_text_is_refused() {
        let bad = || crate::sys::files::os_string([b"caf", ODD].concat());
        let all = |name: &str| [(OsString::from(name), bad()), ("OTHER".into(), bad())];
        assert_eq!(texts(all("HOME")).unwrap(), []);
        let failure = texts(all("HOTRUN_CFG_APP_DIR")).unwrap_err();
        assert!(
            failure.message.starts_with("HOTRUN_CFG_APP_DIR: "),
            "{failure}"
        );
    }

    fn read(variables: &[(&str, &str)]) -> Result<Layer, String> {
        let owned = variables
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        layer(owned).map_err(|failure| failure.to_string())
    }

    #[test]
    fn texts_lists_and_tables_are_read() {
        let layer = read(&[
            ("HOTRUN_CFG_APP_SETTLE", "1s"),
            ("HOTRUN_CFG_APP_ARGS", "--port=1"),
            ("HOTRUN_CFG_BUILD_FEATURES", "['a', 'b']"),
            ("HOTRUN_CFG_BUILD_RELEASE", "true"),
            ("HOTRUN_CFG_APP_ENV", "{ A = '1' }"),
            ("HOTRUN_CFG_HOOKS_BEFORE_BUILD", "make it"),
            ("OTHER", "x"),
        ])
        .unwrap();
        assert_eq!(layer.app.settle(), Time::ms(1000));
        assert_eq!(layer.app.args, Some(vec!["--port=1".to_owned()]));
        assert_eq!(layer.build.features.map(|list| list.len()), Some(2));
        assert_eq!(layer.build.release, Some(true));
        assert_eq!(layer.app.env.map(|table| table.len()), Some(1));
        assert_eq!(layer.hooks.before_build.unwrap().0[2], "make it");
    }

    #[track_caller]
    fn case(name: &str, text: &str, expected: &str) {
        assert_eq!(read(&[(name, text)]).unwrap_err(), expected);
    }

    #[test]
    fn mistakes_name_the_variable() {
        case(
            "HOTRUN_CFG_APP_SETLE",
            "1s",
            "HOTRUN_CFG_APP_SETLE: there is no such setting\n\
             hint: did you mean `HOTRUN_CFG_APP_SETTLE`?",
        );
        case(
            "HOTRUN_CFG_APP_SETTLE",
            "1",
            "HOTRUN_CFG_APP_SETTLE: `1` has no unit\nhint: write `1ms` or `1s`",
        );
        case(
            "HOTRUN_CFG_HANDOVER_MODE",
            "overlapp",
            "HOTRUN_CFG_HANDOVER_MODE: `overlapp` is none of `auto`, `overlap`, `stop-first`\n\
             hint: did you mean `overlap`?",
        );
    }
}

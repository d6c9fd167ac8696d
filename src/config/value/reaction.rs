//! The user's commands, and the reactions of rules. Pure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Value as Json, json};

use super::{SIGNAL, Shape, Text, TextVisitor, Value, text, text_value, wrong};
use crate::session::model::Reaction;
use crate::sockets::spec::Wrong;
use crate::sys::{SHELL, signals};

/// A command: a line for the shell, or a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command(pub Vec<String>);

impl Text for Command {
    fn read(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() {
            return wrong(
                "an empty command does nothing".into(),
                "write a command, or leave the key out",
            );
        }
        let [shell, option] = SHELL;
        Ok(Self([shell, option, text].map(str::to_owned).to_vec()))
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command line, or a list of a program and its arguments")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Command, E> {
                TextVisitor(PhantomData).visit_str(text)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                match words.first() {
                    Some(program) if !program.is_empty() => Ok(Command(words)),
                    _ => TextVisitor(PhantomData).visit_str(""),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Value for Command {
    const SHAPE: Shape = Shape::List;

    fn kind() -> String {
        "command line, or list of a program and its arguments".into()
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            text(r"\S"),
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] })
    }
}

/// A reaction to a change, as written in `do` of `[[on]]`; `None`: `ignore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Do(pub Option<Reaction>);

impl Text for Do {
    fn read(text: &str) -> Result<Self, Wrong> {
        let hint = format!(
            "write `rebuild`, `restart`, `reload-browser`, `signal:{}`, `run:COMMAND` or `ignore`",
            signals::EXAMPLE
        );
        let reaction = match text.split_once(':') {
            None if text == "ignore" => return Ok(Self(None)),
            None if text == "rebuild" => Reaction::Rebuild,
            None if text == "restart" => Reaction::Restart,
            None if text == "reload-browser" => Reaction::ReloadBrowser,
            Some(("signal", name)) => match signals::number(name) {
                Some(number) => Reaction::Signal(number),
                None if signals::is_known(name) => {
                    return wrong(format!("`{name}` can't be sent on this system"), hint);
                }
                None => return wrong(format!("`{name}` is no signal"), hint),
            },
            Some(("run", line)) => Reaction::Run(Command::read(line)?.0),
            _ => return wrong(format!("`{text}` is no reaction"), hint),
        };
        Ok(Self(Some(reaction)))
    }
}

/// What a rule does: one reaction, or several in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dos(pub Vec<Do>);

impl<'de> Deserialize<'de> for Dos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Dos;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reaction, or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Dos, E> {
                Ok(Dos(vec![TextVisitor(PhantomData).visit_str(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Dos, A::Error> {
                let mut reactions = Vec::new();
                while let Some(reaction) = list.next_element()? {
                    reactions.push(reaction);
                }
                if reactions.is_empty() {
                    return TextVisitor::<Do>(PhantomData)
                        .visit_str("")
                        .map(|_| Dos(vec![]));
                }
                Ok(Dos(reactions))
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl Value for Dos {
    const SHAPE: Shape = Shape::List;

    fn kind() -> String {
        "reaction, or list of reactions".into()
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            Do::schema(),
            { "type": "array", "items": Do::schema(), "minItems": 1 },
        ] })
    }
}

text_value! {
    Do: "reaction", json!({ "anyOf": [
        { "enum": ["rebuild", "restart", "reload-browser", "ignore"] },
        text(&SIGNAL.replace('^', "^signal:")),
        text(r"^run:[\s\S]*\S"),
    ] });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactions_are_read() {
        let read = |text| Do::read(text).ok().and_then(|known| known.0);
        assert_eq!(Do::read("ignore"), Ok(Do(None)));
        assert_eq!(read("restart"), Some(Reaction::Restart));
        assert_eq!(read("reload-browser"), Some(Reaction::ReloadBrowser));
        assert_eq!(read("signal:INT"), Some(Reaction::Signal(2)));
        let line = [SHELL[0], SHELL[1], "make css"].map(str::to_owned);
        assert_eq!(read("run:make css"), Some(Reaction::Run(line.to_vec())));
        for text in ["", "reload", "signal:", "signal:NO", "run:", "restart:x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

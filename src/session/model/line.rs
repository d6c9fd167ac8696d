//! Lines of output on their way to the user.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A line of output on its way to the user. It holds what its writer has to wait for until it has arrived,
/// so that a program that writes faster than is printed is slowed down; if it is dropped on its way, that
/// is given back as well. What keeps a line keeps its text alone. Two lines are equal if their texts are.
#[derive(Clone, Default)]
pub struct Line {
    text: String,
    room: Option<Arc<dyn Any + Send + Sync>>,
}

impl Line {
    /// A line that holds `room`.
    pub fn new(text: String, room: impl Any + Send + Sync) -> Self {
        Self {
            text,
            room: Some(Arc::new(room)),
        }
    }

    /// Another text, on its way because of this line.
    #[must_use]
    pub fn with(&self, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            room: self.room.clone(),
        }
    }

    /// Its text, once it has arrived.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl From<String> for Line {
    /// A line that was written by hotrun itself, or whose writer does not wait.
    fn from(text: String) -> Self {
        Self { text, room: None }
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Line {}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_holds_is_given_back_with_the_last_text_that_came_of_it() {
        let room = Arc::new(());
        let line = Line::new("a line".into(), room.clone());
        let other = line.with("another");
        assert_eq!(other, Line::from("another"));
        assert_eq!(line.into_text(), "a line");
        assert_eq!(Arc::strong_count(&room), 2);
        assert_eq!(other.into_text(), "another");
        assert_eq!(Arc::strong_count(&room), 1);
    }
}

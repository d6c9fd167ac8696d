//! Whose line it is, in front of it, for people, while more than one generation has a process. Pure.

use crate::session::model::Generation;
use crate::session::status::Status;

/// More than one generation has a process that may write.
pub(super) fn is_needed(status: &Status) -> bool {
    let writers = usize::from(status.live.is_some()) + usize::from(status.starting.is_some());
    writers + status.draining.len() > 1
}

/// The bytes with the name of the generation in front of each line that begins in them. `begins`: so does
/// the first byte.
pub(super) fn with_prefix(
    bytes: &[u8],
    generation: Generation,
    begins: bool,
    unicode: bool,
) -> Vec<u8> {
    let bar = if unicode { '│' } else { '|' };
    let prefix = format!("{generation} {bar} ");
    let mut prefixed = Vec::with_capacity(bytes.len() + bytes.len() / 4 + prefix.len());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if begins || number > 0 {
            prefixed.extend(prefix.as_bytes());
        }
        prefixed.extend(line);
    }
    prefixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_at_the_beginning_of_each_line() {
        let prefixed = |bytes: &str, begins| {
            let bytes = with_prefix(bytes.as_bytes(), Generation(2), begins, true);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(prefixed("one\ntwo\n", true), "g2 │ one\ng2 │ two\n");
        assert_eq!(prefixed("end\n\nname? ", false), "end\ng2 │ \ng2 │ name? ");
        assert_eq!(prefixed("", true), "");
        let bytes = with_prefix(b"\xff\r\n", Generation(2), true, false);
        assert_eq!(bytes, b"g2 | \xff\r\n");
    }
}

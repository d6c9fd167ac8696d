//! What a program was started with, from `sysctl` `KERN_PROCARGS2`: the number of its arguments, its path,
//! zeros up to its arguments, these, and its variables up to an empty one. The kernel leaves the variables
//! out where it protects the program.

use super::u32_at;

/// What a program was started with.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sys) struct StartedWith<'a> {
    /// Its arguments, the first of which is its name.
    pub(in crate::sys) arguments: Vec<&'a [u8]>,
    /// Its variables, as `KEY=value`.
    pub(in crate::sys) variables: Vec<&'a [u8]>,
}

impl<'a> StartedWith<'a> {
    /// Reads the buffer; `None` if it is cut off.
    pub(in crate::sys) fn read(buffer: &'a [u8]) -> Option<Self> {
        let count = usize::try_from(u32_at(buffer, 0)?).ok()?;
        let (_path, rest) = next(buffer.get(size_of::<u32>()..)?)?;
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let mut rest = &rest[zeros..];
        let mut arguments = Vec::new();
        for _ in 0..count {
            let (argument, more) = next(rest)?;
            arguments.push(argument);
            rest = more;
        }
        let mut variables = Vec::new();
        while let Some((variable, more)) = next(rest).filter(|(variable, _)| !variable.is_empty()) {
            variables.push(variable);
            rest = more;
        }
        Some(Self {
            arguments,
            variables,
        })
    }

    /// It has this variable.
    pub(in crate::sys) fn has(&self, key: &str, value: &str) -> bool {
        self.variables.iter().any(|variable| {
            let rest = variable.strip_prefix(key.as_bytes());
            rest.and_then(|rest| rest.strip_prefix(b"=")) == Some(value.as_bytes())
        })
    }
}

/// The bytes up to a zero, and those behind it.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(count: u32, rest: &[u8]) -> Vec<u8> {
        let mut buffer = count.to_ne_bytes().to_vec();
        buffer.extend(rest);
        buffer
    }

    #[test]
    fn arguments_and_variables_are_told_apart() {
        let whole = buffer(
            3,
            b"/bin/app\0\0\0\0\0app\0\0-v\0KEY=a b\0EMPTY=\0\0ptr_munge=\0",
        );
        let found = StartedWith::read(&whole).unwrap();
        assert_eq!(found.arguments, [&b"app"[..], b"", b"-v"]);
        assert_eq!(found.variables, [&b"KEY=a b"[..], b"EMPTY="]);
        assert!(found.has("KEY", "a b") && found.has("EMPTY", ""));
        for (key, value) in [("KEY", "a"), ("KE", "Y=a b"), ("ptr_munge", "")] {
            assert!(!found.has(key, value), "{key}");
        }
    }

    #[test]
    fn a_protected_program_has_no_variables() {
        let found = buffer(1, b"/bin/ls\0\0ls\0");
        let found = StartedWith::read(&found).unwrap();
        assert_eq!((found.arguments.len(), found.variables.len()), (1, 0));
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let whole = buffer(2, b"/bin/app\0app\0-v\0");
        for length in 0..whole.len() {
            assert_eq!(StartedWith::read(&whole[..length]), None, "{length}");
        }
        assert_eq!(
            StartedWith::read(&buffer(u32::MAX, b"/bin/app\0app\0")),
            None
        );
    }
}

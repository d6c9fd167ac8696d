//! The mode of hotrun's own console in which single keys can be read: no line editing and no echo, but with
//! Ctrl-C as ever (`ENABLE_PROCESSED_INPUT` stays).

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::System::Console::{
    ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, GetConsoleMode, GetNumberOfConsoleInputEvents,
    INPUT_RECORD, KEY_EVENT, ReadConsoleInputW, SetConsoleMode,
};

struct KeyMode {
    /// The mode before.
    before: Option<u32>,
    active: bool,
}

static MODE: Mutex<KeyMode> = Mutex::new(KeyMode {
    before: None,
    active: false,
});

fn mode() -> MutexGuard<'static, KeyMode> {
    MODE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn console_mode() -> Option<u32> {
    let mut mode = 0;
    // SAFETY: what is no console is an error; the call writes one number.
    let read = unsafe { GetConsoleMode(io::stdin().as_raw_handle(), &raw mut mode) };
    (read != 0).then_some(mode)
}

fn set_console_mode(mode: u32) -> bool {
    // SAFETY: numbers only; what is no console is an error.
    unsafe { SetConsoleMode(io::stdin().as_raw_handle(), mode) != 0 }
}

/// Enters the mode if stdin is a console. Returns whether it is in the mode now.
pub fn take_keys() -> bool {
    let mut mode = mode();
    let now = console_mode();
    let keys = now.map(|now| now & !(ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT));
    mode.active = keys.is_some_and(set_console_mode);
    if mode.active {
        mode.before = mode.before.or(now);
    }
    mode.active
}

/// Leaves the mode: the console is as it was. Returns whether it was in the mode.
pub fn restore_terminal() -> bool {
    let mut mode = mode();
    if let Some(before) = mode.before.take() {
        set_console_mode(before);
    }
    std::mem::take(&mut mode.active)
}

/// This process is in the mode.
pub fn has_keys() -> bool {
    mode().active
}

/// Reads what was typed, without waiting: nothing is 0.
pub fn read_keys(buffer: &mut [u8]) -> io::Result<usize> {
    let stdin = io::stdin().as_raw_handle();
    let mut count = 0;
    // SAFETY: what is no console is an error; the call writes one number.
    if unsafe { GetNumberOfConsoleInputEvents(stdin, &raw mut count) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // A character of UTF-16 has up to three bytes, a pair of them four.
    let most = u32::try_from(buffer.len() / 3).unwrap_or(u32::MAX);
    let mut records = vec![INPUT_RECORD::default(); count.min(most) as usize];
    if records.is_empty() {
        return Ok(0);
    }
    let room = u32::try_from(records.len()).map_err(io::Error::other)?;
    // SAFETY: the call writes no more than `room` records, which are there; it does not wait, since some
    // have arrived and only this process reads them.
    if unsafe { ReadConsoleInputW(stdin, records.as_mut_ptr(), room, &raw mut count) } == 0 {
        return Err(io::Error::last_os_error());
    }
    records.truncate(count as usize);
    let typed = text(&records);
    let typed = typed.as_bytes();
    buffer[..typed.len()].copy_from_slice(typed);
    Ok(typed.len())
}

/// The characters of the keys that were pressed.
fn text(records: &[INPUT_RECORD]) -> String {
    let pressed = records
        .iter()
        .filter(|record| u32::from(record.EventType) == KEY_EVENT);
    let units = pressed.filter_map(|record| {
        // SAFETY: the kind of the record says which part of the union it has.
        let key = unsafe { record.Event.KeyEvent };
        // SAFETY: both parts of this union are numbers, of which any bytes are some.
        let unit = unsafe { key.uChar.UnicodeChar };
        (key.bKeyDown != 0 && unit != 0).then_some(unit)
    });
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// `false`: a console has no background.
pub fn is_in_background_of(_terminal: &impl AsHandle) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressed_keys_are_text() {
        let key = |unit, is_down| {
            let mut record = INPUT_RECORD {
                EventType: u16::try_from(KEY_EVENT).unwrap(),
                ..INPUT_RECORD::default()
            };
            // A union is written, not read.
            record.Event.KeyEvent.bKeyDown = i32::from(is_down);
            record.Event.KeyEvent.uChar.UnicodeChar = unit;
            record
        };
        let records = [
            key(0x72, true),
            key(0x72, false),
            key(0, true),
            key(0xd83d, true),
            key(0xde00, true),
            INPUT_RECORD::default(),
        ];
        assert_eq!(text(&records), "r😀");
    }

    #[test]
    fn without_a_console_there_are_no_keys() {
        if console_mode().is_none() {
            assert!(!take_keys() && !has_keys() && !restore_terminal());
            read_keys(&mut [0; 8]).unwrap_err();
        }
    }
}

//! Talking on stdout and stderr without ever failing: a reader that went away must not end a run that is paid for.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::OnceLock;

/// Why data could not be written, the first time.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// A line for people, on stderr. Use [`say!`](crate::talk::say).
pub(crate) fn line_for_people(text: Arguments<'_>) {
    // In one piece: others write to the same terminal or file.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A line of data, on stdout. Use [`put!`](crate::talk::put).
pub(crate) fn line_of_data(text: Arguments<'_>) {
    put_line(text);
}

/// Whether the line was written. A reader that has gone away wants no more; a full disk loses what somebody wants.
pub(crate) fn put_line(text: Arguments<'_>) -> bool {
    let written = writeln!(io::stdout(), "{text}");
    match written {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                // Only the first one is told.
                let _ = LOST.set(error);
            }
            false
        }
    }
}

/// Why data that somebody wanted was not written.
pub(crate) fn lost_data() -> Option<&'static io::Error> {
    LOST.get()
}

/// `say!("{n} files")`: a line for people.
macro_rules! say {
    ($($text:tt)*) => { $crate::talk::line_for_people(format_args!($($text)*)) };
}

/// `put!("{line}")`: a line of data.
macro_rules! put {
    ($($text:tt)*) => { $crate::talk::line_of_data(format_args!($($text)*)) };
}

pub(crate) use {put, say};

//! Talking on stdout and stderr without ever failing: a reader that went away must not end a run that is paid for.

use std::fmt::Arguments;
use std::io::{self, Write};

/// A line for people, on stderr. Use [`say!`](crate::talk::say).
pub(crate) fn line_for_people(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line of data, on stdout. Use [`put!`](crate::talk::put).
pub(crate) fn line_of_data(text: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
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

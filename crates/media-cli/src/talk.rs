//! Talking on stdout and stderr without ever failing: a reader that went away must not end a run that is paid for.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, mpsc};

use media_core::sync::lock;

/// Why data could not be written, the first time.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Who takes lines for people while a run is on.
static LISTENER: Mutex<Option<mpsc::Sender<String>>> = Mutex::new(None);

/// From now on lines for people go to this listener, which has a thread to write them: whoever reads may pause (a pager,
/// Ctrl-S), and what is on the wire must not wait for that. With `None` they are written where they are said.
pub(crate) fn tell_to(listener: Option<mpsc::Sender<String>>) {
    *lock(&LISTENER) = listener;
}

/// A line for people, on stderr. Use [`say!`](crate::talk::say).
pub(crate) fn tell(text: String) {
    let unheard = match lock(&LISTENER).as_ref() {
        Some(listener) => listener.send(text).err().map(|unsent| unsent.0),
        None => Some(text),
    };
    if let Some(text) = unheard {
        write_for_people(&text);
    }
}

/// Writes a line where people read.
pub(crate) fn write_for_people(text: &str) {
    // In one piece: others write to the same terminal or file.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// The log's way to the people: a line per event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForPeople;

impl Write for ForPeople {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        tell(String::from_utf8_lossy(event).trim_end_matches('\n').to_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of data, on stdout; whether it was written. Use [`put!`](crate::talk::put) where that makes no difference.
///
/// A reader that has gone away wants no more; a full disk loses what somebody wants.
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
    ($($text:tt)*) => { $crate::talk::tell(format!($($text)*)) };
}

/// `put!("{line}")`: a line of data.
macro_rules! put {
    ($($text:tt)*) => {{
        let _ = $crate::talk::put_line(format_args!($($text)*));
    }};
}

pub(crate) use {put, say};

//! What can go wrong with a call.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use media_core::http::{Scripted, Sent};

use crate::mangle::{Mangled, mangle};

/// Something that goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection: nothing was sent.
    NoConnection,
    /// The call was sent, and no answer came.
    LostAnswer,
    /// The answer broke off.
    CutAnswer,
    /// The answer ended in the middle, as if that were its end.
    HalfAnswer,
    /// 200 without a body.
    EmptyAnswer,
    /// 200 with a web page.
    WebPage,
    /// 200 with JSON of another shape, which repeats the key.
    OtherJson,
    /// 502 with a web page.
    BadGateway,
    /// 429 with a time to wait.
    TooFast,
    /// 401, which repeats the key.
    BadKey,
    /// 500, which repeats the key.
    ServerError,
    /// A redirect to another host.
    Redirect,
    /// The recorded JSON with one of its values changed.
    Mangled(Mangled),
}

/// What a 429 of the suite asks for.
pub(crate) const WAIT: Duration = Duration::from_secs(3);

impl Fault {
    /// All of them that are the same for every answer.
    pub const ALL: [Fault; 12] = [
        Fault::NoConnection,
        Fault::LostAnswer,
        Fault::CutAnswer,
        Fault::HalfAnswer,
        Fault::EmptyAnswer,
        Fault::WebPage,
        Fault::OtherJson,
        Fault::BadGateway,
        Fault::TooFast,
        Fault::BadKey,
        Fault::ServerError,
        Fault::Redirect,
    ];

    /// Nobody can know whether a call that ended like this was billed.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(
            self,
            Fault::LostAnswer
                | Fault::CutAnswer
                | Fault::HalfAnswer
                | Fault::EmptyAnswer
                | Fault::WebPage
                | Fault::OtherJson
                | Fault::Mangled(_)
        )
    }

    /// What comes in the place of the recorded answer.
    pub(crate) fn instead_of(self, recorded: &Scripted, key: &str) -> Scripted {
        match self {
            Fault::NoConnection => Scripted::fails(Sent::No),
            Fault::LostAnswer => Scripted::fails(Sent::Maybe),
            Fault::CutAnswer => half(recorded).cut(),
            Fault::HalfAnswer => half(recorded),
            Fault::EmptyAnswer => Scripted::new(200, ""),
            Fault::WebPage => Scripted::new(200, "<!doctype html><html><body>Welcome</body></html>"),
            Fault::OtherJson => Scripted::new(
                200,
                format!(r#"{{"note": [{{"seen": "{key}"}}], "data": "{key}"}}"#),
            ),
            Fault::BadGateway => {
                Scripted::new(502, "<html><head><title>502 Bad Gateway</title></head></html>")
            }
            Fault::TooFast => Scripted::new(429, "{}").header("retry-after", &WAIT.as_secs().to_string()),
            Fault::BadKey => Scripted::new(401, format!("the key {key} is not known")),
            Fault::ServerError => Scripted::new(500, format!("panicked while serving {key}")),
            Fault::Redirect => Scripted::new(302, "").header("location", "https://elsewhere.test/"),
            Fault::Mangled(change) => with_body(recorded, |whole| mangle(whole, change)),
        }
    }
}

fn half(recorded: &Scripted) -> Scripted {
    with_body(recorded, |whole| {
        whole.get(..whole.len() / 2).unwrap_or_default().to_vec()
    })
}

fn with_body(recorded: &Scripted, change: impl Fn(&[u8]) -> Vec<u8>) -> Scripted {
    let mut answer = recorded.clone();
    if let Ok((_, _, pieces)) = &mut answer.answer {
        *pieces = vec![Bytes::from(change(&pieces.concat()))];
    }
    answer
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Mangled(change) => return change.fmt(f),
            Fault::NoConnection => "no connection",
            Fault::LostAnswer => "a lost answer",
            Fault::CutAnswer => "an answer that breaks off",
            Fault::HalfAnswer => "half an answer",
            Fault::EmptyAnswer => "an empty body",
            Fault::WebPage => "a web page",
            Fault::OtherJson => "JSON of another shape",
            Fault::BadGateway => "502 with a web page",
            Fault::TooFast => "429",
            Fault::BadKey => "401",
            Fault::ServerError => "500",
            Fault::Redirect => "a redirect",
        })
    }
}

/// A fault at one call of a play, or at that call and all after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) fault: Fault,
    pub(crate) call: usize,
    pub(crate) lasting: bool,
}

impl Trouble {
    pub(crate) fn hits(&self, call: usize) -> bool {
        call == self.call || (self.lasting && call > self.call)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = if self.lasting { " and after" } else { "" };
        write!(f, "{} at call {}{on}", self.fault, self.call + 1)
    }
}

//! JSON as PHP's `json_encode` writes it: `\/` and `\uXXXX`.

use std::io;

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

struct Php(CompactFormatter);

impl Formatter for Php {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for letter in fragment.chars() {
            match letter {
                '/' => writer.write_all(b"\\/")?,
                ' '..='~' => write!(writer, "{letter}")?,
                _ => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes a value; writing into memory cannot fail.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    match value.serialize(&mut Serializer::with_formatter(&mut text, Php(CompactFormatter))) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_letters_are_escaped_and_read_back_the_same() {
        let value = serde_json::json!({"a": ["https://x/é\"😀", 1, false]});
        let text = String::from_utf8(encode(&value)).unwrap();
        assert_eq!(text, r#"{"a":["https:\/\/x\/\u00e9\"\ud83d\ude00",1,false]}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}

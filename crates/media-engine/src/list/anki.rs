//! Anki's text exports: the `#` lines at their start, and the HTML in their cells.

/// What the `#` lines say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) separator: Option<u8>,
    /// As written, still joined by the separator.
    pub(super) columns: Option<String>,
    pub(super) html: bool,
    /// Columns that are no fields of the note: their number from 1 and their name.
    special: Vec<(usize, &'static str)>,
}

const SPECIAL: [(&str, &str); 4] = [
    ("guid column", "guid"),
    ("notetype column", "notetype"),
    ("deck column", "deck"),
    ("tags column", "tags"),
];
const OTHER: [&str; 7] = [
    "separator",
    "html",
    "columns",
    "deck",
    "notetype",
    "tags",
    "if matches",
];

/// The start of every line that Anki does not read as a note.
pub(super) const COMMENT: u8 = b'#';

impl Directives {
    /// What the lines at the start of `text` say; `None` when it is no export of Anki's.
    pub(super) fn read(text: &str) -> Result<Option<Directives>, String> {
        let first = text.lines().next().and_then(split);
        if !first
            .is_some_and(|(key, _)| OTHER.contains(&&*key) || SPECIAL.iter().any(|(name, _)| *name == key))
        {
            return Ok(None);
        }
        let mut found = Directives::default();
        for line in text
            .split(['\n', '\r'])
            .take_while(|line| line.is_empty() || line.starts_with('#'))
        {
            let Some((key, value)) = split(line) else { continue };
            match key.as_str() {
                "separator" => found.separator = Some(separator(value)?),
                "html" => found.html = value.trim().eq_ignore_ascii_case("true"),
                "columns" => found.columns = Some(value.to_owned()),
                other => {
                    if let Some((_, name)) = SPECIAL.iter().find(|(key, _)| *key == other)
                        && let Ok(number) = value.trim().parse()
                    {
                        found.special.push((number, name));
                    }
                }
            }
        }
        Ok(Some(found))
    }

    /// Names for an export without a `#columns` line: `guid`, `deck`, ... where the export says so, else `field1` on.
    pub(super) fn names(&self, count: usize) -> Vec<String> {
        let mut field = 0;
        (1..=count)
            .map(|number| {
                if let Some((_, name)) = self.special.iter().find(|(at, _)| *at == number) {
                    return (*name).to_owned();
                }
                field += 1;
                format!("field{field}")
            })
            .collect()
    }
}

fn split(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.strip_prefix('#')?.split_once(':')?;
    Some((key.trim().to_ascii_lowercase(), value))
}

fn separator(value: &str) -> Result<u8, String> {
    let name = value.trim().to_ascii_lowercase();
    Ok(match name.as_str() {
        "tab" | "\\t" => b'\t',
        "comma" | "," => b',',
        "semicolon" | ";" => b';',
        "pipe" | "|" => b'|',
        "colon" | ":" => b':',
        "space" => b' ',
        "" if value.contains('\t') => b'\t',
        "" if value.contains(' ') => b' ',
        _ => {
            return Err(format!(
                "the separator {value:?} is not known; export from Anki with tabs"
            ));
        }
    })
}

/// Text as HTML. Quotes stay as they are, as in Anki's own notes, so that searching for `l'eau` finds it.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

/// The text that HTML shows: line breaks kept, other tags and references to media dropped, entities resolved.
pub(super) fn plain(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    // Behind the last of these nothing that was begun is ended: looking for it again each time would take for ever.
    let ends = |end: char| html.rfind(end).map_or(usize::MAX, |place| html.len() - place);
    let (of_tags, of_sounds) = (ends('>'), ends(']'));
    while let Some(place) = rest.find(['<', '&', '[']) {
        let (before, from) = rest.split_at(place);
        out.push_str(before);
        let taken = match from.as_bytes().first() {
            Some(b'<') if from.len() > of_tags => tag(from, &mut out),
            Some(b'&') => entity(from, &mut out),
            Some(b'[') if from.len() > of_sounds => sound(from),
            _ => None,
        };
        match taken {
            Some(after) => rest = after,
            None => {
                let mut chars = from.chars();
                out.extend(chars.next());
                rest = chars.as_str();
            }
        }
    }
    out.push_str(rest);
    out
}

fn tag<'a>(from: &'a str, out: &mut String) -> Option<&'a str> {
    let (inside, after) = from.strip_prefix('<')?.split_once('>')?;
    let name: String = inside
        .trim_start_matches('/')
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let lower = name.to_ascii_lowercase();
    if lower.is_empty() && !inside.starts_with('!') {
        return None;
    }
    // Anki's editor starts a new line with a `div`.
    let breaks = lower == "br" || (matches!(lower.as_str(), "div" | "p" | "li") && !inside.starts_with('/'));
    if breaks && !(out.is_empty() && lower != "br") {
        out.push('\n');
    }
    Some(after)
}

fn entity<'a>(from: &'a str, out: &mut String) -> Option<&'a str> {
    const LONGEST: usize = 10;
    let end = from.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = from.get(1..end)?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?).filter(|c| *c != '\0')?
        }
    };
    out.push(c);
    from.get(end + 1..)
}

fn sound(from: &str) -> Option<&str> {
    from.strip_prefix("[sound:")?
        .split_once(']')
        .map(|(_, after)| after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_of_an_export_are_understood() {
        let text = "#separator:tab\n#html:true\n#guid column:1\n#deck column:3\n#tags column:5\na\tb\n";
        let found = Directives::read(text).unwrap().unwrap();
        assert_eq!((found.separator, found.html), (Some(b'\t'), true));
        assert_eq!(found.names(5), ["guid", "field1", "deck", "field2", "tags"]);
        assert_eq!(Directives::read("#,word\n1,a\n").unwrap(), None);
        assert_eq!(Directives::read("# my words: all of them\n").unwrap(), None);
        assert!(
            Directives::read("#separator:ten\n")
                .unwrap_err()
                .contains("\"ten\"")
        );
        let found = Directives::read("#Separator:Semicolon\r\n#columns:Id;Word\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.separator, found.columns.as_deref()),
            (Some(b';'), Some("Id;Word"))
        );
    }

    #[test]
    fn html_becomes_the_text_it_shows() {
        let cases = [
            ("el <b>perro</b>", "el perro"),
            ("a<br>b<BR />c", "a\nb\nc"),
            ("<div>a</div><div>b</div>", "a\nb"),
            ("x &lt; y &amp;&amp; 1&nbsp;&#39;&#x41;", "x < y && 1 'A"),
            (
                "1 < 2 & 3 &unknown; &#xfffffff;",
                "1 < 2 & 3 &unknown; &#xfffffff;",
            ),
            ("perro[sound:perro.mp3]<img src=\"a.png\"> [x]", "perro [x]"),
            ("<!-- no -->a<", "a<"),
        ];
        for (html, text) in cases {
            assert_eq!(plain(html), text, "{html}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(text in "\\PC*") {
            prop_assume!(!text.contains("[sound:"));
            prop_assert_eq!(plain(&escape(&text)), text);
        }

        #[test]
        fn any_html_is_read(html in "[<>&;#x/\\[\\]a-z0-9 \u{e9}]*") {
            plain(&html);
        }
    }
}

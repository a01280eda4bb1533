//! The parts of a page: text that cannot break out of its place, addresses of files, a chart.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::numbers::Stretch;

/// Text as it stands between tags and in quoted attributes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A file's address as seen from the page.
pub(super) struct Address<'a> {
    /// From the page's folder to the output folder.
    pub(super) base: &'a Path,
    /// Below the output folder.
    pub(super) path: &'a str,
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.base.join(self.path);
        let mut is_first = true;
        for part in whole.components() {
            let part = match part {
                Component::CurDir => continue,
                Component::RootDir => "".into(),
                part => part.as_os_str().to_string_lossy(),
            };
            if !is_first {
                f.write_str("/")?;
            } else if part.contains(':') {
                // Else its beginning would be taken for the name of a protocol.
                f.write_str("./")?;
            }
            is_first = false;
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

/// The way from one folder to another; both are absolute.
pub(super) fn way(from: &Path, to: &Path) -> PathBuf {
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(one, other)| one == other)
        .count();
    if shared == 0 {
        return to.to_owned();
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

/// Files a minute over time, with the limit where one is known.
pub(super) struct Chart<'a> {
    pub(super) stretch: &'a Stretch,
    pub(super) limit: Option<f64>,
}

impl fmt::Display for Chart<'_> {
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Chart { stretch, limit } = self;
        let most = stretch.bars.iter().copied().max().unwrap_or(0);
        let top = stretch.rate(most).max(limit.unwrap_or(0.0)).max(1.0);
        let (width, height) = (360.0, 110.0);
        let step = width / stretch.bars.len().max(1) as f64;
        write!(
            f,
            "<svg viewBox=\"0 0 {width} 130\" role=\"img\" aria-label=\"files a minute over time\">"
        )?;
        for (place, files) in stretch.bars.iter().enumerate() {
            let tall = stretch.rate(*files) / top * height;
            write!(
                f,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{:.0} a minute</title></rect>",
                place as f64 * step,
                height + 5.0 - tall,
                (step - 0.6).max(0.4),
                stretch.rate(*files),
            )?;
        }
        if let Some(limit) = limit {
            let y = height + 5.0 - limit / top * height;
            write!(f, "<line x1=\"0\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")?;
        }
        write!(
            f,
            "<text x=\"0\" y=\"128\">up to {:.0} a minute; a bar is {} min</text></svg>",
            stretch.rate(most),
            stretch.width / 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let text = Text("<script>alert('x & \"y\"')</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;x &amp; &quot;y&quot;&#39;)&lt;/script&gt;"
        );
        let address = |base: &str, path: &str| {
            let base = Path::new(base);
            Address { base, path }.to_string()
        };
        assert_eq!(address("", "a b/ñ#1?.png"), "a%20b/%C3%B1%231%3F.png");
        assert_eq!(address("../out", "x\"y.mp3"), "../out/x%22y.mp3");
        assert_eq!(address("", "javascript:x.png"), "./javascript%3Ax.png");
    }

    #[test]
    fn the_way_from_the_page_to_the_files() {
        let way = |from: &str, to: &str| super::way(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/a/out", "/a/out"), "");
        assert_eq!(way("/a/reports/x", "/a/out"), "../../out");
        assert_eq!(way("/a", "/a/out"), "out");
    }
}

//! The report of a ledger: one page with every file, what it cost, how long it took, and why others are missing.

mod html;
mod numbers;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use media_core::{Error, MediaKind, Result, Usd};

use self::html::{Address, Chart, Text, way};
use self::numbers::{Numbers, quantile, status_of};
use crate::ledger::{Entry, Reader, TakeRow};
use crate::line::LineError;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// By this a page of ours is known, so that no other is ever replaced.
const MARK: &str = "<meta name=\"generator\" content=\"media report\">";

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The output folder.
    pub out: &'a Path,
    /// The page to write.
    pub to: &'a Path,
    /// The words of the command that makes ticked files anew, without their ids.
    pub redo: &'a [String],
    /// Makes what helps true of this folder: the commands in it name where they act.
    pub here: fn(&str) -> String,
    /// Files a minute that each provider's limits allow, where they set a pace.
    pub limits: BTreeMap<String, f64>,
    /// Its files were made by the simulator.
    pub is_simulated: bool,
    /// Puts pictures and sounds into the page itself; without it they are shown from beside it.
    pub embed: Option<&'a dyn Embed>,
}

/// Makes small what is shown on a page, so that it fits into it.
pub trait Embed: std::fmt::Debug {
    /// The file as a `data:` address, pictures as thumbnails; `None` for one that is better left where it is.
    fn embed(&self, file: &Path, kind: MediaKind) -> Option<String>;
}

impl Report<'_> {
    /// Writes the page; gives how many files it shows.
    ///
    /// # Errors
    /// The ledger cannot be read, the page cannot be written, or something else stands in its place.
    pub fn write(&self, reader: &Reader) -> Result<u64> {
        let failed = |error| Error::storage("cannot write", self.to, error).not_billed();
        self.spare_others()?;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let base = way(&absolute(folder), &absolute(self.out));
        let numbers = Numbers::of(reader, |path| self.out.join(path).is_file())?;
        let staged = media_core::stage_in(folder).map_err(failed)?;
        let mut page = BufWriter::new(staged);
        let count = numbers.by_status.values().sum();
        self.head(&mut page, &numbers).map_err(failed)?;
        let mut outcome = Ok(());
        reader.each_job(|job| {
            if outcome.is_ok() {
                let take = reader.take(&job.spec.id, job.take)?;
                outcome = self.item(&mut page, &base, &job, take.as_ref());
            }
            Ok(())
        })?;
        outcome.and_then(|()| self.foot(&mut page)).map_err(failed)?;
        let staged = page.into_inner().map_err(|error| failed(error.into_error()))?;
        staged.persist(self.to).map_err(|error| failed(error.error))?;
        Ok(count)
    }

    /// A page that is not ours is the user's.
    fn spare_others(&self) -> Result<()> {
        let Ok(mut file) = fs::File::open(self.to) else {
            return Ok(());
        };
        let mut head = vec![0; 1024];
        let length = file.read(&mut head).unwrap_or(0);
        head.truncate(length);
        if String::from_utf8_lossy(&head).contains(MARK) {
            return Ok(());
        }
        let message = format!(
            "{} is there and is not a report of this program",
            self.to.display()
        );
        Err(Error::config(message).hint("name another place by --to"))
    }

    fn head(&self, page: &mut impl Write, numbers: &Numbers) -> std::io::Result<()> {
        let name = self
            .out
            .file_name()
            .unwrap_or(self.out.as_os_str())
            .to_string_lossy()
            .into_owned();
        write!(
            page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{MARK}\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{0} - report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>{0}</h1>\n<p class=\"soft\">{1}{2}</p>\n",
            Text(&name),
            Text(&moment(Timestamp::now().as_millisecond())),
            if self.is_simulated {
                "; simulated: no service was asked and no money spent"
            } else {
                ""
            },
        )?;
        tiles(page, numbers)?;
        models(page, numbers)?;
        failures(page, numbers, self.here)?;
        self.charts(page, numbers)?;
        tools(page, numbers)?;
        writeln!(page, "<ul class=\"items\">")
    }

    fn charts(&self, page: &mut impl Write, numbers: &Numbers) -> std::io::Result<()> {
        let mut is_first = true;
        for (provider, stretch) in numbers.stretches() {
            if is_first {
                writeln!(
                    page,
                    "<h2>Files a minute, the last stretch of work</h2>\n<div class=\"charts\">"
                )?;
                is_first = false;
            }
            let limit = self.limits.get(provider).copied();
            let told = match limit {
                Some(limit) => format!("limit (dashed): {limit:.0} a minute"),
                None if self.is_simulated => "simulated limits are not shown".to_owned(),
                None => "no limit per minute is configured".to_owned(),
            };
            writeln!(
                page,
                "<figure><figcaption><b>{}</b> <span class=\"soft\">from {}; {told}</span></figcaption>{}</figure>",
                Text(provider),
                Text(&moment(stretch.from_ms)),
                Chart {
                    stretch: &stretch,
                    limit
                },
            )?;
        }
        if is_first {
            Ok(())
        } else {
            writeln!(page, "</div>")
        }
    }

    fn item(
        &self,
        page: &mut impl Write,
        base: &Path,
        job: &Entry,
        take: Option<&TakeRow>,
    ) -> std::io::Result<()> {
        let spec = &job.spec;
        let is_there = self.out.join(&spec.path).is_file();
        let status = status_of(job, is_there);
        let line = job.last_line();
        writeln!(
            page,
            "<li class=\"{status}\" data-id=\"{}\" data-status=\"{status}\" data-kind=\"{}\" data-provider=\"{}\"{}>",
            Text(&spec.id),
            spec.kind,
            Text(&job.provider),
            if job.is_protected { " data-protected" } else { "" },
        )?;
        let address = Address {
            base,
            path: &spec.path,
        };
        let embedded = self
            .embed
            .filter(|_| is_there)
            .and_then(|embed| embed.embed(&self.out.join(&spec.path), spec.kind));
        let source = embedded.unwrap_or_else(|| address.to_string());
        match spec.kind {
            MediaKind::Image if is_there => writeln!(
                page,
                "<a href=\"{address}\"><img src=\"{source}\" loading=\"lazy\" decoding=\"async\" alt=\"{}\"></a>",
                Text(&spec.content),
            )?,
            MediaKind::Audio if is_there => writeln!(
                page,
                // The script takes it out when it comes into view: the controls of thousands at once take seconds.
                "<div class=\"sound\"><noscript><audio controls preload=\"none\" src=\"{source}\"></audio></noscript></div>"
            )?,
            _ => {}
        }
        let protected = if job.is_protected { ", protected" } else { "" };
        writeln!(
            page,
            "<label dir=\"auto\"><input type=\"checkbox\">{}</label><span class=\"what\" dir=\"auto\">{}</span>",
            Text(&spec.id),
            Text(&spec.content)
        )?;
        let error = line.as_ref().and_then(|line| line.error.as_ref());
        if status == "gone" {
            writeln!(
                page,
                "<span class=\"why\"><b>gone</b>: made, and no longer at {}</span>",
                Text(&spec.path)
            )?;
        } else if status != "done" {
            why(page, status, error, self.here)?;
        }
        let cost = line
            .as_ref()
            .map(|line| match line.cost_usd {
                Some(usd) if usd > 0.0 => format!(", {usd} USD {}", line.cost_basis),
                Some(_) => String::new(),
                None => ", cost unknown".to_owned(),
            })
            .unwrap_or_default();
        let number = if job.take > 1 {
            format!(", take {}", job.take)
        } else {
            String::new()
        };
        // A provider that has no models goes by its own name.
        let model = if job.model == job.provider { "" } else { &job.model };
        let maker = format!("{} {model}", job.provider);
        writeln!(
            page,
            "<small>{}{cost}{number}{protected}</small>",
            Text(maker.trim_end())
        )?;
        if let Some(take) = take {
            writeln!(page, "<small>{}</small>", Text(&measures(take)))?;
            if let Some(credit) = &take.provenance.credit {
                writeln!(page, "<small>{}</small>", Text(credit))?;
            }
        }
        let tried = line.iter().flat_map(|line| &line.tried);
        for tried in tried.filter(|tried| tried.provider != job.provider) {
            writeln!(
                page,
                "<small>{} did not: {}</small>",
                Text(&tried.provider),
                Text(&tried.kind)
            )?;
        }
        writeln!(page, "</li>")
    }

    fn foot(&self, page: &mut impl Write) -> std::io::Result<()> {
        let command = serde_json::Value::from(self.redo).to_string();
        writeln!(
            page,
            "</ul>\n<div class=\"redo\" data-command=\"{}\"><output></output><code title=\"for a shell in the folder where media report was run\"></code>\
             <button type=\"button\" class=\"copy\">copy</button><button type=\"button\" class=\"none\">clear</button></div>\n\
             <script>\n{SCRIPT}</script>\n</body>\n</html>",
            Text(&command)
        )
    }
}

fn tiles(page: &mut impl Write, numbers: &Numbers) -> std::io::Result<()> {
    writeln!(page, "<ul class=\"tiles\">")?;
    for (status, count) in &numbers.by_status {
        writeln!(page, "<li><b>{}</b>{status}</li>", grouped(*count))?;
    }
    writeln!(page, "<li><b>{} USD</b>known cost</li>", numbers.spent)?;
    let (sends, usd) = numbers.in_doubt;
    if sends > 0 {
        let sends = grouped(sends);
        writeln!(
            page,
            "<li><b>{usd} USD</b>may have been billed too (sends: {sends})</li>"
        )?;
    }
    if numbers.unpriced > 0 {
        let requests = grouped(numbers.unpriced);
        writeln!(
            page,
            "<li><b>{requests}</b>requests of unknown price, in no sum</li>"
        )?;
    }
    let (files, usd) = numbers.in_batches;
    if files > 0 {
        let files = grouped(files);
        writeln!(
            page,
            "<li><b>{files}</b>in remote batches ({usd} USD set aside)</li>"
        )?;
    }
    writeln!(page, "</ul>")
}

fn models(page: &mut impl Write, numbers: &Numbers) -> std::io::Result<()> {
    writeln!(
        page,
        "<h2>Providers and models</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<tr><th>provider<th>model<th class=\"n\">made\
         <th class=\"n\">failed<th class=\"n\">unknown<th class=\"n\">attempts<th class=\"n\">cost USD\
         <th class=\"n\">each<th class=\"n\">median<th class=\"n\">95 %</tr>"
    )?;
    for ((provider, model), told) in &numbers.by_model {
        let each = told.cost.micros().checked_div(told.costed).map(Usd::from_micros);
        let time = |latencies: &[u64], percent| match quantile(latencies, percent) {
            Some(ms) if ms >= 600_000 => format!("{} min", ms / 60_000),
            Some(ms) => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
            None => "-".to_owned(),
        };
        let seconds = |percent| time(&told.latencies, percent);
        let of_batches = &told.latencies_in_batches;
        let in_batches = match of_batches.is_empty() {
            true => String::new(),
            false => format!(
                "<br><span class=\"soft\">in batches: median {}, 95 % {}</span>",
                time(of_batches, 50),
                time(of_batches, 95)
            ),
        };
        writeln!(
            page,
            "<tr><td>{}<td>{}{in_batches}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
            Text(provider),
            Text(model),
            grouped(told.made),
            with_passed_on(told.failed, told.passed_on),
            grouped(told.unknown),
            grouped(told.attempts),
            told.cost,
            each.map_or_else(|| "-".to_owned(), |usd| usd.to_string()),
            seconds(50),
            seconds(95),
        )?;
    }
    writeln!(
        page,
        "</table></div>\n<p class=\"soft\">Times from the last send (or the link) to the whole file.</p>"
    )
}

/// A count of failures, and what is none because the next provider was asked.
fn with_passed_on(failed: u64, passed_on: u64) -> String {
    let failed = grouped(failed);
    match passed_on {
        0 => failed,
        count => format!(
            "{failed}<br><span class=\"soft\">{} passed on</span>",
            grouped(count)
        ),
    }
}

fn failures(page: &mut impl Write, numbers: &Numbers, here: fn(&str) -> String) -> std::io::Result<()> {
    if numbers.failures.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<h2>Failures by cause</h2>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<tr><th>cause<th>provider<th class=\"n\">files<th>the first says</tr>"
    )?;
    for ((kind, provider), failures) in &numbers.failures {
        writeln!(
            page,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"long\">{}<br><span class=\"soft\">{}</span></tr>",
            Text(kind),
            Text(provider),
            with_passed_on(failures.count, failures.passed_on),
            Text(&failures.message),
            Text(&failures.next.as_deref().map(here).unwrap_or_default()),
        )?;
    }
    writeln!(page, "</table></div>")
}

fn tools(page: &mut impl Write, numbers: &Numbers) -> std::io::Result<()> {
    writeln!(
        page,
        "<h2 id=\"files\">Files</h2>\n<div class=\"tools\"><input id=\"find\" type=\"search\" placeholder=\"find\" aria-label=\"find\">"
    )?;
    let mut choice = |name: &str, values: Vec<&str>| {
        write!(
            page,
            "<select name=\"{name}\" aria-label=\"{name}\"><option value=\"\">every {name}</option>"
        )?;
        for value in values {
            write!(page, "<option>{}</option>", Text(value))?;
        }
        writeln!(page, "</select>")
    };
    choice("status", numbers.by_status.keys().copied().collect())?;
    choice("kind", numbers.kinds.iter().copied().collect())?;
    let mut providers: Vec<_> = numbers
        .by_model
        .keys()
        .map(|(provider, _)| provider.as_str())
        .collect();
    providers.dedup();
    choice("provider", providers)?;
    writeln!(
        page,
        "<button id=\"tick\" type=\"button\">tick what is shown</button><span id=\"shown\" class=\"soft\"></span></div>"
    )
}

fn why(
    page: &mut impl Write,
    status: &str,
    error: Option<&LineError>,
    here: fn(&str) -> String,
) -> std::io::Result<()> {
    let (kind, message) = error.map_or(("not finished", ""), |error| {
        (error.kind.as_str(), error.message.as_str())
    });
    writeln!(
        page,
        "<span class=\"why\"><b>{status}</b> {}: {}</span>",
        Text(kind),
        Text(message)
    )?;
    match error.and_then(|error| error.next.as_deref()) {
        Some(next) => writeln!(page, "<small>{}</small>", Text(&here(next))),
        None => Ok(()),
    }
}

fn measures(take: &TakeRow) -> String {
    let size = match (take.width, take.height) {
        (Some(width), Some(height)) => format!("{width}x{height}, "),
        _ => String::new(),
    };
    let time = match take.duration_ms {
        Some(ms) => format!("{}.{} s, ", ms / 1000, ms % 1000 / 100),
        None => String::new(),
    };
    format!("{} {size}{time}{} kB", take.format, take.bytes.div_ceil(1000))
}

/// A count as people read it: `9,967`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map(|moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}

/// Where the report of a folder is written when no place is named.
#[must_use]
pub fn report_path(out: &Path) -> PathBuf {
    out.join("report.html")
}

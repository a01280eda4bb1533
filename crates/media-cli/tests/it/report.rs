//! The report: every file on one page, which names what failed and builds the command that makes files anew.

use std::fs;

use serde_json::json;

use crate::support::{Desk, jobs};

fn made() -> Desk {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            (
                "a <b>&\"'",
                "runware",
                "a hat <script>alert(1)</script>",
                "p/a b#1.webp",
            ),
            ("b", "runware", "a bloody kettle", "b.webp"),
            ("c", "forvo", "perro", "c.mp3"),
            ("d", "runware", "a cap", "d.webp"),
        ]),
    );
    desk.make("list.jsonl").ended(1);
    fs::remove_file(desk.path("out/d.webp")).unwrap();
    desk
}

#[test]
fn it_shows_every_file_and_says_why_others_are_missing() {
    let desk = made();
    desk.run(&["report", "--out", "out"])
        .ended(0)
        .said(&["4 files in out/report.html"]);
    let page = desk.read("out/report.html");
    for part in [
        "<img src=\"p/a%20b%231.webp\" loading=\"lazy\"",
        "src=\"c.mp3\"",
        "data-id=\"a &lt;b&gt;&amp;&quot;&#39;\"",
        "data-id=\"b\" data-status=\"failed\"",
        "data-id=\"d\" data-status=\"gone\"",
        "content_rejected",
        "Pronunciation by",
        "0.0012 USD</b>known cost",
        "[&quot;media&quot;,&quot;redo&quot;,&quot;--out&quot;,&quot;out&quot;]",
        // Made, failed, unknown, attempts, cost, and the cost of one that was made.
        "<td>runware<td>runware:100@1<td class=\"n\">2<td class=\"n\">1<td class=\"n\">0<td class=\"n\">3\
         <td class=\"n\">0.0012<td class=\"n\">0.0006<",
    ] {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
    assert!(!page.contains("<script>alert"), "it breaks out of its place");
    // Nothing of it is fetched from elsewhere.
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http") && !page.contains("url("));
    // A run does not mind it, and it is written anew.
    desk.make("list.jsonl");
    desk.run(&["report", "--out", "out"]).ended(0);
    // What is ticked there is made anew by that command, what failed too.
    desk.file("list.jsonl", desk.read("list.jsonl").replace("bloody ", ""));
    desk.run(&["redo", "--out", "out", "--yes", "b", "d"]).ended(0);
    assert_eq!(
        desk.outputs("out"),
        ["b.webp", "c.mp3", "d.webp", "p/a b#1.webp", "report.html"]
    );
}

#[test]
fn it_can_hold_thumbnails_and_sounds_itself() {
    use base64::Engine as _;
    let desk = made();
    desk.run(&["report", "--out", "out", "--embed", "--to", "alone/page.html"])
        .ended(0);
    let page = desk.read("alone/page.html");
    let embedded = |kind: &str| -> Vec<u8> {
        let begins = format!("src=\"data:{kind};base64,");
        let from = page.find(&begins).unwrap_or_else(|| panic!("no {kind} in it")) + begins.len();
        let text = page[from..].split('"').next().unwrap();
        base64::prelude::BASE64_STANDARD.decode(text).unwrap()
    };
    let picture = image::load_from_memory(&embedded("image/jpeg")).unwrap();
    assert!(
        picture.width().max(picture.height()) == 320,
        "{}x{}",
        picture.width(),
        picture.height()
    );
    assert_eq!(embedded("audio/mpeg"), fs::read(desk.path("out/c.mp3")).unwrap());
    // Nothing is shown from beside it; the whole picture is a click away where there is one.
    assert!(!page.contains("src=\"../"), "{page}");
    assert!(page.contains("href=\"../out/p/a%20b%231.webp\""));
}

#[test]
fn it_can_stand_elsewhere_and_replaces_nothing_that_is_not_its_own() {
    let desk = made();
    desk.run(&["report", "--out", "out", "--to", "pages/mine.html"])
        .ended(0);
    assert!(desk.read("pages/mine.html").contains("src=\"../out/c.mp3\""));
    desk.file("out/report.html", "<p>my own page");
    desk.run(&["report", "--out", "out"])
        .ended(2)
        .said(&["is not a report of this program", "--to"]);
    assert_eq!(desk.read("out/report.html"), "<p>my own page");
    desk.run(&["report", "--out", "nowhere"])
        .ended(2)
        .said(&["no ledger"]);
}

/// Pictures and sounds have limits of their own.
#[test]
fn the_limit_beside_the_chart_is_that_of_what_was_asked() {
    let mut desk = Desk::with_sim();
    let limits = json!({ "image": { "requests_per_minute": 240, "images_per_minute": 120 },
        "speech": { "requests_per_minute": 500 } });
    desk.configure("openai", "limits", &limits);
    let picture = jobs(&[("a", "openai", "a hat", "a.webp")]);
    desk.file("list.jsonl", &picture);
    desk.make("list.jsonl").ended(0);
    desk.run(&["report", "--out", "out"]).ended(0);
    assert!(
        desk.read("out/report.html")
            .contains("limit (dashed): 120 a minute")
    );
    let sound = jobs(&[("b", "openai", "perro", "b.mp3")]);
    desk.file("list.jsonl", format!("{picture}{sound}"));
    desk.make("list.jsonl").ended(0);
    desk.run(&["report", "--out", "out"]).ended(0);
    assert!(
        desk.read("out/report.html")
            .contains("limit (dashed): 620 a minute")
    );
}

/// It has no failure: the next provider made it.
#[test]
fn what_was_passed_on_is_counted_apart_and_a_protected_file_is_marked() {
    let mut scenario = media_sim::Scenario::instant();
    scenario.forvo.missing = vec!["xyzzya".to_owned()];
    let desk = Desk::with(scenario);
    let row = json!({ "id": "w", "kind": "audio", "provider": ["forvo", "runware"], "content": "xyzzya", "language": "es",
        "output_path": "w.mp3" });
    desk.file(
        "list.jsonl",
        format!("{row}\n{}", jobs(&[("a", "runware", "a hat", "a.webp")])),
    );
    desk.make("list.jsonl").ended(0);
    desk.run(&["keep", "w", "--out", "out"]).ended(0);
    desk.run(&["report", "--out", "out"]).ended(0);
    let page = desk.read("out/report.html");
    assert!(
        page.contains("<td>not_found<td>forvo<td class=\"n\">0<br><span class=\"soft\">1 passed on</span>"),
        "{page}"
    );
    assert!(page.contains("forvo did not: not_found"), "{page}");
    assert_eq!(page.matches(" data-protected").count(), 1);
    // Without a script the player is there as well.
    assert!(
        page.contains("<noscript><audio controls preload=\"none\" src=\"w.mp3\">"),
        "{page}"
    );
}

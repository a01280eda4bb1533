//! The Anki table says of each row what stands there for it now, and nothing of another row's.

use std::fs;

use media_sim::{Fault, FaultKind, Op, Provider};
use serde_json::{Value, json};

use crate::support::{Desk, Ran};

fn recipe(sound: &Value) -> String {
    let mut output = json!({ "kind": "audio", "provider": "forvo", "content": "{word}", "language": "es", "path": "{file|file}.mp3" });
    output["params"] = sound.clone();
    json!({
        "outputs": { "sound": output },
        "table": { "path": "notes.txt", "format": "anki", "columns":
            { "Word": "{word}", "Sound": "{sound.tag}", "Credit": "{sound.credit}" } }
    })
    .to_string()
}

fn run(desk: &Desk) -> Ran {
    desk.run(&[
        "run",
        "words.csv",
        "--recipe",
        "recipe.json",
        "--out",
        "out",
        "--json",
    ])
}

/// Credit and sound in the row of this word; the columns of the recipe come by their names.
fn cells(desk: &Desk, word: &str) -> [String; 2] {
    let table = desk.read("out/notes.txt");
    let end = format!("\t{word}");
    let row = table.lines().find_map(|line| line.strip_suffix(&end)).unwrap();
    let (credit, sound) = row.split_once('\t').unwrap();
    [credit.to_owned(), sound.to_owned()]
}

#[test]
fn the_credit_is_that_of_the_take_that_stands_there() {
    let desk = Desk::with_sim();
    desk.file("words.csv", "id,word,file\n1,perro,p\n");
    desk.file("recipe.json", recipe(&json!({})));
    run(&desk).ended(0);
    let first = cells(&desk, "perro")[0].clone();
    let other = json!({ "forvo": { "speaker": "halina_k", "country": "*" } });
    desk.file("recipe.json", recipe(&other));
    let redo = [
        "redo",
        "--changed",
        "--yes",
        "--list",
        "words.csv",
        "--recipe",
        "recipe.json",
        "--out",
        "out",
    ];
    desk.run(&redo).ended(0).said(&["the table is"]);
    let second = cells(&desk, "perro")[0].clone();
    assert_ne!(first, second);
    desk.run(&["pick", "1/sound", "1", "--out", "out"])
        .ended(0)
        .said(&["notes.txt is as before"]);
    run(&desk);
    assert_eq!(cells(&desk, "perro")[0], first);
}

#[test]
fn a_row_that_failed_has_nothing_of_what_stands_at_its_path() {
    let desk = Desk::with_sim();
    desk.file("recipe.json", recipe(&json!({})));
    desk.file("words.csv", "id,word,file\n1,perro,x1\n2,gato,x2\n");
    run(&desk).ended(0);
    desk.file("words.csv", "id,word,file\n1,perro,x2\n2,gato,x1\n3,sol,x3\n");
    fs::write(desk.path("out/x3.mp3"), "no sound at all").unwrap();
    assert_eq!(run(&desk).ended(1).count("failed"), 3);
    for word in ["perro", "gato", "sol"] {
        assert_eq!(cells(&desk, word), ["", ""], "{}", desk.read("out/notes.txt"));
    }
    desk.file("words.csv", "id,word,file\n1,perro,x1\n2,gato,x2\n");
    run(&desk);
    assert_eq!(cells(&desk, "gato")[1], "[sound:x2.mp3]");
}

#[test]
fn rows_that_share_a_file_all_have_it() {
    let desk = Desk::with_sim();
    desk.file("recipe.json", recipe(&json!({})));
    desk.file("words.csv", "id,word,file\n1,banco,b\n2,banco,b\n");
    run(&desk).ended(0);
    let table = desk.read("out/notes.txt");
    assert_eq!(table.matches("[sound:b.mp3]").count(), 2, "{table}");
    let credits: Vec<_> = table.lines().filter(|line| line.contains("on Forvo")).collect();
    assert_eq!(credits.len(), 2, "{table}");
    // A recording of one's own is nobody's to be named for.
    fs::copy(desk.path("out/b.mp3"), desk.path("own.mp3")).unwrap();
    let mut own = fs::read(desk.path("own.mp3")).unwrap();
    own.extend_from_slice(b"TAG");
    own.extend_from_slice(&[0; 125]);
    fs::write(desk.path("out/b.mp3"), own).unwrap();
    run(&desk);
    let table = desk.read("out/notes.txt");
    assert!(!table.contains("on Forvo"), "{table}");
}

#[test]
fn a_retry_says_that_the_table_is_from_before() {
    let desk = Desk::with_sim();
    desk.file("recipe.json", recipe(&json!({})));
    desk.file("words.csv", "id,word,file\n1,perro,p\n");
    let fails = Fault::new(Provider::Forvo, FaultKind::status(500))
        .on(Op::Lookup)
        .times(5);
    desk.sim().arm(fails);
    run(&desk).ended(1);
    desk.disarm();
    desk.run(&["retry", "--out", "out"])
        .ended(0)
        .said(&["notes.txt is as before: the next media run writes it anew"]);
}

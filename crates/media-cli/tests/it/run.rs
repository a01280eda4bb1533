//! Lists that work: simulated from a fresh clone, and for real against the simulator's bill.

use std::fs;

use serde_json::json;

use crate::decode::decode;
use crate::support::{Desk, checkout, files, jobs};

/// Every format of every provider.
fn mixed() -> String {
    jobs(&[
        ("p1", "openai", "a lighthouse", "book/one.webp"),
        ("p2", "openai", "a boat", "book/two.png"),
        ("p3", "openai", "a gull", "three.jpg"),
        ("p4", "runware", "a parrot", "cards/parrot.webp"),
        ("p5", "runware", "a cat", "cards/cat.png"),
        ("p6", "runware", "a dog", "cards/dog.jpg"),
        ("s1", "openai", "Listen.", "voice/1.mp3"),
        ("s2", "openai", "Repeat.", "voice/2.wav"),
        ("s3", "openai", "Again.", "voice/3.flac"),
        ("s4", "openai", "Good.", "voice/4.opus"),
        ("s5", "runware", "Hola a todos", "voice/5.mp3"),
        ("s6", "forvo", "perro", "cards/perro.mp3"),
    ])
}

const MIXED_FILES: usize = 12;
const MIXED_CHARGES: usize = 11;

/// Cells that are about providers which this run leaves out are no error of it.
#[test]
fn one_provider_of_the_shipped_examples_can_be_run_alone() {
    let examples = checkout().join("examples");
    let list = examples.join("jobs.csv");
    for provider in ["runware", "forvo", "openai"] {
        let desk = Desk::new();
        let args = [
            "run",
            list.to_str().unwrap(),
            "--simulate",
            "--provider",
            provider,
            "--out",
            "demo",
            "--json",
        ];
        let ran = desk.run(&args).ended(0);
        assert!(!ran.lines().is_empty());
        assert!(
            ran.lines().values().all(|line| line["provider"] == provider),
            "{ran:?}"
        );
        assert_eq!(ran.count("done"), ran.lines().len());
    }
}

#[test]
fn a_fresh_clone_needs_no_keys_to_simulate() {
    let desk = Desk::new();
    let examples = checkout().join("examples");
    let list = examples.join("hard-words.csv");
    let recipe = examples.join("flashcards.json");
    let args = [
        "run",
        list.to_str().unwrap(),
        "--recipe",
        recipe.to_str().unwrap(),
        "--simulate",
        "--out",
        "demo",
    ];
    let ran = desk.run(&[&args[..], &["--json"]].concat()).ended(1);
    let lines = ran.lines();
    assert_eq!(lines.len(), 96);
    for (id, line) in &lines {
        assert_eq!(line["simulated"], true, "{id}");
        let expected = match id.as_str() {
            // The simulator knows no word with a plus; a zero is "false" to Forvo's PHP, and so to it.
            "cero/sound" | "i-mas-d/sound" | "ojala/sound" | "xylofon/sound" | "sabana/sound"
            | "thai-fluent/sound" => "not_found",
            "batalla/picture" => "content_rejected",
            _ => "",
        };
        assert_eq!(line["error"]["kind"].as_str().unwrap_or(""), expected, "{line}");
    }
    assert!(
        ran.stderr
            .contains("simulated: no service was asked and no money spent"),
        "{}",
        ran.stderr
    );
    desk.assert_clean("demo");
    // Each line tells the truth about its file.
    for line in lines.values().filter(|line| line["status"] == "done") {
        let path = desk.path("demo").join(line["path"].as_str().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), line["bytes"], "{line}");
        if line["width"].is_u64() {
            let (width, height) = decode(&path);
            assert_eq!((width, height), (512.0, 512.0));
            assert_eq!(
                (line["width"].as_f64(), line["height"].as_f64()),
                (Some(width), Some(height))
            );
        } else {
            let said = line["duration_ms"].as_f64().unwrap() / 1000.0;
            assert!((decode(&path).0 - said).abs() < 0.1, "{line}");
            assert!(line["credit"].as_str().unwrap().contains("Forvo"), "{line}");
        }
    }
    let table = desk.read("demo/notes.txt");
    assert!(
        table.starts_with("#separator:tab\n#html:true\n#columns:"),
        "{table:.200}"
    );
    assert_eq!(table.matches("<img src=").count(), 47);
    // Again: what is there is there.
    let again = desk.run(&[&args[..], &["--json"]].concat()).ended(1);
    assert_eq!(
        (again.count("skipped"), again.count("failed"), again.count("done")),
        (89, 7, 0)
    );
    assert_eq!(desk.read("demo/notes.txt"), table);
}

#[test]
fn what_is_billed_is_delivered_and_nothing_is_bought_twice() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", mixed());
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("done"), MIXED_FILES);
    desk.assert_clean("out");
    assert_eq!(desk.outputs("out").len(), MIXED_FILES);
    desk.assert_bill_is(MIXED_CHARGES);
    let lines = ran.lines();
    let told: f64 = lines.values().filter_map(|line| line["cost_usd"].as_f64()).sum();
    let bill = desk.sim().bill().total_usd;
    assert!(
        (told - bill).abs() < 0.0005,
        "{told} was told, {bill} billed: {lines:#?}"
    );
    let (width, height) = decode(&desk.path("out/book/one.webp"));
    assert_eq!((width, height), (1024.0, 640.0));
    assert_eq!(decode(&desk.path("out/cards/parrot.webp")), (256.0, 128.0));
    // The same command again resumes, and asks nobody.
    let calls = desk.sim().calls().len();
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!(again.count("skipped"), MIXED_FILES);
    desk.assert_bill_is(MIXED_CHARGES);
    assert_eq!(desk.sim().calls().len(), calls);
}

#[test]
fn a_longer_list_buys_what_is_new() {
    let desk = Desk::with_sim();
    let row = |n: usize| {
        (
            format!("id{n}"),
            "runware",
            format!("picture number {n}"),
            format!("p{n}.webp"),
        )
    };
    let list = |count: usize| {
        let rows: Vec<_> = (0..count).map(row).collect();
        jobs(&rows)
    };
    desk.file("list.jsonl", list(30));
    desk.make("list.jsonl").ended(0);
    desk.assert_bill_is(30);
    desk.file("list.jsonl", list(60));
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!((ran.count("skipped"), ran.count("done")), (30, 30));
    desk.assert_bill_is(60);
    desk.assert_clean("out");
}

#[test]
fn rows_that_ask_for_the_same_share_one_purchase() {
    let desk = Desk::with_sim();
    desk.file(
        "list.csv",
        "id,word,tail\na,el banco,x\nb,un banco,y\nc,el gato,z\n",
    );
    let recipe = json!({
        "needs": ["id", "word"],
        "fields": { "bare": { "from": "word", "drop_prefix": ["el ", "un "] } },
        "outputs": {
            "picture": {
                "kind": "image", "provider": "runware", "content": "{bare}, flat", "path": "{bare|file}.webp",
                "params": { "runware": { "width": 128, "height": 128 } }
            }
        }
    });
    desk.file("recipe.json", recipe.to_string());
    let ran = desk
        .run(&[
            "run",
            "list.csv",
            "--recipe",
            "recipe.json",
            "--out",
            "out",
            "--json",
        ])
        .ended(0);
    assert_eq!(ran.count("done"), 3);
    assert_eq!(desk.outputs("out"), ["banco.webp", "gato.webp"]);
    desk.assert_bill_is(2);
    let shared: Vec<_> = ran
        .lines()
        .into_values()
        .filter(|line| line["cost_basis"] == "shared")
        .collect();
    assert_eq!(shared.len(), 1);
    assert_eq!(shared[0]["cost_usd"], 0.0);
}

#[test]
fn a_second_variant_is_a_second_purchase() {
    let desk = Desk::with_sim();
    let one = jobs(&[("a", "openai", "a hat", "a.webp")]);
    let two = jobs(&[("b", "openai", "a hat", "b.webp")]).replace("\"kind\"", "\"variant\":2,\"kind\"");
    desk.file("list.jsonl", one + &two);
    assert_eq!(desk.make("list.jsonl").ended(0).count("done"), 2);
    desk.assert_bill_is(2);
}

#[test]
fn a_part_of_a_list_is_not_finished_and_nothing_is_wrong() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", mixed());
    let ran = desk
        .run(&["run", "list.jsonl", "--out", "out", "--json", "--max-items", "4"])
        .ended(4);
    assert_eq!(ran.count("done"), 4);
    assert!(
        ran.stderr.contains("next: media run list.jsonl --out out"),
        "{}",
        ran.stderr
    );
    assert_eq!(desk.outputs("out").len(), 4);
    let rest = desk.make("list.jsonl").ended(0);
    assert_eq!((rest.count("skipped"), rest.count("done")), (4, MIXED_FILES - 4));
    desk.assert_bill_is(MIXED_CHARGES);
    assert_eq!(
        desk.run(&["run", "list.jsonl", "--out", "o2", "--json", "--max-items", "0"])
            .ended(4)
            .stdout,
        ""
    );
    desk.assert_bill_is(MIXED_CHARGES);
}

#[test]
fn the_last_line_can_be_typed_as_it_stands() {
    let desk = Desk::new();
    desk.file("my list.jsonl", mixed());
    std::fs::rename(desk.path("config"), desk.path("other config")).unwrap();
    let args = [
        "run",
        "my list.jsonl",
        "--out",
        "my $OUT",
        "--simulate",
        "--config",
        "other config",
        "--max-items",
        "2",
    ];
    let ran = desk.run(&args).ended(4);
    let next = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("next: "))
        .unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_media"));
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", next])
        .current_dir(desk.path(""))
        .env_clear()
        .env("HOME", desk.path(""));
    shell.env(
        "PATH",
        format!("{}:/usr/bin:/bin", program.parent().unwrap().display()),
    );
    desk.finish(shell).ended(0);
    assert_eq!(desk.outputs("my $OUT").len(), MIXED_FILES);
}

#[test]
fn one_call_at_a_time_makes_the_same_files() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", mixed());
    let args = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--concurrency",
        "1",
    ];
    assert_eq!(desk.run(&args).ended(0).count("done"), MIXED_FILES);
    desk.assert_bill_is(MIXED_CHARGES);
    desk.assert_clean("out");
    desk.run(&["run", "list.jsonl", "--concurrency", "0"]).ended(2);
}

#[test]
fn a_file_that_is_there_is_never_replaced() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.png"),
            ("b", "runware", "a cap", "b.png"),
        ]),
    );
    // Somebody's own picture, and something that is no picture.
    let own = {
        let picture = image::RgbImage::from_pixel(7, 5, image::Rgb([1, 2, 3]));
        fs::create_dir_all(desk.path("out")).unwrap();
        picture.save(desk.path("out/a.png")).unwrap();
        fs::read(desk.path("out/a.png")).unwrap()
    };
    desk.file("out/b.png", "a note of mine");
    let ran = desk.make("list.jsonl").ended(1);
    assert_eq!(ran.line("a")["status"], "skipped");
    assert_eq!(ran.line("b")["status"], "failed");
    assert_eq!(ran.line("b")["error"]["charge"], "none");
    assert_eq!(fs::read(desk.path("out/a.png")).unwrap(), own);
    assert_eq!(desk.read("out/b.png"), "a note of mine");
    desk.assert_bill_is(0);
}

#[test]
fn a_file_cut_short_since_is_not_taken_for_whole() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        jobs(&[
            ("a", "runware", "a hat", "a.jpg"),
            ("s", "forvo", "gato", "s.mp3"),
        ]),
    );
    desk.make("list.jsonl").ended(0);
    for path in files(&desk.path("out"))
        .into_iter()
        .filter(|path| path.ends_with("a.jpg") || path.ends_with("s.mp3"))
    {
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    }
    // Both are known to have been made, so what is broken is moved aside, and what costs nothing is fetched once more.
    let ran = desk.make("list.jsonl").ended(0);
    assert_eq!(ran.count("done"), 2);
    assert_eq!(desk.charges(), 1);
    let old = files(&desk.path("out/.media/old"));
    assert_eq!(old.len(), 2, "{old:?}");
    // A file that nobody knows is not ours to move.
    desk.file("other/a.jpg", "not a picture");
    let ran = desk
        .run(&["run", "list.jsonl", "--out", "other", "--json"])
        .ended(1);
    assert!(
        ran.line("a")["error"]["message"]
            .as_str()
            .unwrap()
            .contains("a.jpg is there, but is")
    );
    assert_eq!(desk.read("other/a.jpg"), "not a picture");
}

#[test]
fn one_provider_of_a_list_can_be_run_alone() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", mixed());
    desk.run(&["run", "list.jsonl", "--out", "out", "--provider", "acme"])
        .ended(2)
        .said(&[
            "nothing in the list comes from \"acme\"",
            "forvo, openai, runware",
        ]);
    let plan = desk
        .run(&["plan", "list.jsonl", "--provider", "forvo"])
        .ended(0)
        .stdout;
    assert!(plan.contains("forvo") && !plan.contains("runware "), "{plan}");
    assert!(plan.contains("media run list.jsonl --provider forvo"), "{plan}");
    let run = [
        "run",
        "list.jsonl",
        "--out",
        "out",
        "--json",
        "--provider",
        "forvo",
    ];
    let ran = desk.run(&run).ended(0);
    assert_eq!(ran.count("done"), 1);
    let both = [&run[..], &["--provider", "runware"]].concat();
    let ran = desk.run(&both).ended(0);
    assert_eq!((ran.count("done"), ran.count("skipped")), (4, 1));
    desk.assert_bill_is(4);
}

#[test]
fn a_command_without_a_list_makes_the_configured_one_or_says_what_to_do() {
    let desk = Desk::with_sim();
    desk.run(&["run"])
        .ended(2)
        .said(&["no list is named", "media.json"]);
    desk.file("list.jsonl", mixed());
    desk.file(
        "config/media.json",
        json!({ "list": "list.jsonl", "out": "out", "check": "full", "sizes": { "media": "1MiB", "text": "1MiB" } })
            .to_string(),
    );
    let plan = desk.run(&["plan"]).ended(0).stdout;
    assert!(plan.contains("Do it: media run\n"), "{plan}");
    let ran = desk.run(&["run", "--json"]).ended(0);
    assert_eq!(ran.count("done"), MIXED_FILES);
    // The simulated limits are the ones a simulated run is planned by; neither needs a key.
    let simulated = Desk::new();
    simulated.file("list.jsonl", mixed());
    let plan = simulated
        .run(&["plan", "list.jsonl", "--simulate"])
        .ended(0)
        .stdout;
    assert!(plan.contains("media run list.jsonl --simulate"), "{plan}");
    // Nor can a folder of simulated files be gone on with otherwise.
    simulated.run(&["run", "list.jsonl", "--simulate"]).ended(0);
    let plan = simulated.run(&["plan", "list.jsonl"]).ended(0).stdout;
    assert!(
        plan.contains("media run list.jsonl --simulate\nIts folder holds simulated files"),
        "{plan}"
    );
}

//! Recipes: what they refuse, and what they make of rows.

use serde_json::json;

use super::*;

const LIST: &str = "Id,Word ,english,picture\nperro,el perro,dog,a dog\nque,¿qué?,what?,\n";

/// A recipe with one output of these keys, and more at the top.
fn with(output: &Value, more: &Value) -> Value {
    let mut made =
        json!({ "kind": "audio", "provider": ["forvo"], "content": "{word}", "path": "es_{id|file}.mp3" });
    merge(&mut made, output);
    let mut recipe = json!({ "outputs": { "sound": made } });
    merge(&mut recipe, more);
    recipe
}

fn merge(to: &mut Value, from: &Value) {
    for (key, value) in from.as_object().unwrap() {
        to[key] = value.clone();
    }
}

fn bind(list: &str, recipe: &Value) -> Result<(Source, BoundRecipe), String> {
    let desk = Desk::new();
    let source = desk.open("words.csv", list).unwrap();
    let path = desk.file("anki.json", recipe.to_string());
    let folder = format!("{}/", desk.path("").display());
    let bound = Recipe::read(&path).and_then(|recipe| recipe.bind(&source));
    let bound = bound.map_err(|error| error.to_string().replace(folder.trim_end_matches('/'), ""))?;
    // The list must stay on disk while it is read.
    std::mem::forget(desk);
    Ok((source, bound))
}

fn jobs(list: &str, recipe: &Value) -> (Vec<JobSpec>, Vec<String>) {
    let (source, bound) = bind(list, recipe).unwrap();
    let found = all_jobs(&source, Some(&bound));
    std::fs::remove_dir_all(source.path().parent().unwrap()).unwrap();
    found
}

#[test]
fn mistakes_are_named_with_their_key() {
    let none = json!({});
    let cases = [
        (
            with(&none, &json!({ "needs": ["id", "plural"] })),
            "needs: the list has no column \"plural\"; the list has: Id, Word, english, picture",
        ),
        (
            with(&none, &json!({ "output": {} })),
            "unknown key \"output\"; the keys here are: needs, fields, outputs, table",
        ),
        (
            with(&json!({ "params": { "forvo": { "x": "{a" } } }), &none),
            "outputs.sound.params.forvo.x: the template \"{a\" has a { without its }",
        ),
        (
            with(&json!({ "params": { "openai": {} } }), &none),
            "outputs.sound.params.openai: \"openai\" is not asked for this output; its provider is forvo",
        ),
        (
            with(&json!({ "path": "{plural}.mp3" }), &none),
            "outputs.sound.path: in the template \"{plural}.mp3\": there is no column \"plural\"; the list has: Id, Word, english, picture",
        ),
        (
            with(&json!({ "content": "{wrod}" }), &none),
            "outputs.sound.content: in the template \"{wrod}\": there is no column \"wrod\"",
        ),
        (
            with(&json!({ "content": ["{wrod}", "{x}"] }), &none),
            "there is no column \"x\"",
        ),
        (
            with(&json!({ "content": [] }), &none),
            "outputs.sound.content: is missing",
        ),
        (
            with(&json!({ "kind": "video" }), &none),
            "outputs.sound.kind: \"video\" is not a kind; write image or audio",
        ),
        (
            with(&json!({ "kind": 5 }), &none),
            "outputs.sound.kind: expected text, found a number",
        ),
        (
            with(&json!({ "provider": [] }), &none),
            "outputs.sound.provider: a provider's name is missing",
        ),
        (
            with(&json!({ "provider": ["a", "a"] }), &none),
            "outputs.sound.provider: \"a\" is there twice",
        ),
        (
            with(&json!({ "variant": 0 }), &none),
            "outputs.sound.variant: expected a whole number from 1 on",
        ),
        (
            with(&json!({ "next_when": "tuesday" }), &none),
            "outputs.sound.next_when: \"tuesday\" is not a kind of error",
        ),
        (
            with(&json!({ "language": "{lang}" }), &none),
            "outputs.sound.language: in the template \"{lang}\": there is no column \"lang\"",
        ),
        (
            with(&json!({ "size": 5 }), &none),
            "outputs.sound: unknown key \"size\"",
        ),
        (with(&none, &json!({ "outputs": {} })), "outputs: is empty"),
        (
            with(&none, &json!({ "outputs": { "a/b": {} } })),
            "outputs.a/b: a name of an output has letters",
        ),
        (
            with(&none, &json!({ "fields": { "word": { "from": "english" } } })),
            "fields.word: the list has a column of this name too",
        ),
        (
            with(&none, &json!({ "fields": { "x": { "from": "y" } } })),
            "fields.x.from: there is no column \"y\"; the list has: Id, Word, english, picture; the recipe has the fields: x",
        ),
        (
            with(
                &none,
                &json!({ "fields": { "x": { "from": "y" }, "y": { "from": "z" }, "z": { "from": "x" } } }),
            ),
            "fields: these are made from each other in a circle: x, y, z",
        ),
        (
            with(&none, &json!({ "fields": { "x": { "from": "x" } } })),
            "in a circle: x",
        ),
        (
            with(&none, &json!({ "fields": { "x": {} } })),
            "fields.x: the key \"from\" is missing",
        ),
        (
            with(
                &none,
                &json!({ "fields": { "x": { "from": "id", "cut_at": [""] } } }),
            ),
            "fields.x.cut_at: has an empty text",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "../n.txt", "format": "anki", "columns": { "a": "{id}" } } }),
            ),
            "table.path: the path contains `..`",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.mp3", "format": "anki", "columns": { "a": "{id}" } } }),
            ),
            "table.path: Anki imports .txt",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.txt", "format": "csv", "columns": { "a": "{id}" } } }),
            ),
            "table.format: \"csv\" is not known",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.txt", "format": "anki", "columns": {} } }),
            ),
            "table.columns: is empty",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.txt", "format": "anki", "columns": { "a": "{picture.tag}" } } }),
            ),
            "table.columns.a: {picture.tag}: no output is called so; there are: sound",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.txt", "format": "anki", "columns": { "a": "{plural}" } } }),
            ),
            "table.columns.a: in the template \"{plural}\"",
        ),
        (
            with(
                &none,
                &json!({ "table": { "path": "n.txt", "format": "anki", "deck": "a\nb", "columns": { "a": "{id}" } } }),
            ),
            "table.deck: the name of a deck is one line",
        ),
        (json!([]), "expected an object {…}, found a list"),
    ];
    for (recipe, part) in cases {
        let message = bind(LIST, &recipe).unwrap_err();
        assert!(message.contains(part), "{part}\n{message}");
        assert!(
            message.lines().all(|line| line.starts_with("/anki.json: ")),
            "{message}"
        );
    }
    let message = bind("word\nx\n", &with(&none, &none)).unwrap_err();
    assert!(
        message.contains("no column \"id\", which names each row; the list has: word"),
        "{message}"
    );
}

#[test]
fn files_that_are_no_recipe() {
    let desk = Desk::new();
    let refused = |content: &[u8]| {
        Recipe::read(&desk.file("r.json", content))
            .unwrap_err()
            .to_string()
    };
    assert!(
        refused(b"{\n \"needs\": [,]}").contains("not JSON, at line 2, character 12"),
        "{}",
        refused(b"{\n \"needs\": [,]}")
    );
    assert!(refused(b"{\"outputs\": 1, \"outputs\": 2}").contains("\"outputs\" is there twice"));
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"\xff\xfe{\0}\0").contains("not UTF-8"));
    assert!(refused(&vec![b' '; (1 << 20) + 1]).contains("larger than 1 MiB"));
    assert!(
        Recipe::read(&desk.path("none.json"))
            .unwrap_err()
            .to_string()
            .starts_with("cannot read ")
    );
}

#[test]
fn remarks_are_allowed_anywhere() {
    let recipe = with(
        &json!({ "$comment": "x", "params": { "$comment": "x", "forvo": { "$comment": 1 } } }),
        &json!({ "$schema": "x" }),
    );
    let (good, bad) = jobs(LIST, &recipe);
    assert_eq!((good.len(), bad.len()), (2, 0));
    assert!(good[0].params.is_empty());
}

#[test]
fn rows_become_jobs() {
    let recipe = json!({
        "needs": ["ID", "word"],
        "fields": {
            "short": { "from": "spoken", "cut_at": "u" },
            "spoken": { "from": "word", "drop_prefix": ["el "], "drop_characters": "¿?" }
        },
        "outputs": {
            "picture": { "kind": "image", "provider": "runware", "content": ["{picture}, flat", "{english}, flat {{x}}"], "path": "{id|file}.webp",
                "params": { "runware": { "width": "{wide}", "height": 512, "model": "{english}", "list": ["{x}"] } }, "variant": 3 },
            "sound": { "kind": "audio", "provider": ["forvo", "runware"], "content": "{Spoken}", "language": "es", "path": "{short}.mp3", "next_when": ["rate_limited"],
                "params": { "forvo": { "speaker": "{speaker}" } } }
        }
    });
    let (source, bound) = bind(LIST, &recipe).unwrap();
    let (good, bad) = all_jobs(&source, Some(&bound));
    assert_eq!(bad, Vec::<String>::new());
    let ids: Vec<_> = good.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["perro/picture", "perro/sound", "que/picture", "que/sound"]);
    assert_eq!(
        (good[0].content.as_str(), good[0].path.as_str(), good[0].variant),
        ("a dog, flat", "perro.webp", 3)
    );
    assert_eq!(
        json!(good[0].params),
        json!({ "runware": { "height": 512, "model": "dog", "list": ["{x}"] } })
    );
    assert_eq!(
        (good[1].content.as_str(), good[1].path.as_str()),
        ("perro", "perro.mp3")
    );
    assert_eq!(
        (good[1].language.as_deref(), good[1].params.len(), good[1].line),
        (Some("es"), 0, 2)
    );
    assert_eq!(good[2].content, "what?, flat {x}");
    assert_eq!(
        (good[3].content.as_str(), good[3].path.as_str()),
        ("qué", "q.mp3")
    );
    assert_eq!(
        (good[3].row.as_deref(), good[3].output.as_deref()),
        (Some("que"), Some("sound"))
    );
    assert_eq!(
        bound.recipe().outputs()[1].next_when,
        [media_core::ErrorKind::RateLimited]
    );
}

#[test]
fn bad_rows_are_told_and_good_outputs_of_them_kept() {
    let recipe = with(
        &json!({ "content": "{spoken}", "params": { "forvo": { "width": "{english}" } } }),
        &json!({ "fields": { "spoken": { "from": "word", "drop_characters": "?" } } }),
    );
    let (good, bad) = jobs(
        "id,word,english\n,a,\nb,?!,\nc,??,\nd,,\n\"e\nf\",a,\ng,a,wide\nh,a,5\n",
        &recipe,
    );
    let ids: Vec<_> = good.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["b/sound", "h/sound"]);
    let expected = [
        "words.csv, line 2, column \"id\": is empty; give every row an id of its own",
        "words.csv, line 4: sound: there is no content: {spoken} is empty: the rules of the recipe leave nothing of \"??\"; fill the cell",
        "words.csv, line 5: sound: there is no content: {spoken} is empty; fill the cell",
        "words.csv, line 6, column \"id\": has a line break or another character that cannot be seen; an id is one line of text",
        "words.csv, line 8: sound: params.forvo.width: expected a number, found \"wide\"",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn two_spellings_of_one_word_are_one() {
    let (good, _) = jobs(
        "id,word\n1,qu\u{e9} \n2, que\u{301}\n",
        &with(&json!({ "path": "{word|file}.mp3" }), &json!({})),
    );
    assert_eq!(
        (&good[0].content, &good[0].path),
        (&good[1].content, &good[1].path)
    );
    assert_eq!(good[0].content, "qué");
}

#[test]
fn json_lines_are_tables_too() {
    let desk = Desk::new();
    let source = desk
        .open(
            "words.jsonl",
            "{\"id\":1,\"word\":\"a\"}\n{\"ID\":2,\"word\":\"b\",\"speaker\":true}\n{\"id\":3,\"word\":[]}\n",
        )
        .unwrap();
    let recipe = with(
        &json!({ "params": { "forvo": { "speaker": "{speaker}" } } }),
        &json!({}),
    );
    let bound = Recipe::parse(Path::new("r.json"), &recipe.to_string())
        .unwrap()
        .bind(&source)
        .unwrap();
    let (good, bad) = all_jobs(&source, Some(&bound));
    assert_eq!((good[0].id.as_str(), good[1].id.as_str()), ("1/sound", "2/sound"));
    assert_eq!(json!(good[1].params), json!({ "forvo": { "speaker": "true" } }));
    assert_eq!(
        bad,
        ["words.jsonl, line 3, column \"word\": expected text, found a list"]
    );
}

/// Whatever is wrong with a recipe is told by its name, and what is made of a list with one that is taken is no crash.
#[test]
fn a_recipe_with_any_value_wrong_is_refused_by_name_or_understood() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flashcards.json");
    // A published crate stands alone.
    let Ok(shipped) = std::fs::read(shipped) else {
        return;
    };
    let list = "id,word,english,picture\nperro,el perro,dog,a dog\nque,¿qué?,what?,\n";
    let mut refused = 0;
    for change in media_testkit::Mangled::all(&shipped) {
        let recipe: Value = serde_json::from_slice(&change.of(&shipped)).unwrap();
        match bind(list, &recipe) {
            Ok((source, bound)) => {
                all_jobs(&source, Some(&bound));
                std::fs::remove_dir_all(source.path().parent().unwrap()).unwrap();
            }
            Err(error) => {
                refused += 1;
                assert!(error.contains("anki.json"), "{change}: {error}");
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

//! The table for Anki.

use super::*;

const RECIPE: &str = r##"{
  "outputs": {
    "picture": { "kind": "image", "provider": "runware", "content": "{word}", "path": "{name}.webp" },
    "sound": { "kind": "audio", "provider": "forvo", "content": "{word}", "path": "{name}.mp3" }
  },
  "table": { "path": "notes.txt", "format": "anki", "deck": "Español::600",
    "columns": { "Id": "{id}", "#Word": "<b>{word}</b>", "Picture": "{picture.tag}", "Sound": "{Sound.Tag}", "Credit": "{sound.credit}" } }
}"##;

const LIST: &str = "id,word,name\n#1,\"a <b> & \"\"c\"\"\nd\te\",n & 'm'\n2,x,[2]\n";

fn bound(source: &Source, recipe: &str) -> BoundRecipe {
    Recipe::parse(Path::new("anki.json"), recipe)
        .unwrap()
        .bind(source)
        .unwrap()
}

fn write(desk: &Desk, source: &Source, recipe: &BoundRecipe) -> Result<String, ListError> {
    let mut table = TableWriter::create(&desk.path("out"), &desk.path(""), recipe, source)?.unwrap();
    for row in JobRows::new(source, Some(recipe), &read_param).unwrap() {
        let row = row.unwrap();
        let there = row.jobs.iter().filter(|job| job.id != "2/picture");
        let made: Vec<_> = there
            .map(|job| {
                let credit = Some("<x> & co".to_owned());
                (job, Made { credit })
            })
            .collect();
        table.row(&row, &made)?;
    }
    let (whole, path) = table.finish()?;
    whole.persist(&path).unwrap();
    Ok(std::fs::read_to_string(path).unwrap())
}

#[test]
fn cells_are_safe_and_tags_stand_only_for_files() {
    let desk = Desk::new();
    let source = desk.open("list.csv", LIST).unwrap();
    let text = write(&desk, &source, &bound(&source, RECIPE)).unwrap();
    // What contains a number sign is in quotes too: at the start of a line it would be a remark.
    let expected = "#separator:tab\n#html:true\n#columns:Id\t\"#Word\"\tPicture\tSound\tCredit\n#deck:Español::600\n\
        \"#1\"\t\"<b>a &lt;b&gt; &amp; \"\"c\"\"<br>d e</b>\"\t\
        \"<img src=\"\"n &amp; 'm'.webp\"\">\"\t[sound:n &amp; 'm'.mp3]\t&lt;x&gt; &amp; co\n\
        2\t<b>x</b>\t\t\"[sound:&#91;2&#93;.mp3]\"\t&lt;x&gt; &amp; co\n";
    assert_eq!(text, expected);
    // It is a list again, with what was in the cells.
    let rows = desk.rows("again.txt", text);
    assert_eq!(rows[0].1[..2], ["#1", "a <b> & \"c\"\nd e"]);
    assert_eq!(rows[1].1[..2], ["2", "x"]);
}

#[test]
fn only_a_table_of_ours_is_replaced() {
    let desk = Desk::new();
    let source = desk.open("list.csv", LIST).unwrap();
    let recipe = bound(&source, RECIPE);
    write(&desk, &source, &recipe).unwrap();
    write(&desk, &source, &recipe).unwrap();
    let left: Vec<_> = std::fs::read_dir(desk.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes.txt"]);
    let mine = "#separator:tab\n#html:true\n#guid column:1\nmine\n";
    std::fs::write(desk.path("out/notes.txt"), mine).unwrap();
    let message = write(&desk, &source, &recipe).unwrap_err().to_string();
    assert!(message.contains("not one of our tables"), "{message}");
    assert_eq!(std::fs::read_to_string(desk.path("out/notes.txt")).unwrap(), mine);
    std::fs::remove_file(desk.path("out/notes.txt")).unwrap();
    std::fs::create_dir(desk.path("out/notes.txt")).unwrap();
    assert!(write(&desk, &source, &recipe).is_err());
}

#[test]
fn the_list_itself_is_not_replaced() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("out")).unwrap();
    let text = "#separator:tab\n#html:true\n#columns:id\tword\tname\n1\ta\tb\n";
    let source = desk.open("out/notes.txt", text).unwrap();
    let message = write(&desk, &source, &bound(&source, RECIPE))
        .unwrap_err()
        .to_string();
    assert!(message.contains("would replace the list"), "{message}");
    assert_eq!(std::fs::read_to_string(desk.path("out/notes.txt")).unwrap(), text);
}

#[test]
fn a_table_that_is_not_finished_leaves_nothing() {
    let desk = Desk::new();
    let source = desk.open("list.csv", LIST).unwrap();
    let recipe = bound(&source, RECIPE);
    drop(TableWriter::create(&desk.path("out"), &desk.path(""), &recipe, &source).unwrap());
    assert_eq!(std::fs::read_dir(desk.path("out")).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn others_may_read_it_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    let source = desk.open("list.csv", LIST).unwrap();
    write(&desk, &source, &bound(&source, RECIPE)).unwrap();
    let mode = |name: &str| std::fs::metadata(desk.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("out/notes.txt"), mode("list.csv"));
}

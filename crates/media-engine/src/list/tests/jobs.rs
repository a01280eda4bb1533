//! Job lists, as tables and as JSON lines.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const HEADER: &str =
    "id,kind,provider,content,language,output_path,variant,params.openai.quality,params.runware.width,_note";

fn table(rows: &str) -> (Vec<JobSpec>, Vec<String>) {
    let desk = Desk::new();
    all_jobs(&desk.open("jobs.csv", format!("{HEADER}\n{rows}")).unwrap(), None)
}

fn json(lines: &str) -> (Vec<JobSpec>, Vec<String>) {
    let desk = Desk::new();
    all_jobs(&desk.open("jobs.jsonl", lines).unwrap(), None)
}

#[test]
fn a_table_and_json_lines_say_the_same() {
    let (mut table, bad) = table(
        "a,Image,\"openai, runware\",\"a {dog}\",,a/b.webp,2,high,512,hm\n ,audio,openai,hola,es,hola.mp3,,,,\n",
    );
    assert_eq!(bad, Vec::<String>::new());
    let (json, bad) = json(
        r#"{"id":"a","kind":"image","provider":["openai","runware"],"content":"a {dog}","output_path":"a/b.webp","variant":2,"params":{"openai":{"quality":"high"},"runware":{"width":512,"x":null}},"_note":[1]}
        {"id":null,"kind":"audio","provider":"openai","content":"hola","language":"es","output_path":"hola.mp3","params":{"forvo":null}}"#,
    );
    assert_eq!(bad, Vec::<String>::new());
    table.iter_mut().for_each(|job| job.line -= 1);
    assert_eq!(table, json);
    let job = &json[0];
    assert_eq!(
        (job.id.as_str(), job.variant, job.content.as_str()),
        ("a", 2, "a {dog}")
    );
    assert_eq!(
        job.request("runware").params,
        [("width".to_owned(), json!(512))].into()
    );
    assert_eq!(job.request("other").params, [].into());
    assert_eq!(
        (json[1].id.as_str(), json[1].language.as_deref()),
        ("hola.mp3", Some("es"))
    );
}

#[test]
fn every_mistake_of_a_row_is_told_with_its_column() {
    let (good, bad) = table(
        "a,video,openai,x,,a.png,,,,\nb,image,\"openai,,x\",x,,a.png,,,,\n\"c\nd\",image,openai,  ,,,0,,,\n\
         e,image,openai,x,,a.png,two,,12px,\nf,image,runware,x,,a.png,,,12px,\ng,image,a;a,x,,a.png,,,,\n",
    );
    assert_eq!(good.len(), 1);
    let expected = [
        "jobs.csv, line 2, column \"kind\": \"video\" is not a kind; write image or audio",
        "jobs.csv, line 3, column \"provider\": a provider's name is missing; write one, or several to ask in order",
        "jobs.csv, line 4, column \"id\": has a line break or another character that cannot be seen; an id is one line of text",
        "jobs.csv, line 4, column \"content\": is empty; write the prompt of the picture, or the text to speak",
        "jobs.csv, line 4, column \"variant\": expected a whole number from 1 on, found \"0\"",
        "jobs.csv, line 4, column \"output_path\": is empty; write where the file goes, as in words/dog.webp",
        "jobs.csv, line 6, column \"variant\": expected a whole number from 1 on, found \"two\"",
        "jobs.csv, line 6, column \"params.runware.width\": is given, but runware is not asked in this row; the provider is openai",
        "jobs.csv, line 7, column \"params.runware.width\": expected a number, found \"12px\"",
    ];
    assert_eq!(bad, expected);
}

#[test]
fn every_mistake_of_a_line_is_told_with_its_key() {
    let (good, bad) = json(
        "{\"id\":[],\"kind\":\"image\",\"provider\":[\"a\",1],\"content\":5,\"output_path\":\"a\\u0000.png\",\"size\":1}\n\
         {\"id\":7,\"kind\":\"image\",\"provider\":[\"a\",\"a\"],\"content\":\"x\",\"output_path\":\"a.png\",\"variant\":\"2\"}\n\
         {\"kind\":\"image\",\"provider\":\"a\",\"content\":\"x\",\"output_path\":\"a.png\",\"params\":{\"b\":{\"c\":1},\"a\":1}}\n\
         {\"kind\":\"image\",\"provider\":\"a\",\"content\":\"x\",\"output_path\":\"a.png\",\"params\":\"high\"}\n",
    );
    assert_eq!(good, []);
    let columns: Vec<_> = bad
        .iter()
        .map(|message| message.split(": ").next().unwrap())
        .collect();
    let of = |line: u32, column: &str| format!("jobs.jsonl, line {line}, column {column:?}");
    let expected = [
        of(1, "size"),
        of(1, "id"),
        of(1, "provider"),
        of(1, "content"),
        of(1, "output_path"),
        of(2, "provider"),
        of(2, "variant"),
        of(3, "params.b"),
        of(3, "params.a"),
        of(4, "params"),
    ];
    assert_eq!(columns, expected, "{bad:#?}");
    assert!(bad[0].contains("unknown key; known are id, kind"), "{}", bad[0]);
}

#[test]
fn headers_of_other_tables_are_refused() {
    let desk = Desk::new();
    let refused = |header: &str| {
        let source = desk.open("jobs.csv", format!("{header}\n")).unwrap();
        Jobs::new(&source, None, &read_param).unwrap_err().to_string()
    };
    let message = refused("id,word,english");
    assert!(
        message.contains("missing: kind, provider, content, output_path"),
        "{message}"
    );
    assert!(
        message.contains("this list has: id, word, english") && message.contains("--recipe"),
        "{message}"
    );
    let message = refused("kind,provider,content,output_path,size,params.x,params,_ok");
    assert!(
        message.contains("unknown columns: size, params.x, params; known are id, kind"),
        "{message}"
    );
    let message = refused("kind,provider,content,output_path,params.a.b,params. a .b");
    assert!(message.contains("two columns params.a.b"), "{message}");
}

#[test]
fn an_unknown_parameter_is_told_by_the_provider() {
    let desk = Desk::new();
    let text = "kind,provider,content,output_path,params.a.nope\nimage,a,x,y.png,1\nimage,a,x,z.png,\n";
    let (good, bad) = all_jobs(&desk.open("jobs.csv", text).unwrap(), None);
    assert_eq!(good.len(), 1);
    assert_eq!(
        bad,
        ["jobs.csv, line 2, column \"params.a.nope\": a has no parameter \"nope\""]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_row_is_a_job_or_a_problem(rows in prop::collection::vec(prop::collection::vec("[a-z,\"\n{}]{0,4}|image|audio|2", 10), 1..5)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        let blank = rows.iter().filter(|row| row.iter().all(|cell| cell.trim().is_empty())).count();
        let desk = Desk::new();
        let content = [HEADER.as_bytes(), b"\n", &writer.into_inner().unwrap()].concat();
        let source = desk.open("jobs.csv", content).unwrap();
        let jobs = Jobs::new(&source, None, &read_param).unwrap().count();
        prop_assert_eq!(jobs, rows.len() - blank);
    }
}

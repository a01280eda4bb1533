//! Lists that are broken, hostile or merely from Excel: a clear error or the right files, and no harm.

use crate::support::{Desk, Ran, jobs};

const HEADER: &str = "id,kind,provider,content,output_path\n";

/// Runs a bad list for real: refused with these words, nothing sent, nothing written.
#[track_caller]
fn refused(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) -> Ran {
    let desk = Desk::with_sim();
    desk.file(name, content);
    let ran = desk.make(name).ended(2).said(parts);
    assert_eq!(ran.stdout, "", "{ran:#?}");
    assert_eq!(desk.sim().calls(), []);
    assert!(!desk.path("out").exists(), "a refused list leaves nothing behind");
    // A plan says the same.
    desk.run(&["plan", name]).ended(2).said(parts);
    ran
}

/// Runs a list that looks odd and is fine.
#[track_caller]
fn works(name: &str, content: impl AsRef<[u8]>, outputs: &[&str]) {
    let desk = Desk::with_sim();
    desk.file(name, content);
    let ran = desk.make(name).ended(0);
    assert_eq!(ran.count("done"), outputs.len());
    assert_eq!(desk.outputs("out"), outputs);
    desk.assert_clean("out");
}

#[cfg(unix)]
#[test]
fn a_link_in_the_output_folder_leads_nothing_out_of_it() {
    use std::os::unix::fs::symlink;
    let desk = Desk::with_sim();
    for folder in ["outside", "out/inside"] {
        std::fs::create_dir_all(desk.path(folder)).unwrap();
    }
    symlink(desk.path("outside"), desk.path("out/away")).unwrap();
    symlink(desk.path("out/inside"), desk.path("out/near")).unwrap();
    desk.file(
        "list.jsonl",
        jobs(&[("a", "runware", "a hat", "away/deep/a.webp")]),
    );
    desk.make("list.jsonl")
        .ended(2)
        .said(&["line 1", "away/deep leads out of the output folder"]);
    assert_eq!(desk.sim().calls(), []);
    assert_eq!(std::fs::read_dir(desk.path("outside")).unwrap().count(), 0);
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "near/a.webp")]));
    desk.make("list.jsonl").ended(0);
    assert!(desk.path("out/inside/a.webp").is_file());
}

#[test]
fn what_is_no_text_is_refused() {
    let utf16: Vec<u8> = format!("\u{feff}{HEADER}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    refused("list.csv", utf16, &["list.csv", "UTF-16", "CSV UTF-8"]);
    let noise: Vec<u8> = (0..90_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    refused("list.csv", noise, &["list.csv", "CSV UTF-8"]);
    refused(
        "list.csv",
        b"PK\x03\x04\x14\0\x06\0\x08\0",
        &["Excel", "CSV UTF-8"],
    );
    refused(
        "list.csv",
        b"id,kind,provider,content,output_path\n1,image,runware,ni\xf1o,a.webp\n",
        &["line 2", "UTF-8"],
    );
}

#[test]
fn nothing_in_it_is_told() {
    for (name, content) in [
        ("list.csv", ""),
        ("list.csv", "\u{feff}\n"),
        ("list.jsonl", ""),
        ("list.csv", "\n\n\n"),
    ] {
        refused(name, content, &[name, "empty"]);
    }
    refused("list.csv", HEADER, &["there are no rows"]);
    refused(
        "list.csv",
        "id,kind\n1,image\n",
        &["provider", "content", "output_path", "--recipe"],
    );
}

#[test]
fn a_list_that_is_not_there_or_no_file() {
    let desk = Desk::with_sim();
    desk.make("none.csv").ended(2).said(&["none.csv"]);
    desk.make("config").ended(2).said(&["not a file"]);
    assert!(
        std::process::Command::new("mkfifo")
            .arg(desk.path("pipe.csv"))
            .status()
            .unwrap()
            .success()
    );
    desk.make("pipe.csv").ended(2).said(&["pipe.csv", "not a file"]);
    assert!(!desk.path("out").exists());
}

#[test]
fn marks_line_ends_semicolons_and_quotes_are_understood() {
    let rows =
        "a,image,runware,\"a \"\"red\"\" hat, big\nand two lines\",a.webp\nb,image,runware,a cap,b.webp\n";
    works(
        "list.csv",
        format!("\u{feff}{HEADER}{rows}"),
        &["a.webp", "b.webp"],
    );
    works(
        "list.csv",
        format!("{HEADER}{rows}").replace('\n', "\r\n"),
        &["a.webp", "b.webp"],
    );
    let semicolons = "id;kind;provider;content;output_path\r\na;image;runware;a hat, red;a.webp\r\n";
    works("list.csv", format!("\u{feff}{semicolons}"), &["a.webp"]);
    works("list.tsv", semicolons.replace(';', "\t"), &["a.webp"]);
    works(
        "list.csv",
        "id,kind,provider,content,output_path\na,image,runware,a hat,a.webp",
        &["a.webp"],
    );
}

#[test]
fn huge_cells_are_told_and_do_no_harm() {
    let big = "a".repeat((1 << 20) + 1);
    let ran = refused(
        "list.csv",
        format!("{HEADER}a,image,runware,{big},a.webp\nb,image,runware,ok,b.webp\n"),
        &["line 2", "1 MiB"],
    );
    assert!(
        ran.stderr.len() < 4000,
        "the cell is not shown whole: {} bytes",
        ran.stderr.len()
    );
    // One that fits a cell and no prompt.
    let big = "a".repeat(1 << 20);
    let ran = refused(
        "list.csv",
        format!("{HEADER}a,image,openai,{big},a.webp\n"),
        &["line 2", "32000"],
    );
    assert!(
        ran.stderr.len() < 4000,
        "the cell is not shown whole: {} bytes",
        ran.stderr.len()
    );
    let ran = refused(
        "list.csv",
        format!("{HEADER}a,image,runware,ok,{big}.webp\n"),
        &["line 2"],
    );
    assert!(
        ran.stderr.len() < 4000,
        "the cell is not shown whole: {} bytes",
        ran.stderr.len()
    );
    let ran = refused(
        "list.csv",
        format!("{HEADER}{big},image,runware,ok,a.webp\n"),
        &["line 2"],
    );
    assert!(
        ran.stderr.len() < 4000,
        "the cell is not shown whole: {} bytes",
        ran.stderr.len()
    );
}

#[test]
fn duplicates_name_both_lines() {
    let twice = jobs(&[
        ("a", "runware", "a hat", "a.webp"),
        ("a", "runware", "a cap", "b.webp"),
    ]);
    refused("list.jsonl", twice, &["line 2", "line 1"]);
    let twice = jobs(&[
        ("a", "runware", "a hat", "x.webp"),
        ("b", "runware", "a cap", "x.webp"),
    ]);
    refused("list.jsonl", twice, &["line 2", "line 1", "x.webp"]);
    let case = jobs(&[
        ("a", "runware", "a hat", "x.webp"),
        ("b", "runware", "a hat", "X.webp"),
    ]);
    refused("list.jsonl", case, &["line 2", "line 1", "upper and lower case"]);
    let composed = jobs(&[
        ("a", "runware", "a hat", "ni\u{f1}o.webp"),
        ("b", "runware", "a hat", "nin\u{303}o.webp"),
    ]);
    refused("list.jsonl", composed, &["line 2"]);
    let folder = jobs(&[
        ("a", "runware", "a hat", "x.webp"),
        ("b", "runware", "a cap", "x.webp/y.webp"),
    ]);
    refused("list.jsonl", folder, &["line 2", "line 1"]);
}

/// All of these paths are refused, each on its line.
#[track_caller]
fn paths_refused(paths: &[&str]) {
    let rows: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(n, path)| (format!("id{n}"), "runware", "a hat", *path))
        .collect();
    let ran = refused("list.jsonl", jobs(&rows).replace("audio", "image"), &[]);
    for (n, path) in paths.iter().enumerate() {
        assert!(
            ran.stderr.contains(&format!("line {},", n + 1)),
            "{path:?} was let through: {}",
            ran.stderr
        );
    }
}

#[test]
fn no_path_leaves_the_folder() {
    paths_refused(&[
        "../a.webp",
        "a/../../b.webp",
        "/tmp/a.webp",
        "C:/a.webp",
        "C:a.webp",
        "..\\a.webp",
        "a\\b.webp",
        "./c.webp",
        "a//d.webp",
        "~/../a.webp/",
        "\\\\server\\share\\a.webp",
        "a/./e.webp",
        "..",
    ]);
    // The folder's own place, however it is written.
    paths_refused(&[
        ".media/a.webp",
        ".MEDIA/staging/b.webp",
        ".media/rejected/c.png",
        ".media/staging/.media-x.png",
    ]);
}

#[test]
fn names_that_windows_does_not_allow() {
    paths_refused(&[
        "con.webp",
        "CON.png",
        "aux/a.webp",
        "lpt1.webp",
        "a:b.webp",
        "a?.webp",
        "a*.webp",
        "a|b.webp",
        "a<b>.webp",
        "a\"b.webp",
        "folder./a.webp",
        "folder /a.webp",
        "a\tb.webp",
        "com\u{b9}.webp",
        "nul.tar.webp",
        "a\u{1}.webp",
    ]);
}

#[test]
fn formats_that_cannot_be_made_are_refused_before_anything_is_sent() {
    for (provider, path) in [
        ("runware", "a.gif"),
        ("openai", "a.bmp"),
        ("forvo", "a.wav"),
        ("openai", "a"),
        ("runware", "a.webp.exe"),
        ("openai", "a.aac"),
    ] {
        refused("list.jsonl", jobs(&[("a", provider, "a hat", path)]), &["line 1"]);
    }
}

#[test]
fn bad_cells_are_all_told_at_once() {
    let text = format!(
        "{}1,video,runware,x,a.webp,\n2,image,nobody,x,b.webp,\n3,image,runware,,c.webp,\n4,image,runware,x,d.webp,wide\n",
        "id,kind,provider,content,output_path,params.runware.width\n"
    );
    let ran = refused(
        "list.csv",
        text,
        &[
            "line 2", "video", "line 3", "nobody", "line 4", "content", "line 5", "wide",
        ],
    );
    assert!(
        ran.stderr.contains("4 rows or files") || ran.stderr.contains("4 "),
        "{ran:#?}"
    );
    refused(
        "list.csv",
        format!("{}1,image,runware,x,a.webp,5\n", HEADER.replace('\n', ",color\n")),
        &["color"],
    );
    let unknown = jobs(&[("a", "runware", "a hat", "a.webp")]).replace("\"width\"", "\"wdith\"");
    refused("list.jsonl", unknown, &["line 1", "wdith"]);
    let step = jobs(&[("a", "runware", "a hat", "a.webp")]).replace("256", "100");
    refused("list.jsonl", step, &["line 1", "100"]);
    refused("list.jsonl", "{\"id\":1,}\n[2]\n", &["line 1", "line 2"]);
}

#[test]
fn recipes_that_cannot_be_used() {
    let cases = [
        ("{", vec!["recipe.json"]),
        ("[]", vec!["recipe.json"]),
        ("{\"outputs\":{}}", vec!["recipe.json"]),
        (
            "{\"outputs\":{\"p\":{\"kind\":\"image\",\"provider\":\"runware\",\"content\":\"{nope}\",\"path\":\"{id}.webp\"}}}",
            vec!["nope"],
        ),
        ("{\"output\":{}}", vec!["output"]),
        (
            "{\"outputs\":{\"p\":{\"kind\":\"image\",\"provider\":\"runware\",\"content\":\"{word}\",\"path\":\"../{id}.webp\"}}}",
            vec![".."],
        ),
        (
            "{\"needs\":[\"gone\"],\"outputs\":{\"p\":{\"kind\":\"image\",\"provider\":\"runware\",\"content\":\"{word}\",\"path\":\"{id}.webp\"}}}",
            vec!["gone"],
        ),
    ];
    for (text, parts) in cases {
        let desk = Desk::with_sim();
        desk.file("list.csv", "id,word\n1,perro\n");
        desk.file("recipe.json", text);
        let ran = desk
            .run(&["run", "list.csv", "--recipe", "recipe.json", "--out", "out"])
            .ended(2)
            .said(&parts);
        assert!(
            desk.sim().calls().is_empty() && !desk.path("out").exists(),
            "{ran:#?}"
        );
    }
    let desk = Desk::with_sim();
    desk.file("list.csv", "id,word\n1,perro\n");
    desk.run(&["run", "list.csv", "--recipe", "none.json"])
        .ended(2)
        .said(&["none.json"]);
}

#[test]
fn a_template_cannot_be_used_to_leave_the_folder() {
    let desk = Desk::with_sim();
    let path = |path: &str| {
        format!(
            r#"{{"outputs":{{"p":{{"kind":"image","provider":"runware","content":"{{word}}","path":"{path}",
            "params":{{"runware":{{"width":128,"height":128}}}}}}}}}}"#
        )
    };
    desk.file("list.csv", "id,word\n../../up,perro\n");
    desk.file("recipe.json", path("{id}.webp"));
    let args = [
        "run",
        "list.csv",
        "--recipe",
        "recipe.json",
        "--out",
        "out",
        "--json",
    ];
    desk.run(&args).ended(2).said(&["line 2"]);
    assert_eq!(desk.sim().calls(), []);
    desk.file("recipe.json", path("{id|file}.webp"));
    desk.run(&args).ended(0);
    assert_eq!(desk.outputs("out").len(), 1);
    assert!(!desk.outputs("out")[0].contains('/'));
}

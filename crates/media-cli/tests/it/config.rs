//! Configuration: what is wrong with it is named by file and key, before anything is done.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Desk, jobs};

fn list(desk: &Desk) {
    desk.file("list.jsonl", jobs(&[("a", "runware", "a hat", "a.webp")]));
}

/// Changes the shipped file of a provider, then expects every command to refuse it with these words.
#[track_caller]
fn refused(file: &str, change: impl FnOnce(&mut Value), parts: &[&str]) {
    let mut desk = Desk::with_sim();
    // What a variable lays over it would hide what the file says.
    for key in ["limits", "retry", "delivery"] {
        desk.unset(&format!("MEDIA_CONFIG__runware__{key}"));
    }
    desk.unset("MEDIA_CONFIG__openai__base_url");
    let mut value: Value = serde_json::from_str(&desk.read(file)).unwrap();
    change(&mut value);
    desk.file(file, value.to_string());
    list(&desk);
    let name = file.rsplit('/').next().unwrap();
    desk.make("list.jsonl").ended(2).said(parts).said(&[name]);
    desk.run(&["config", "show"]).ended(2).said(parts);
    desk.run(&["check"]).ended(2).said(parts);
    desk.run(&["plan", "list.jsonl"]).ended(2).said(parts);
    desk.run(&["run", "list.jsonl", "--simulate"])
        .ended(2)
        .said(parts);
    assert_eq!(desk.sim().calls(), []);
    assert!(!desk.path("out").exists());
}

#[test]
fn unknown_keys_and_wrong_types_are_named() {
    let runware = "config/providers/runware.json";
    refused(runware, |v| v["image"]["widht"] = json!(5), &["widht"]);
    refused(runware, |v| v["surprise"] = json!(true), &["surprise"]);
    refused(runware, |v| v["image"]["width"] = json!("wide"), &["width"]);
    refused(
        runware,
        |v| v["limits"]["concurrency"] = json!(-1),
        &["concurrency"],
    );
    refused(
        runware,
        |v| v["limits"]["concurrency"] = json!(0),
        &["concurrency"],
    );
    refused(runware, |v| v["timeouts"]["idle"] = json!(30), &["idle"]);
    refused(
        runware,
        |v| v["timeouts"]["idle"] = json!("30 parsecs"),
        &["idle"],
    );
    // Who writes 0 for "no limit" would give up what is sent at once, and perhaps pay for it.
    for timeout in ["connect", "first_byte", "idle", "total"] {
        refused(
            runware,
            |v| v["timeouts"][timeout] = json!("0s"),
            &[timeout, "more than nothing"],
        );
    }
    // A connection that is still being made when these are over would be taken for a call that may be billed.
    for timeout in ["first_byte", "total"] {
        refused(
            runware,
            |v| v["timeouts"][timeout] = json!("10s"),
            &[timeout, "longer than timeouts.connect (10s)"],
        );
    }
    refused(
        runware,
        |v| drop(v.as_object_mut().unwrap().remove("retry")),
        &["retry"],
    );
    refused(
        runware,
        |v| drop(v.as_object_mut().unwrap().remove("type")),
        &["type"],
    );
    refused(
        "config/providers/openai.json",
        |v| v["speech"]["speed"] = json!("fast"),
        &["speed"],
    );
    refused(
        "config/providers/openai.json",
        |v| v["image"]["output_compression"] = json!(101),
        &["image.output_compression is not within image.compression_range"],
    );
    refused(
        "config/providers/openai.json",
        |v| v["image"]["formats"] = json!([5]),
        &["image.formats", "text, one of the names", "found 5"],
    );
    refused(
        "config/providers/openai.json",
        |v| v["base_url"] = json!("api.openai.com"),
        &["base_url", "a whole address, such as https://example.com"],
    );
    refused(
        runware,
        |v| v["retry"]["attempts"] = json!(0),
        &["retry.attempts", "1 is the least"],
    );
    refused(
        "config/providers/forvo.json",
        |v| v["website"] = json!("mailto:info@forvo.com"),
        &["website", "an http or https address"],
    );
    refused(
        "config/providers/forvo.json",
        |v| v["website"] = json!("https://me:secret@forvo.com"),
        &["website", "user name or password"],
    );
    refused(
        "config/providers/forvo.json",
        |v| v["accents"] = json!(["MX"]),
        &["accents"],
    );
    refused(
        "config/media.json",
        |v| v["sizes"]["media"] = json!(5.5),
        &["media"],
    );
    refused(
        "config/media.json",
        |v| v["check"] = json!("somewhat"),
        &["check"],
    );
    refused("config/media.json", |v| v["chekc"] = json!("full"), &["chekc"]);
    refused(
        "config/media.json",
        |v| drop(v.as_object_mut().unwrap().remove("out")),
        &["out"],
    );
}

#[test]
fn files_that_are_no_json_or_not_there() {
    let cases: [(&str, Option<&[u8]>, &str); 6] = [
        ("config/media.json", None, "media.json"),
        ("config/media.json", Some(b"{"), "not JSON"),
        ("config/media.json", Some(b"[]"), "object"),
        ("config/providers/openai.json", Some(b""), "openai.json"),
        (
            "config/providers/openai.json",
            Some(b"\xff\xfe{\0}\0"),
            "openai.json",
        ),
        ("config/providers/My Own.json", Some(b"{}"), "lower-case"),
    ];
    for (file, content, part) in cases {
        let desk = Desk::with_sim();
        list(&desk);
        match content {
            Some(content) => drop(desk.file(file, content)),
            None => fs::remove_file(desk.path(file)).unwrap(),
        }
        desk.make("list.jsonl").ended(2).said(&[part]);
        assert_eq!(desk.sim().calls(), []);
        assert!(!desk.path("out").exists());
    }
    let desk = Desk::with_sim();
    list(&desk);
    fs::remove_dir_all(desk.path("config")).unwrap();
    desk.make("list.jsonl").ended(2).said(&["config", "media init"]);
    desk.run(&["run", "list.jsonl", "--config", "nowhere"])
        .ended(2)
        .said(&["nowhere", "--config"]);
}

#[test]
fn a_mark_at_the_start_is_no_fault() {
    let desk = Desk::with_sim();
    list(&desk);
    let text = desk.read("config/media.json");
    desk.file("config/media.json", format!("\u{feff}{text}"));
    desk.make("list.jsonl").ended(0);
}

#[test]
fn variables_of_others_are_left_alone_and_ours_are_checked() {
    let mut desk = Desk::with_sim();
    list(&desk);
    for (name, value) in [
        ("MEDIA_ROOT", "/srv/django/media"),
        ("MEDIA_URL", "/media/"),
        ("MEDIA", "1"),
        ("MEDIA_OUT", "/"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:9"),
        ("HTTP_PROXY", ""),
        ("RUST_LOG", "trace"),
        ("MEDIA_CONFIGURE__x", "y"),
        ("PROFILE", "x"),
        ("FIGMENT_PROFILE", "x"),
    ] {
        desk.set(name, value);
    }
    desk.make("list.jsonl").ended(0);
    for (name, value, part) in [
        ("MEDIA_CONFIG__runware__image__widht", "5", "widht"),
        (
            "MEDIA_CONFIG__runware__image__width",
            "wide",
            "MEDIA_CONFIG__runware__image__width",
        ),
        ("MEDIA_CONFIG__nobody__image__width", "5", "nobody"),
        ("MEDIA_CONFIG__runware", "5", "names no key"),
        ("MEDIA_CONFIG__runware__", "5", "names no key"),
        (
            "MEDIA_CONFIG__media__check",
            "somewhat",
            "MEDIA_CONFIG__media__check",
        ),
    ] {
        desk.set(name, value);
        desk.run(&["run", "list.jsonl", "--out", "other"])
            .ended(2)
            .said(&[part]);
        assert!(!desk.path("other").exists());
        desk.unset(name);
    }
    desk.set("MEDIA_CONFIG_DIR", "elsewhere");
    desk.run(&["run", "list.jsonl", "--out", "other"])
        .ended(2)
        .said(&["elsewhere", "MEDIA_CONFIG_DIR"]);
    // The flag is nearer than the variable.
    desk.run(&["run", "list.jsonl", "--out", "other", "--config", "config"])
        .ended(0);
}

#[test]
fn layers_win_in_order_and_objects_merge() {
    let mut desk = Desk::new();
    desk.set("MEDIA_CONFIG__runware__image__width", "640");
    desk.set("MEDIA_CONFIG__runware__speech__voice", "007");
    desk.set("MEDIA_CONFIG__media__out", "elsewhere");
    let ran = desk
        .run(&["config", "show"])
        .ended(0)
        .said(&["runware image.width: from MEDIA_CONFIG__runware__image__width"]);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["providers"]["runware"]["image"]["width"], 640);
    assert_eq!(shown["providers"]["runware"]["image"]["height"], 1024);
    assert_eq!(shown["media"]["out"], "elsewhere");
    desk.set("MEDIA_CONFIG__runware__speech__voice", "\"007\"");
    let ran = desk.run(&["config", "show"]).ended(0);
    assert!(ran.stdout.contains("\"007\""));
}

#[test]
fn an_instance_of_ones_own() {
    let mut desk = Desk::with_sim();
    let text = desk.read("config/providers/runware.json");
    desk.file(
        "config/providers/cheap-one.json",
        text.replace("RUNWARE_API_KEY", "CHEAP_KEY"),
    );
    let url = format!("{}/runware/v1", desk.sim().url());
    desk.set("MEDIA_CONFIG__cheap_one__base_url", &url);
    desk.set("MEDIA_CONFIG__cheap_one__delivery__first_poll", "10ms");
    desk.file("list.jsonl", jobs(&[("a", "cheap-one", "a hat", "a.webp")]));
    desk.make("list.jsonl")
        .ended(2)
        .said(&["cheap-one needs its key", "CHEAP_KEY"]);
    desk.set("CHEAP_KEY", "sim-runware");
    assert_eq!(
        desk.make("list.jsonl").ended(0).line("a")["provider"],
        "cheap-one"
    );
    // It can be simulated as well.
    desk.run(&["run", "list.jsonl", "--simulate", "--out", "demo"])
        .ended(0);
    desk.assert_bill_is(1);
}

#[test]
fn a_server_without_keys() {
    let mut desk = Desk::with_sim();
    let mut value: Value = serde_json::from_str(&desk.read("config/providers/openai.json")).unwrap();
    value["api_key_env"] = Value::Null;
    value["image"]["dialect"] = json!("dall-e");
    value["image"]["model"] = json!("local-image");
    desk.file("config/providers/local.json", value.to_string());
    let url = format!("{}/openai-compat/v1", desk.sim().url());
    desk.set("MEDIA_CONFIG__local__base_url", &url);
    for name in ["OPENAI_API_KEY", "RUNWARE_API_KEY", "FORVO_API_KEY"] {
        desk.unset(name);
    }
    desk.file("list.jsonl", jobs(&[("a", "local", "a hat", "a.png")]));
    desk.make("list.jsonl").ended(0);
    desk.assert_clean("out");
    desk.assert_bill_is(1);
}

#[test]
fn a_provider_that_is_not_built_in() {
    let desk = Desk::with_sim();
    desk.file(
        "config/providers/own.json",
        "{\"type\":\"acme\",\"api_key_env\":null}",
    );
    list(&desk);
    // Of no matter to a list that does not use it.
    desk.make("list.jsonl").ended(0);
    desk.file("list.jsonl", jobs(&[("a", "own", "a hat", "a.webp")]));
    desk.run(&["run", "list.jsonl", "--out", "other"])
        .ended(2)
        .said(&["own.json: there is no provider \"acme\""]);
    assert!(!desk.path("other").exists());
}

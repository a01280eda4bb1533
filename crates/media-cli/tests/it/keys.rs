//! Keys: asked for only where needed, before anything is done, and never seen again.

use std::fs;

use media_sim::{OpenAiKey, RunwareKey, Scenario};
use serde_json::json;

use crate::support::{Desk, KEYS, files, jobs};

fn list() -> String {
    jobs(&[
        ("p", "openai", "a hat", "p.webp"),
        ("q", "runware", "a cap", "q.webp"),
        ("s", "forvo", "gato", "s.mp3"),
    ])
}

#[test]
fn every_missing_key_that_the_list_needs_is_named_before_any_work() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", list());
    for (name, _) in KEYS {
        desk.unset(name);
    }
    let ran = desk
        .make("list.jsonl")
        .ended(2)
        .said(&["OPENAI_API_KEY", "RUNWARE_API_KEY", "FORVO_API_KEY"]);
    let sentences = ran
        .stderr
        .lines()
        .filter(|line| line.contains("needs its key"))
        .count();
    assert_eq!((sentences, ran.stdout.as_str()), (3, ""), "{ran:#?}");
    assert!(!desk.path("out").exists());
    // Set but empty is missing too.
    desk.set("OPENAI_API_KEY", "  ");
    desk.set("RUNWARE_API_KEY", "sim-runware");
    let ran = desk
        .make("list.jsonl")
        .ended(2)
        .said(&["OPENAI_API_KEY", "FORVO_API_KEY"]);
    assert!(!ran.stderr.contains("RUNWARE_API_KEY"), "{ran:#?}");
    assert_eq!(desk.sim().calls(), []);
    // Only what the list uses is needed.
    desk.file("list.jsonl", jobs(&[("q", "runware", "a cap", "q.webp")]));
    desk.make("list.jsonl").ended(0);
}

#[test]
fn plans_and_simulations_need_none() {
    let desk = Desk::new();
    desk.file("list.jsonl", list());
    desk.run(&["plan", "list.jsonl"]).ended(0);
    desk.run(&["providers"]).ended(0);
    desk.run(&["config", "show"]).ended(0);
    desk.run(&["run", "list.jsonl", "--simulate", "--out", "demo"])
        .ended(0);
}

#[test]
fn a_file_of_keys() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", list());
    for (name, _) in KEYS {
        desk.unset(name);
    }
    let text = "# keys\n\nexport OPENAI_API_KEY=\"sim-openai\"\nRUNWARE_API_KEY = sim-runware\r\nFORVO_API_KEY='sim-forvo'\n";
    desk.file("keys.env", text);
    desk.run(&["run", "list.jsonl", "--out", "out", "--env-file", "keys.env"])
        .ended(0);
    // The way Notepad saves it.
    desk.file(
        "keys.env",
        format!("\u{feff}{}", text.replace("# keys\n\nexport ", "")).replace('\n', "\r\n"),
    );
    desk.run(&["run", "list.jsonl", "--out", "o2", "--env-file", "keys.env"])
        .ended(0);
    // The environment is nearer.
    desk.file("wrong.env", text.replace("sim-", "wrong-"));
    for (name, key) in KEYS {
        desk.set(name, key);
    }
    desk.run(&["run", "list.jsonl", "--out", "o3", "--env-file", "wrong.env"])
        .ended(0);
    // What is no line of it is named by number, and not shown.
    desk.file("bad.env", "A=1\nsk-half-a-key-that-lost-its-name\n");
    let ran = desk
        .run(&["run", "list.jsonl", "--env-file", "bad.env"])
        .ended(2)
        .said(&["bad.env", "line 2"]);
    assert!(!ran.stderr.contains("half-a-key"), "{ran:#?}");
    desk.run(&["run", "list.jsonl", "--env-file", "none.env"])
        .ended(2)
        .said(&["none.env"]);
    desk.file("binary.env", b"A=\xff\xfe\x00");
    desk.run(&["run", "list.jsonl", "--env-file", "binary.env"])
        .ended(2)
        .said(&["binary.env"]);
}

/// Keys like real ones, in a scenario that takes them.
fn long_keys() -> ([(&'static str, &'static str); 3], Scenario) {
    let keys = [
        ("OPENAI_API_KEY", "sk-proj-Zq8w7vYx6t5Rr4Ee3-Ww2Qq1_LONG"),
        // Nothing but digits: what a configuration library would take for a number.
        ("RUNWARE_API_KEY", "98765432109876543210"),
        ("FORVO_API_KEY", "0123456789abcdef0123456789abcdef"),
    ];
    let mut scenario = Scenario::instant();
    scenario.openai.keys = vec![OpenAiKey::new(keys[0].1, Vec::new())];
    let mut runware: RunwareKey = scenario.runware.keys[0].clone();
    runware.key = keys[1].1.to_owned();
    scenario.runware.keys = vec![runware];
    scenario.forvo.keys[0].key = keys[2].1.to_owned();
    (keys, scenario)
}

/// Nothing that the program said or wrote holds one of the keys.
#[track_caller]
fn assert_unseen(desk: &Desk, keys: &[(&str, &str)], said: &[&crate::support::Ran]) {
    for (_, key) in keys {
        for ran in said {
            assert!(
                !ran.stdout.contains(key) && !ran.stderr.contains(key),
                "{key} is shown: {ran:#?}"
            );
        }
        for path in files(&desk.path("")) {
            let bytes = fs::read(&path).unwrap();
            let holds = bytes.windows(key.len()).any(|part| part == key.as_bytes());
            assert!(!holds, "{key} is in {}", path.display());
        }
    }
}

#[test]
fn keys_are_in_no_output_log_or_file() {
    let (keys, scenario) = long_keys();
    let mut desk = Desk::with(scenario);
    for (name, key) in keys {
        desk.set(name, key);
    }
    desk.file("list.jsonl", list());
    let good = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "out",
            "--json",
            "-vv",
            "--log",
            "run.log",
        ])
        .ended(0);
    let check = desk.run(&["check", "-vv", "--log", "check.log"]).ended(0);
    let show = desk.run(&["config", "show"]).ended(0);
    let providers = desk.run(&["providers", "--json"]).ended(0);
    // Refused, unreachable, misconfigured.
    for (name, key) in keys {
        desk.set(name, &format!("{key}x"));
    }
    let wrong = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "o2",
            "--json",
            "-vv",
            "--log",
            "wrong.log",
        ])
        .ended(3);
    let denied = desk.run(&["check", "-vv", "--log", "denied.log"]).ended(3);
    for provider in ["openai", "runware", "forvo"] {
        desk.configure(provider, "base_url", &json!("http://127.0.0.1:9/x"));
    }
    let gone = desk
        .run(&[
            "run",
            "list.jsonl",
            "--out",
            "o3",
            "--json",
            "-vv",
            "--log",
            "gone.log",
        ])
        .ended(1);
    let unreachable = desk.run(&["check", "-vv"]);
    for provider in ["openai", "runware", "forvo"] {
        desk.configure(provider, "base_url", &json!("not a url"));
    }
    let bad = desk.run(&["run", "list.jsonl", "--out", "o4", "-vv"]).ended(2);
    assert_unseen(
        &desk,
        &keys,
        &[
            &good,
            &check,
            &show,
            &providers,
            &wrong,
            &denied,
            &gone,
            &unreachable,
            &bad,
        ],
    );
    // A log that says nothing proves nothing.
    assert!(
        good.stderr.len() > 1000 && desk.read("run.log").len() > 1000,
        "{good:#?}"
    );
}

#[test]
fn keys_that_cannot_be_sent_are_refused_unseen() {
    for key in [
        "sim\nopenai-secret-part",
        "sim-öpenai-secret-part",
        "sim\u{7f}openai-secret-part",
    ] {
        let mut desk = Desk::with_sim();
        desk.file(
            "list.jsonl",
            jobs(&[
                ("p", "openai", "a hat", "p.webp"),
                ("q", "openai", "a cap", "q.webp"),
            ]),
        );
        desk.set("OPENAI_API_KEY", key);
        let ran = desk.run(&["run", "list.jsonl", "--out", "out", "--json", "-vv"]);
        assert!(matches!(ran.code, Some(2 | 3)), "{ran:#?}");
        assert!(
            !ran.stderr.contains("secret-part") && !ran.stdout.contains("secret-part"),
            "{ran:#?}"
        );
        desk.assert_bill_is(0);
    }
    for key in [
        "a/b-secret-part",
        "../secret-part",
        "a?b#secret-part",
        "a b secret-part",
        "%2fsecret-part",
    ] {
        let mut desk = Desk::with_sim();
        desk.file("list.jsonl", jobs(&[("s", "forvo", "gato", "s.mp3")]));
        desk.set("FORVO_API_KEY", key);
        let ran = desk.run(&["run", "list.jsonl", "--out", "out", "--json", "-vv"]);
        assert!(
            !ran.stderr.contains("secret-part") && !ran.stdout.contains("secret-part"),
            "{ran:#?}"
        );
        // The simulator knows no such address; whether that is the key's fault cannot be told.
        assert!(matches!(ran.code, Some(1..=3)), "{key:?}: {ran:#?}");
        assert!(
            desk.sim()
                .calls()
                .iter()
                .all(|call| call.path.starts_with("/forvo/key/")),
            "{key:?} led elsewhere"
        );
    }
}

#[test]
fn a_key_that_was_put_into_the_configuration_is_not_shown() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", list());
    // The mistake that everybody makes once.
    desk.configure("openai", "api_key", &json!("sk-proj-a-secret-part"));
    let ran = desk.make("list.jsonl").ended(2).said(&["api_key"]);
    assert!(!ran.stderr.contains("secret-part"), "{ran:#?}");
    desk.unset("MEDIA_CONFIG__openai__api_key");
    // Some keys look like the name of a variable.
    for key in ["sk-proj-a-secret-part", "secretsecretPART1234567890abcdef"] {
        desk.configure("openai", "api_key_env", &json!(key));
        let ran = desk.make("list.jsonl").ended(2).said(&["api_key_env"]);
        assert!(!ran.stderr.contains("secret"), "{ran:#?}");
    }
}

#[test]
fn a_refused_key_stops_its_provider_and_no_other() {
    let mut desk = Desk::with_sim();
    let rows: Vec<_> = (0..12)
        .map(|n| {
            (
                format!("p{n}"),
                "openai",
                format!("picture {n}"),
                format!("p{n}.webp"),
            )
        })
        .collect();
    let mut text = jobs(&rows);
    text.push_str(&jobs(&[
        ("q", "runware", "a cap", "q.webp"),
        ("s", "forvo", "gato", "s.mp3"),
    ]));
    desk.file("list.jsonl", text);
    desk.set("OPENAI_API_KEY", "sim-wrong");
    let ran = desk
        .make("list.jsonl")
        .ended(3)
        .said(&["openai", "authentication"]);
    assert_eq!(
        (ran.count("done"), ran.count("failed"), ran.count("cancelled")),
        (2, 1, 11)
    );
    let asked = desk
        .sim()
        .calls()
        .iter()
        .filter(|call| call.provider == "openai")
        .count();
    assert_eq!(asked, 1, "one refusal, not a lane full");
    desk.set("OPENAI_API_KEY", "sim-openai");
    let again = desk.make("list.jsonl").ended(0);
    assert_eq!((again.count("skipped"), again.count("done")), (2, 12));
    desk.assert_bill_is(13);
}

/// A proxy of the environment would read the key that goes to a server of one's own, and stand between a simulated run and
/// its simulator.
#[test]
fn plain_http_goes_through_no_proxy() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", jobs(&[("a", "openai", "a hat", "a.png")]));
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        desk.set(name, &address);
    }
    desk.make("list.jsonl").ended(0);
    desk.run(&["run", "list.jsonl", "--out", "play", "--simulate"])
        .ended(0);
    assert!(proxy.accept().is_err(), "somebody asked it");
}

//! Forvo: paths, words, filters, quota, links, and the shapes of its errors.

use media_sim::{ForvoKey, ForvoNotFound};
use serde_json::{Value, json};

use crate::check::{Bench, audible, bytes, json};

fn lookup(word: &str) -> String {
    format!("action/word-pronunciations/word/{word}/language/es")
}

fn originals(answer: &Value) -> Vec<&str> {
    let mut all: Vec<_> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["original"].as_str().unwrap())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn a_word_has_recordings_whose_links_sound() {
    let bench = Bench::new().await;
    let response = bench.forvo(&lookup("perro")).send().await.unwrap();
    let text = response.text().await.unwrap();
    assert!(text.contains(r"http:\/\/127.0.0.1"), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let items = answer["items"].as_array().unwrap();
    assert!((2..=5).contains(&items.len()));
    assert_eq!(answer["attributes"]["total"], items.len());
    for item in items {
        assert_eq!(
            (&item["word"], &item["code"], &item["langname"]),
            (&json!("perro"), &json!("es"), &json!("Spanish"))
        );
        let votes = (
            item["num_votes"].as_i64().unwrap(),
            item["num_positive_votes"].as_i64().unwrap(),
        );
        assert_eq!(item["rate"].as_i64().unwrap(), 2 * votes.1 - votes.0);
    }
    let (status, kind, mp3) = bytes(bench.get(items[0]["pathmp3"].as_str().unwrap())).await;
    assert_eq!((status, kind.as_str()), (200, "audio/mpeg"));
    let long = audible(&mp3, "mp3");
    let (status, kind, ogg) = bytes(bench.get(items[0]["pathogg"].as_str().unwrap())).await;
    assert_eq!((status, kind.as_str()), (200, "audio/ogg"));
    assert!((audible(&ogg, "ogg") - long).abs() < 0.1);
    let (_, _, other) = bytes(bench.get(items[1]["pathmp3"].as_str().unwrap())).await;
    assert_ne!(mp3, other);
    assert_eq!(bench.sim.bill().quotas[0].used, 4);
}

#[tokio::test]
async fn accents_do_not_count_and_near_matches_come_too() {
    let bench = Bench::new().await;
    for (word, expected) in [
        ("papá", vec!["papa", "papá"]),
        ("esta", vec!["esta", "está"]),
        ("s%C3%A1bana", vec!["sabana"]),
        ("Ano", vec!["ano", "año"]),
        ("ni%C3%B1o%20azul", vec!["niño azul"]),
        ("ni%C3%B1o_azul", vec!["niño azul"]),
    ] {
        let (status, answer) = json(bench.forvo(&lookup(word))).await;
        assert_eq!((status, originals(&answer)), (200, expected), "{word}");
    }
    let (_, answer) = json(bench.forvo("action/word-pronunciations/word/คล่อง/language/th")).await;
    assert_eq!(originals(&answer), ["คลอง"]);
    let (_, answer) = json(bench.forvo(&lookup("el+perro"))).await;
    assert_eq!(answer["items"], json!([]));
}

#[tokio::test]
async fn filters_narrow_and_orders_sort() {
    let bench = Bench::new().await;
    let get = |rest: &str| json(bench.forvo(&format!("{}/{rest}", lookup("papa"))));
    let (_, all) = get("order/rate-desc/").await;
    let rates: Vec<i64> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["rate"].as_i64().unwrap())
        .collect();
    assert!(rates.is_sorted_by(|a, b| a >= b));
    let (_, best) = get("order/rate-desc/limit/1").await;
    assert_eq!(
        (&best["attributes"]["total"], &best["items"][0]["id"]),
        (&json!(1), &all["items"][0]["id"])
    );
    let least = rates[1];
    let (_, liked) = get(&format!("rate/{least}")).await;
    assert!(
        liked["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["rate"].as_i64().unwrap() >= least)
    );
    for (name, field) in [("sex", "sex"), ("username", "username")] {
        let wanted = all["items"][0][field].as_str().unwrap();
        let (_, some) = get(&format!("{name}/{wanted}")).await;
        let some = some["items"].as_array().unwrap().clone();
        assert!(!some.is_empty() && some.iter().all(|item| item[field] == wanted));
    }
    let (_, mexican) = get("country/mex").await;
    assert!(
        mexican["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["country"] == "Mexico")
    );
    let (status, answer) = json(bench.forvo(&format!("{}/group-in-languages/false", lookup("papa")))).await;
    assert_eq!(
        (status, answer["items"].as_array().unwrap().len()),
        (200, rates.len())
    );
}

#[tokio::test]
async fn wrong_values_are_statements() {
    let bench = Bench::new().await;
    for rest in [
        "action/word-pronunciations/word/a/country/MX",
        "action/word-pronunciations/word/a/language/es-MX",
        "action/word-pronunciations/word/a/language/id",
        "action/word-pronunciations/word/a/sex/x",
        "action/word-pronunciations/word/a/order/best",
        "action/word-pronunciations/word/a/limit/0",
        "action/word-pronunciations/word/a/pagesize/10",
        "action/word-pronunciations/language/es",
        "action/word-pronunciations/word/and/or/x/language/es",
        "action/words-search/search/a",
        "word/a",
    ] {
        let (status, answer) = json(bench.forvo(rest)).await;
        let text = answer[0].as_str().unwrap_or_default();
        assert!(
            status == 400 && text.starts_with("Invalid value"),
            "{rest}: {status} {answer}"
        );
    }
    for rest in [
        "action/word-pronunciations/word/a%2Fb/language/es",
        "action/word-pronunciations/word/and/or/language/es",
    ] {
        assert_eq!(bytes(bench.forvo(rest)).await.0, 404);
    }
    assert_eq!(bytes(bench.forvo(&lookup(&"x".repeat(101)))).await.0, 414);
    assert_eq!(json(bench.forvo(&lookup("0"))).await, (200, json!(false)));
}

#[tokio::test]
async fn pairs_come_in_any_order() {
    let bench = Bench::new().await;
    let url = format!(
        "{}/forvo/action/word-pronunciations/format/json/word/hola/language/es/order/rate-desc/key/sim-forvo/",
        bench.sim.url()
    );
    let (status, answer) = json(bench.get(&url)).await;
    assert_eq!((status, originals(&answer)), (200, vec!["hola"]));
    assert!(
        bench.sim.calls()[0].path.ends_with("/key/KEY/"),
        "{:?}",
        bench.sim.calls()
    );
}

#[tokio::test]
async fn nothing_found_has_four_shapes() {
    for (shape, status, body) in [
        (
            ForvoNotFound::Empty,
            200,
            Some(json!({"attributes": {"total": 0}, "items": []})),
        ),
        (ForvoNotFound::False, 200, Some(json!(false))),
        (ForvoNotFound::Redirect, 302, None),
        (ForvoNotFound::Html, 403, None),
    ] {
        let bench = Bench::with(|scenario| scenario.forvo.not_found = shape).await;
        let response = bench.forvo(&lookup("ojal%C3%A1")).send().await.unwrap();
        assert_eq!(response.status(), status);
        if status == 302 {
            assert_eq!(response.headers()["location"], "https://forvo.com/404");
        }
        let text = response.text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), body);
    }
}

#[tokio::test]
async fn keys_are_known_by_body() {
    let bench = Bench::with(|scenario| {
        let mut disabled = ForvoKey::new("off", 10);
        disabled.disabled = true;
        scenario.forvo.keys.push(disabled);
    })
    .await;
    for (key, text) in [
        ("nobody", "Calling from incorrect domain."),
        ("off", "Account disabled."),
    ] {
        let url = format!(
            "{}/forvo/key/{key}/format/json/{}",
            bench.sim.url(),
            lookup("perro")
        );
        assert_eq!(json(bench.get(&url)).await, (400, json!([text])));
    }
}

#[tokio::test]
async fn the_quota_counts_lookups_and_recordings_until_22_utc() {
    let noon = 1_795_435_200_000; // 2026-11-23 12:00 UTC
    let bench = Bench::with(|scenario| {
        scenario.clock.start_unix_ms = Some(noon);
        scenario.forvo.keys = vec![ForvoKey::new("sim-forvo", 3)];
        scenario.forvo.link_ttl_s = 24 * 3600;
    })
    .await;
    let (_, answer) = json(bench.forvo(&lookup("perro"))).await;
    let link = answer["items"][0]["pathmp3"].as_str().unwrap();
    assert_eq!(bytes(bench.get(link)).await.1, "audio/mpeg");
    assert_eq!(bytes(bench.get(link)).await.1, "audio/mpeg");
    assert_eq!(
        json(bench.forvo(&lookup("gato"))).await,
        (400, json!(["Limit/day reached."]))
    );
    let (status, kind, body) = bytes(bench.get(link)).await;
    assert_eq!(
        (status, kind.as_str(), body.as_slice()),
        (200, "application/json", &br#"["Limit\/day reached."]"#[..])
    );
    let quota = &bench.sim.bill().quotas[0];
    assert_eq!((quota.used, quota.limit), (3, 3));
    bench.sim.advance(std::time::Duration::from_secs(10 * 3600));
    assert_eq!(bytes(bench.get(link)).await.1, "audio/mpeg");
}

#[tokio::test]
async fn links_die_after_two_hours_and_take_no_key() {
    let bench = Bench::new().await;
    let (_, answer) = json(bench.forvo(&lookup("perro"))).await;
    let link = answer["items"][0]["pathmp3"].as_str().unwrap();
    assert_eq!(bytes(bench.get(link).bearer_auth("sim-forvo")).await.0, 400);
    bench.sim.advance(std::time::Duration::from_secs(2 * 3600 + 1));
    let (status, kind, _) = bytes(bench.get(link)).await;
    assert!(status == 404 && kind.starts_with("text/html"));
    let (_, answer) = json(bench.forvo(&lookup("perro"))).await;
    let fresh = answer["items"][0]["pathmp3"].as_str().unwrap();
    assert_ne!(fresh, link);
    assert_eq!(bytes(bench.get(fresh)).await.0, 200);
}

#[tokio::test]
async fn the_pace_is_enforced() {
    let bench = Bench::with(|scenario| scenario.forvo.limits.requests_per_minute = 2).await;
    for expected in [200, 200, 429] {
        let response = bench.forvo(&lookup("perro")).send().await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers().contains_key("retry-after"), expected == 429);
    }
}

#[tokio::test]
async fn the_best_and_the_lists() {
    let bench = Bench::new().await;
    let (_, all) = json(bench.forvo(&lookup("perro"))).await;
    let (_, best) = json(bench.forvo("action/standard-pronunciation/word/perro/language/es")).await;
    assert_eq!(best.get("attributes"), None);
    let top = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["rate"].as_i64())
        .max()
        .unwrap();
    assert_eq!(
        (
            best["items"].as_array().unwrap().len(),
            best["items"][0]["rate"].as_i64()
        ),
        (1, top)
    );
    let (_, popular) = json(bench.forvo("action/language-popular")).await;
    assert_eq!(popular["attributes"]["total"], 10);
    let (_, some) = json(bench.forvo("action/language-popular/limit/2/order/code")).await;
    assert_eq!(
        some["items"],
        json!([{"code": "de", "en": "German"}, {"code": "en", "en": "English"}])
    );
    let (_, list) = json(bench.forvo("action/language-list")).await;
    assert_eq!(list["attributes"]["total"], 431);
}

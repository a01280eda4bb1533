//! Budgets: what they allow is made, what they do not is not sent, and the bill never passes them.

use media_sim::{Fault, FaultKind, Op, Provider, Scenario};
use serde_json::json;

use crate::support::{Desk, Ran, jobs};

/// Pictures at 0.0006 USD by the price list.
fn pictures(from: usize, count: usize) -> String {
    let rows: Vec<_> = (from..from + count)
        .map(|n| {
            (
                format!("p{n:04}"),
                "runware",
                format!("picture {n}"),
                format!("p{n:04}.webp"),
            )
        })
        .collect();
    jobs(&rows)
}

/// At a size that the price list knows.
fn square(jobs: &str) -> String {
    jobs.replace("1024x640", "1024x1024")
}

fn run(desk: &Desk, flags: &[&str]) -> Ran {
    desk.run(&[&["run", "list.jsonl", "--out", "out", "--json"], flags].concat())
}

fn billed(desk: &Desk) -> f64 {
    desk.sim().bill().total_usd
}

/// Prices that are off the list by up to half, up and down.
fn uneven() -> Scenario {
    let mut scenario = Scenario::instant();
    scenario.runware.limits.concurrency = 64;
    scenario
        .runware
        .models
        .get_mut("runware:100@1")
        .unwrap()
        .usd_spread = 0.5;
    scenario
}

#[test]
fn over_the_cap_nothing_is_sent_and_how_many_would_fit_is_said() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", pictures(0, 10));
    let flags: [&[&str]; 2] = [&["--max-cost", "0.0035"], &["--max-run-cost", "0.0035"]];
    for flags in flags {
        run(&desk, flags).ended(3).said(&[
            "10 files to make would cost about 0.006 USD",
            "5 of them would fit",
            "--up-to-cap",
        ]);
        assert!(!desk.path("out").exists());
    }
    let plan = desk.run(&["plan", "list.jsonl", "--out", "out", "--max-cost", "0.0035"]);
    plan.ended(3).said(&["5 of them would fit"]);
    desk.configure("media", "budget", &json!({ "per_day_usd": 0.0035 }));
    run(&desk, &[])
        .ended(3)
        .said(&["for one day", "5 of them would fit"]);
    assert_eq!(desk.charges(), 0);
    assert!(desk.sim().calls().is_empty());
    // A run of a few of them is allowed.
    run(&desk, &["--max-items", "3"]).ended(4);
    desk.assert_bill_is(3);
}

#[test]
fn up_to_the_cap_what_fits_is_made_and_later_runs_count_what_was_spent() {
    let desk = Desk::with_sim();
    desk.file("list.jsonl", pictures(0, 10));
    let cap = ["--max-cost", "0.0035", "--up-to-cap"];
    run(&desk, &cap)
        .ended(3)
        .said(&["the budget is used up, 5 files not made"]);
    desk.assert_bill_is(5);
    run(&desk, &cap).ended(3);
    desk.assert_bill_is(5);
    // One run may spend as much again, but all together no more.
    run(&desk, &["--max-run-cost", "0.0012", "--up-to-cap"]).ended(3);
    desk.assert_bill_is(7);
    run(&desk, &["--max-cost", "0.006"]).ended(0);
    desk.assert_bill_is(10);
    desk.assert_clean("out");
}

#[test]
fn the_budget_of_the_configuration_holds_and_a_flag_counts_more() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", pictures(0, 4));
    desk.configure("media", "budget", &json!({ "total_usd": 0.0012 }));
    run(&desk, &[])
        .ended(3)
        .said(&["of the 0.0012 USD in all 0.0012 are left"]);
    run(&desk, &["--max-cost", "0.01"]).ended(0);
    desk.assert_bill_is(4);
}

#[test]
fn with_a_cap_what_has_no_price_is_refused_before_the_start() {
    let mut desk = Desk::with_sim();
    desk.configure("runware", "prices", &json!({ "items": [] }));
    desk.file("list.jsonl", pictures(0, 2));
    for flags in [&["--max-cost", "5"][..], &["--max-cost", "5", "--up-to-cap"]] {
        run(&desk, flags)
            .ended(3)
            .said(&["no price for 2 files from runware", "prices.items"]);
    }
    assert!(desk.sim().calls().is_empty());
    run(&desk, &[]).ended(0);
}

#[test]
fn what_may_have_been_billed_counts_with_all_that_it_may_have_cost() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        square(&jobs(&[
            ("a", "openai", "a hat", "a.webp"),
            ("b", "openai", "a kettle", "b.webp"),
        ])),
    );
    desk.sim().arm(
        Fault::new(Provider::Openai, FaultKind::CutAfterBilling)
            .on(Op::Image)
            .matching("kettle"),
    );
    let first = desk.make("list.jsonl").ended(1);
    let estimate: f64 = desk
        .sim()
        .bill()
        .charges
        .iter()
        .map(|charge| charge.usd)
        .fold(0.0, f64::max);
    assert_eq!(first.line("b")["status"], "unknown");
    // Another one would fit beside what is known to be spent, but not beside what is in doubt.
    let known = first.line("a")["cost_usd"].as_f64().unwrap();
    desk.file("more.jsonl", square(&jobs(&[("c", "openai", "a cap", "c.webp")])));
    let cap = format!("{:.6}", known + estimate * 1.8);
    let more = desk.run(&["run", "more.jsonl", "--out", "out", "--max-cost", &cap]);
    more.ended(3).said(&["0 of them would fit"]);
    assert_eq!(desk.charges(), 2);
}

/// A cap that was not there when it was sent cannot count what has no price.
#[test]
fn what_may_have_been_billed_without_a_price_is_settled_before_a_cap_holds() {
    let mut desk = Desk::with_sim();
    desk.configure("openai", "prices", &json!({ "items": [] }));
    desk.file(
        "list.jsonl",
        square(&jobs(&[("a", "openai", "a kettle", "a.webp")])),
    );
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.make("list.jsonl").ended(1);
    desk.file("more.jsonl", pictures(0, 1));
    let capped = ["run", "more.jsonl", "--out", "out", "--max-cost", "5"];
    desk.run(&capped).ended(3).said(&[
        "1 request of earlier runs may have been billed and had no price",
        "media status",
    ]);
    assert_eq!(desk.charges(), 1);
    desk.run(&["retry", "--unknown", "--give-up", "a", "--out", "out"])
        .ended(0);
    // Given up, it is in no sum; that is told wherever somebody relies on the sums.
    let status = desk.run(&["status", "--out", "out"]).ended(0);
    assert!(status.stdout.contains("uncounted: 1 request"), "{status:?}");
    desk.run(&capped)
        .ended(0)
        .said(&["1 request of earlier runs may have been billed and had no price: the cap counts nothing"]);
}

#[test]
fn with_uneven_prices_the_bill_never_passes_the_cap_by_more_than_the_overshoot_that_is_told() {
    let mut desk = Desk::with(uneven());
    desk.configure("runware", "limits", &json!({ "concurrency": 16 }));
    desk.configure("runware", "tasks_per_request", &json!(1));
    desk.file("list.jsonl", pictures(0, 400));
    let ran = run(&desk, &["--max-cost", "0.12", "--up-to-cap"]).ended(3);
    let told = ran
        .stderr
        .lines()
        .find(|line| line.contains("of it more than was set aside"));
    let overshoot = told.map_or(0.0, |line| {
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    });
    assert!(overshoot > 0.0, "prices vary by half: {ran:#?}");
    let billed = billed(&desk);
    assert!(
        billed <= 0.12 + overshoot + 1e-9,
        "billed {billed}, overshoot {overshoot}"
    );
    assert!(billed > 0.10, "most of the cap is used: {billed}");
    desk.assert_clean("out");
}

#[test]
fn estimates_learn_from_what_was_billed() {
    let mut scenario = Scenario::instant();
    scenario.runware.models.get_mut("runware:100@1").unwrap().usd = 0.0009;
    let desk = Desk::with(scenario);
    desk.file("list.jsonl", pictures(0, 10));
    let first = run(&desk, &[]).ended(0);
    first.said(&["0.009 USD reported", "0.006 estimated"]);
    desk.file("list.jsonl", pictures(10, 10));
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["cost_usd"], json!(0.009));
    run(&desk, &[])
        .ended(0)
        .said(&["0.009 USD reported", "0.009 estimated"]);
}

/// They are longer than what is said, and cost more.
#[test]
fn instructions_are_in_the_estimate() {
    let desk = Desk::with_sim();
    let how = "Speak slowly and clearly, as to a friend. ".repeat(90);
    let row = json!({ "id": "a", "kind": "audio", "provider": ["openai"], "content": "buenos días", "output_path": "a.mp3",
        "params": { "openai": { "instructions": how } } });
    desk.file("list.jsonl", format!("{row}\n"));
    let ran = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    run(&desk, &[]).ended(0);
    let (planned, billed) = (plan["cost_usd"].as_f64().unwrap(), billed(&desk));
    assert!(
        (planned - billed).abs() < 0.25 * billed,
        "planned {planned}, billed {billed}"
    );
}

/// The shipped price list against what the simulator bills by the services' documented prices.
#[test]
fn estimates_are_near_what_is_billed() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        square(&jobs(&[
            ("a", "runware", "a hat", "a.webp"),
            ("c", "openai", "a cap", "c.webp"),
            ("d", "openai", "una frase larga para escuchar", "d.mp3"),
            ("e", "forvo", "perro", "e.mp3"),
        ])),
    );
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    run(&desk, &[]).ended(0);
    for (provider, plan) in plan["providers"].as_object().unwrap() {
        let billed: f64 = desk
            .sim()
            .bill()
            .charges
            .iter()
            .filter(|charge| charge.provider == *provider)
            .map(|charge| charge.usd)
            .sum();
        let planned = plan["cost_usd"].as_f64().unwrap();
        let off = (planned - billed).abs() / billed.max(1e-9);
        assert!(
            (billed == 0.0 && planned == 0.0) || off < 0.25,
            "{provider}: planned {planned}, billed {billed}"
        );
    }
}

/// Its answers tell no price: the length of the sound does, and what it cost beyond what was set aside is told.
#[test]
fn speech_costs_what_its_length_costs() {
    let desk = Desk::with_sim();
    let words = [
        "さようならまた明日会いましょう",
        "очень длинная фраза для проверки",
        "a",
    ];
    let rows: Vec<_> = words
        .iter()
        .enumerate()
        .map(|(n, word)| (format!("s{n}"), "openai", *word, format!("s{n}.wav")))
        .collect();
    desk.file("list.jsonl", jobs(&rows));
    let ran = run(&desk, &["--max-cost", "1"]).ended(0);
    let told: f64 = ran
        .lines()
        .values()
        .map(|line| line["cost_usd"].as_f64().unwrap())
        .sum();
    let bill = billed(&desk);
    assert!((told - bill).abs() < bill / 20.0, "told {told}, billed {bill}");
    assert_eq!(ran.line("s0")["cost_basis"], "computed");
    ran.said(&["more than was set aside"]);
}

#[test]
fn what_one_size_costs_says_nothing_about_another_that_has_no_price() {
    let desk = Desk::with_sim();
    let rows = |from: usize, size: &str| {
        let rows: Vec<_> = (from..from + 6)
            .map(|n| {
                (
                    format!("p{n}"),
                    "openai",
                    format!("picture {n}"),
                    format!("p{n}.webp"),
                )
            })
            .collect();
        jobs(&rows).replace("1024x640", size)
    };
    desk.file("list.jsonl", rows(0, "1024x1024"));
    run(&desk, &[]).ended(0);
    desk.file("list.jsonl", rows(10, "2048x2048"));
    run(&desk, &["--max-run-cost", "5"])
        .ended(3)
        .said(&["no price for 6 files from openai"]);
    assert_eq!(desk.charges(), 6);
}

#[test]
fn estimates_compare_what_was_asked_with_what_it_cost_and_nothing_else() {
    let mut desk = Desk::with_sim();
    desk.file("list.jsonl", pictures(0, 10));
    run(&desk, &[]).ended(0);
    // The same jobs move to a dearer provider; what the first one billed is no measure of it.
    desk.file(
        "list.jsonl",
        square(
            &pictures(0, 10)
                .replace("\"runware\"", "\"openai\"")
                .replace("{\"height\":128,\"width\":256}", "{\"size\":\"1024x1024\"}"),
        ),
    );
    desk.run(&["redo", "--changed", "--out", "out", "--yes"]).ended(0);
    let first = billed(&desk) - 0.006;
    desk.file("more.jsonl", square(&jobs(&[("x", "openai", "a hat", "x.webp")])));
    let plan = desk
        .run(&["plan", "more.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    let (planned, real) = (plan["cost_usd"].as_f64().unwrap(), first / 10.0);
    assert!(
        (planned - real).abs() < real * 0.1,
        "planned {planned}, real {real}"
    );
    // Files that had no price when they were made say nothing once there is one.
    desk.configure("runware", "prices", &json!({ "items": [] }));
    desk.file("list.jsonl", pictures(20, 10));
    run(&desk, &[]).ended(0);
    desk.configure(
        "runware",
        "prices",
        &json!({ "items": [{ "when": {}, "usd": 0.0006 }] }),
    );
    desk.file("list.jsonl", pictures(40, 1));
    let plan = desk
        .run(&["plan", "list.jsonl", "--out", "out", "--json"])
        .ended(0);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["cost_usd"], json!(0.0006));
}

#[test]
fn a_retry_over_the_cap_gives_nothing_up() {
    let desk = Desk::with_sim();
    desk.file(
        "list.jsonl",
        square(&jobs(&[("b", "openai", "a kettle", "b.webp")])),
    );
    desk.sim()
        .arm(Fault::new(Provider::Openai, FaultKind::CutAfterBilling).on(Op::Image));
    desk.make("list.jsonl").ended(1);
    let retry = ["retry", "--unknown", "--out", "out", "--max-cost", "0.0001"];
    desk.run(&retry).ended(3);
    let again = desk.make("list.jsonl").ended(1);
    assert_eq!(
        (again.line("b")["status"].as_str(), desk.charges()),
        (Some("unknown"), 1)
    );
    desk.run(&["retry", "--unknown", "--out", "out"]).ended(0);
    assert_eq!(desk.charges(), 2);
}

#[test]
fn what_passes_on_is_made_as_far_as_the_budget_allows() {
    let mut scenario = Scenario::instant();
    scenario.forvo.missing = (0..6).map(|n| format!("w{n}")).collect();
    let mut desk = Desk::with(scenario);
    desk.configure(
        "runware",
        "prices",
        &json!({ "items": [{ "when": {}, "usd": 0.001 }] }),
    );
    let rows: String = (0..6)
        .map(|n| json!({ "id": n.to_string(), "kind": "audio", "provider": ["forvo", "runware"], "content": format!("w{n}"), "language": "es", "output_path": format!("w{n}.mp3") }).to_string() + "\n")
        .collect();
    desk.file("list.jsonl", rows);
    let ran = run(&desk, &["--max-cost", "0.0025"])
        .ended(3)
        .said(&["4 files not made"]);
    assert_eq!(
        (ran.count("done"), ran.count("failed"), desk.charges()),
        (2, 0, 2)
    );
    // Without a price for the second provider nothing is begun.
    desk.configure("runware", "prices", &json!({ "items": [] }));
    let calls = desk.sim().calls().len();
    run(&desk, &["--max-cost", "1"])
        .ended(3)
        .said(&["from runware, so nobody can tell"]);
    assert_eq!(desk.sim().calls().len(), calls);
}

//! The connection test.

use media_core::ErrorKind;
use serde_json::{Value, json};

use crate::answers::fake;
use crate::fake::{Base, Fake, Reply, error, kind};

fn account(balance: &Value) -> Reply {
    Reply::data(vec![
        json!({"taskType": "accountManagement", "operation": "getDetails", "organizationName": "Acme",
        "balance": balance, "team": [], "apiKeys": []}),
    ])
}

#[tokio::test]
async fn the_balance_is_read_in_both_shapes() {
    for balance in [
        json!(126.95),
        json!({"amount": 126.95, "freeBalance": 0, "currency": "USD"}),
    ] {
        let fake = fake!(|_base, _call, _tasks| account(&balance));
        let connection = fake.client(|_| ()).test_connection().await.unwrap();
        assert_eq!(connection.notes, ["organization Acme", "balance 126.95 USD"]);
        assert!(connection.warnings.is_empty());
        assert_eq!(fake.calls()[0][0]["operation"], "getDetails");
    }
}

#[tokio::test]
async fn a_low_balance_is_a_warning() {
    let fake = fake!(|_base, _call, _tasks| account(&json!(1.5)));
    let connection = fake.client(|_| ()).test_connection().await.unwrap();
    assert!(
        connection.warnings[0].contains("1.50 USD"),
        "{:?}",
        connection.warnings
    );
}

#[tokio::test]
async fn a_key_that_may_not_see_the_account_is_tried_by_ping() {
    let fake = fake!(|_base, _call, tasks| match kind(tasks) {
        "accountManagement" => Reply::errors(403, vec![error("forbidden", &tasks[0])]),
        _ => Reply::data(vec![json!({"taskType": "ping", "pong": true})]),
    });
    let connection = fake.client(|_| ()).test_connection().await.unwrap();
    assert!(connection.notes[0].contains("may not see"));
    assert_eq!(fake.calls()[1][0]["ping"], true);
}

#[tokio::test]
async fn a_bad_key_is_said_to_be_one() {
    let fake = fake!(|_base, _call, _tasks| Reply::errors(
        401,
        vec![json!({"code": "invalidApiKey", "message": "Bad."})]
    ));
    let error = fake.client(|_| ()).test_connection().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.next().is_some());
}

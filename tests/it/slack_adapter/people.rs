//! Who counts, and with which groups.

use axum::http::StatusCode;
use serde_json::{Value, json};
use stanch::core::policy::{Groups, Subject};
use stanch::ports::ChatError;
use stanch::sandbox::server::{Fault, FaultRule};
use stanch::sandbox::slack::User;

use super::*;

fn member(id: &str, groups: &[&str]) -> Result<Option<Subject>, ChatError> {
    Ok(Some(Subject { account: account(id), groups: Groups::Known(groups.iter().map(|group| (*group).to_owned()).collect()) }))
}

fn without_groups(id: &str) -> Result<Option<Subject>, ChatError> {
    Ok(Some(Subject { account: account(id), groups: Groups::Unknown }))
}

impl Rig {
    fn answer(&self, method: &str, status: StatusCode, body: Value) {
        let fault = Fault::Answer { status, headers: vec![], body };
        self.emulator.wire().inject(FaultRule { method: None, uri_contains: method.into(), skip: 0, times: 1, fault });
    }
}

/// Goal: only full, present human members of the workspace are anybody. Method: everybody in the sandbox's workspace, and each way in
/// which a member can cease to be one.
#[tokio::test]
async fn who_is_somebody() {
    let rig = Rig::start().await;
    let expected = [
        ("U0RESPONDER", member("U0RESPONDER", &["S0RESPONDERS"])),
        ("U0APPROVER1", member("U0APPROVER1", &["S0APPROVERS", "S0RESPONDERS"])),
        ("U0BYSTANDER", member("U0BYSTANDER", &[])),
        ("U0STANCH", Ok(None)),
        ("U0GUEST", Ok(None)),
        ("U0OTHERBOT", Ok(None)),
        ("U0GONE", Ok(None)),
        ("U0STRANGER", Ok(None)),
        ("U0NOBODY", Ok(None)),
        ("", Ok(None)),
    ];
    for (id, subject) in expected {
        assert_eq!(rig.slack.subject(&account(id)).await, subject, "{id}");
    }
    let elsewhere = Account { platform: Platform::Discord, ..account("U0RESPONDER") };
    assert_eq!(rig.slack.subject(&elsewhere).await, Ok(None));
    let changes: [fn(&mut User); 5] = [
        |user| user.deleted = true,
        |user| user.is_bot = true,
        |user| user.is_restricted = true,
        |user| user.is_ultra_restricted = true,
        |user| user.team_id = "T0FOREIGN".into(),
    ];
    for change in changes {
        let mut before = User::default();
        rig.emulator.change_user("U0BYSTANDER", |user| before = user.clone());
        rig.emulator.change_user("U0BYSTANDER", change);
        assert_eq!(rig.slack.subject(&account("U0BYSTANDER")).await, Ok(None));
        rig.emulator.change_user("U0BYSTANDER", |user| *user = before);
        assert_eq!(rig.slack.subject(&account("U0BYSTANDER")).await, member("U0BYSTANDER", &[]));
    }
    rig.finish().await;
}

/// A role that was lost a moment ago is lost: nothing is remembered from the look-up before.
#[tokio::test]
async fn groups_are_fresh() {
    let rig = Rig::start().await;
    let amir = account("U0APPROVER1");
    assert_eq!(rig.slack.subject(&amir).await, member("U0APPROVER1", &["S0APPROVERS", "S0RESPONDERS"]));
    assert!(rig.emulator.set_group_members("S0APPROVERS", &["U0APPROVER2"]));
    assert_eq!(rig.slack.subject(&amir).await, member("U0APPROVER1", &["S0RESPONDERS"]));
    rig.finish().await;
}

/// Goal: who cannot be told has no role, and who is told to be no member is nobody. Method: look-ups that fail or say too little; of groups, also ones that are disabled, of another
/// organisation, or without members.
#[tokio::test]
async fn failed_look_ups() {
    let rig = Rig::start().await;
    let amir = account("U0APPROVER1");
    let user = json!({ "id": "U0APPROVER1", "team_id": "T0SANDBOX", "deleted": false, "is_bot": false, "is_restricted": false });
    let complete = |id: &str, more: (&str, Value)| {
        let mut user = json!({
            "id": id, "team_id": "T0SANDBOX", "deleted": false, "is_bot": false, "is_restricted": false, "is_ultra_restricted": false,
        });
        user[more.0] = more.1;
        json!({ "ok": true, "user": user })
    };
    let untold = [
        (StatusCode::INTERNAL_SERVER_ERROR, json!({})),
        (StatusCode::TOO_MANY_REQUESTS, json!({ "ok": false, "error": "ratelimited" })),
        (StatusCode::OK, json!({ "ok": false, "error": "missing_scope" })),
        (StatusCode::OK, json!({ "ok": true })),
        (StatusCode::OK, json!({ "ok": true, "user": user })),
    ];
    for (status, body) in untold {
        rig.answer("users.info", status, body.clone());
        assert!(rig.slack.subject(&amir).await.is_err(), "{body}");
    }
    let closed = [
        (StatusCode::OK, json!({ "ok": false, "error": "user_not_visible" })),
        (StatusCode::OK, json!({ "ok": true, "user": { "id": "U0APPROVER1", "deleted": true } })),
        (StatusCode::OK, complete("U0SOMEBODY", ("is_stranger", json!(false)))),
        (StatusCode::OK, complete("U0APPROVER1", ("is_stranger", json!(true)))),
        (StatusCode::OK, complete("U0APPROVER1", ("is_workflow_bot", json!(true)))),
    ];
    for (status, body) in closed {
        rig.answer("users.info", status, body.clone());
        assert_eq!(rig.slack.subject(&amir).await, Ok(None), "{body}");
    }
    rig.answer("users.info", StatusCode::OK, complete("USLACKBOT", ("is_app_user", json!(false))));
    assert_eq!(rig.slack.subject(&account("USLACKBOT")).await, Ok(None));

    rig.answer("usergroups.list", StatusCode::INTERNAL_SERVER_ERROR, json!({}));
    assert_eq!(rig.slack.subject(&amir).await, without_groups("U0APPROVER1"));
    rig.answer("usergroups.list", StatusCode::OK, json!({ "ok": false, "error": "missing_scope" }));
    assert_eq!(rig.slack.subject(&amir).await, without_groups("U0APPROVER1"));
    let group = |id: &str, more: (&str, Value)| {
        let mut group = json!({ "id": id, "date_delete": 0, "is_external": false, "users": ["U0APPROVER1"] });
        group[more.0] = more.1;
        group
    };
    let groups = json!([
        group("S0GOOD", ("user_count", json!("1"))),
        group("S0DISABLED", ("date_delete", json!(1_700_000_000))),
        group("S0EXTERNAL", ("is_external", json!(true))),
        { "id": "S0UNTOLD" },
    ]);
    rig.answer("usergroups.list", StatusCode::OK, json!({ "ok": true, "usergroups": groups }));
    assert_eq!(rig.slack.subject(&amir).await, member("U0APPROVER1", &["S0GOOD"]));
    rig.finish().await;
}

//! What the API refuses, and what it promises.

use serde_json::{Value, json};

use super::{Compute, GLOBAL, GROUP, NODE, OTHER, ZONE, error, group_uri, instance_uri};

const STALE: &str = "Supplied fingerprint does not match current metadata fingerprint.";
const PROTECTED: &str = "Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion.'.";

fn rule(name: &str) -> Value {
    json!({
        "name": name, "network": "global/networks/prod-vpc", "direction": "EGRESS", "priority": 0, "denied": [{ "IPProtocol": "tcp" }],
        "destinationRanges": ["0.0.0.0/0"], "targetTags": ["quarantine"],
    })
}

/// Goal: nobody's tag is lost. Method: write under a fingerprint that was read before somebody else's write.
#[tokio::test]
async fn a_stale_fingerprint_is_refused() {
    let compute = Compute::start().await;
    let read = compute.instance(NODE).await;
    compute.emulator.touch_tags(NODE, "somebody-elses").unwrap();
    let body = json!({ "items": ["gke-sandbox-node", "quarantine"], "fingerprint": read["tags"]["fingerprint"] });
    let uri = format!("{}/setTags", instance_uri(NODE));
    assert_eq!(compute.send("POST", &uri, Some(&body)).await, (412, error(412, "conditionNotMet", STALE)));
    let none = json!({ "items": ["quarantine"] });
    assert_eq!(compute.send("POST", &uri, Some(&none)).await, (412, error(412, "conditionNotMet", STALE)));
    assert_eq!(compute.emulator.snapshot_state()["instances"][NODE]["tags"], json!(["gke-sandbox-node", "somebody-elses"]));
    compute.done().await;
}

/// Goal: the list that is written is the list that is there, under a new fingerprint; metadata and labels alike.
#[tokio::test]
async fn what_is_written_replaces_what_was_there() {
    let compute = Compute::start().await;
    let before = compute.instance(NODE).await;
    let tags = json!({ "items": ["quarantine"], "fingerprint": before["tags"]["fingerprint"] });
    let operation = compute.mutate("POST", &format!("{}/setTags", instance_uri(NODE)), tags).await;
    assert_eq!((&operation["status"], operation.get("error")), (&json!("DONE"), None));
    let entries = json!([{ "key": "ssh-keys", "value": "responder:ssh-ed25519 AAAA" }]);
    let metadata = json!({ "items": entries, "fingerprint": before["metadata"]["fingerprint"] });
    compute.mutate("POST", &format!("{}/setMetadata", instance_uri(NODE)), metadata).await;
    let labels = json!({ "labels": { "incident": "i1" }, "labelFingerprint": before["labelFingerprint"] });
    compute.mutate("POST", &format!("{}/setLabels", instance_uri(NODE)), labels).await;
    let after = compute.instance(NODE).await;
    assert_eq!(after["tags"]["items"], json!(["quarantine"]));
    assert_eq!(after["metadata"]["items"], entries);
    assert_eq!(after["labels"], json!({ "incident": "i1" }));
    for field in ["tags", "metadata"] {
        assert_ne!(after[field]["fingerprint"], before[field]["fingerprint"]);
    }
    assert_ne!(after["labelFingerprint"], before["labelFingerprint"]);
    compute.done().await;
}

/// Goal: an abandoned instance is a member until that is confirmed. Method: the operation is done, the members are looked at.
#[tokio::test]
async fn an_abandon_is_done_when_it_is_scheduled() {
    let compute = Compute::start().await;
    let body = json!({ "instances": [format!("zones/us-central1-a/instances/{NODE}")] });
    let operation = compute.mutate("POST", &group_uri("abandonInstances"), body.clone()).await;
    assert_eq!(operation["operationType"], "compute.instanceGroupManagers.abandonInstances");
    let group = compute.get(&format!("{ZONE}/instanceGroupManagers/{GROUP}")).await;
    assert_eq!(
        (&group["targetSize"], &group["currentActions"]["abandoning"], &group["status"]["isStable"]),
        (&json!(1), &json!(1), &json!(false))
    );

    // Members cannot be protected, and one that is leaving is a member.
    let protect = format!("{}/setDeletionProtection?deletionProtection=true", instance_uri(NODE));
    let (status, refusal) = compute.send("POST", &protect, None).await;
    assert_eq!((status, &refusal["error"]["errors"][0]["reason"]), (400, &json!("invalidResourceUsage")));

    let pair = |name: &str, action: &str| (name.to_owned(), action.to_owned());
    assert_eq!(compute.members(GROUP).await, [pair(NODE, "ABANDONING"), pair(OTHER, "NONE")]);
    assert_eq!(compute.members(GROUP).await, [pair(NODE, "ABANDONING"), pair(OTHER, "NONE")]);
    assert_eq!(compute.members(GROUP).await, [pair(OTHER, "NONE")]);
    assert_eq!(compute.instance(NODE).await["status"], "RUNNING");

    // Now it is nobody's: protected, no member, not the group's to delete.
    compute.mutate("POST", &protect, json!({})).await;
    let refusal = error(400, "invalid", &format!("Invalid value for field 'instances': '{NODE}'. The instance is not a member of MIG."));
    assert_eq!(compute.send("POST", &group_uri("abandonInstances"), Some(&body)).await, (400, refusal.clone()));
    assert_eq!(compute.send("POST", &group_uri("deleteInstances"), Some(&body)).await, (400, refusal));
    let usage = error(400, "invalidResourceUsage", PROTECTED);
    assert_eq!(compute.send("DELETE", &instance_uri(NODE), None).await, (400, usage));
    compute.done().await;
}

/// Goal: an instance that is not protected is gone when it is deleted, with the disks that go with it; others stay.
#[tokio::test]
async fn deleting_an_abandoned_instance_keeps_the_disks_that_are_to_be_kept() {
    let compute = Compute::start().await;
    compute.emulator.abandon(NODE).unwrap();
    let keep = format!("{}/setDiskAutoDelete?deviceName=persistent-disk-0&autoDelete=false", instance_uri(NODE));
    compute.mutate("POST", &keep, json!({})).await;
    let unknown = format!("{}/setDiskAutoDelete?deviceName=sda&autoDelete=false", instance_uri(NODE));
    assert_eq!(compute.send("POST", &unknown, None).await.0, 400);
    compute.mutate("DELETE", &instance_uri(NODE), json!({})).await;
    let missing = format!("The resource 'projects/sandbox-project/zones/us-central1-a/instances/{NODE}' was not found");
    assert_eq!(compute.send("GET", &instance_uri(NODE), None).await, (404, error(404, "notFound", &missing)));
    let disks = compute.emulator.snapshot_state()["disks"].clone();
    assert_eq!((&disks[NODE]["users"], &disks["pvc-orders-0"]["users"]), (&json!([]), &json!([])));
    assert_eq!(compute.emulator.snapshot_state()["groups"][GROUP]["targetSize"], 1);
    compute.done().await;
}

/// Goal: a member that somebody deletes comes back as another instance of the same name.
#[tokio::test]
async fn a_group_makes_a_deleted_member_anew() {
    let compute = Compute::start().await;
    let before = compute.instance(OTHER).await;
    compute.mutate("DELETE", &instance_uri(OTHER), json!({})).await;
    let after = compute.instance(OTHER).await;
    assert_eq!(after["name"], before["name"]);
    assert_ne!(after["id"], before["id"]);
    assert_eq!(compute.send("GET", &instance_uri(before["id"].as_str().unwrap()), None).await.0, 404);
    assert_eq!(compute.instance(after["id"].as_str().unwrap()).await["name"], before["name"]);
    compute.done().await;
}

/// Goal: sizes follow what is done. Method: delete through the group, resize up and down.
#[tokio::test]
async fn deleting_through_the_group_and_resizing() {
    let compute = Compute::start().await;
    let body = json!({ "instances": [format!("{}{}", compute.emulator.url(), instance_uri(OTHER))] });
    compute.mutate("POST", &group_uri("deleteInstances"), body).await;
    let group = format!("{ZONE}/instanceGroupManagers/{GROUP}");
    assert_eq!(compute.get(&group).await["targetSize"], 1);
    compute.until_gone(GROUP, OTHER).await;
    assert_eq!(compute.send("GET", &instance_uri(OTHER), None).await.0, 404);
    compute.mutate("POST", &group_uri("resize?size=3"), json!({})).await;
    let names: Vec<String> = compute.members(GROUP).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!((names.len(), &names[0]), (3, &NODE.to_owned()));
    assert_eq!(compute.get(&group).await["targetSize"], 3);
    for name in &names {
        assert_eq!(compute.instance(name).await["status"], "RUNNING");
    }
    compute.mutate("POST", &group_uri("resize?size=1"), json!({})).await;
    compute.until_gone(GROUP, &names[1]).await;
    compute.until_gone(GROUP, &names[2]).await;
    assert_eq!(compute.members(GROUP).await, [(NODE.to_owned(), "NONE".to_owned())]);
    compute.done().await;
}

/// Goal: an external address goes away by the name of its config, of either family, and an interface takes one at most.
#[tokio::test]
async fn access_configs() {
    let mut world = stanch::sandbox::world::World::compromised();
    world.nodes[0].external_ipv6 = Some("2001:db8::11".into());
    if let Some(external) = &mut world.nodes[0].external_ip {
        external.reserved = true;
    }
    let compute = Compute::start_with(&world).await;
    let uri = |method: &str, rest: &str| format!("{}/{method}?networkInterface=nic0{rest}", instance_uri(NODE));
    assert_eq!(compute.send("POST", &uri("addAccessConfig", ""), Some(&json!({}))).await.0, 400);
    assert_eq!(compute.send("POST", &uri("deleteAccessConfig", "&accessConfig=External%20NAT"), None).await.0, 400);
    compute.mutate("POST", &uri("deleteAccessConfig", "&accessConfig=external-nat"), json!({})).await;
    let nic = compute.instance(NODE).await["networkInterfaces"][0].clone();
    assert_eq!((nic.get("accessConfigs"), &nic["ipv6AccessConfigs"][0]["externalIpv6"]), (None, &json!("2001:db8::11")));
    let addresses = compute.emulator.snapshot_state()["addresses"].clone();
    assert_eq!(addresses, json!({ NODE: { "address": "203.0.113.11", "status": "RESERVED" } }));

    let change = json!({ "stackType": "IPV4_ONLY", "fingerprint": nic["fingerprint"] });
    compute.mutate("PATCH", &uri("updateNetworkInterface", ""), change.clone()).await;
    let nic = compute.instance(NODE).await["networkInterfaces"][0].clone();
    assert_eq!((nic.get("ipv6AccessConfigs"), &nic["stackType"]), (None, &json!("IPV4_ONLY")));
    assert_eq!(compute.send("PATCH", &uri("updateNetworkInterface", ""), Some(&change)).await.0, 412);

    compute.mutate("POST", &uri("addAccessConfig", ""), json!({ "name": "external-nat" })).await;
    let config = compute.instance(NODE).await["networkInterfaces"][0]["accessConfigs"][0].clone();
    assert_eq!((&config["name"], &config["type"]), (&json!("external-nat"), &json!("ONE_TO_ONE_NAT")));
    compute.mutate("POST", &uri("deleteAccessConfig", "&accessConfig=external-nat"), json!({})).await;
    compute.done().await;
}

/// Goal: a rule is stored as it counts: complete, once, in the project of its network.
#[tokio::test]
async fn firewall_rules() {
    let compute = Compute::start().await;
    let uri = format!("{GLOBAL}/firewalls");
    compute.mutate("POST", &uri, rule("quarantine-egress-deny")).await;
    let exists = "The resource 'projects/sandbox-project/global/firewalls/quarantine-egress-deny' already exists";
    let again = compute.send("POST", &uri, Some(&rule("quarantine-egress-deny"))).await;
    assert_eq!(again, (409, error(409, "alreadyExists", exists)));
    let open = json!({ "name": "open", "network": "global/networks/prod-vpc", "allowed": [{ "IPProtocol": "all" }] });
    compute.mutate("POST", &uri, open).await;
    let rules = compute.emulator.snapshot_state()["firewalls"]["sandbox-project"].clone();
    assert_eq!(
        rules,
        json!({
            "open": {
                "network": "projects/sandbox-project/global/networks/prod-vpc", "direction": "INGRESS", "priority": 1000,
                "allowed": [{ "IPProtocol": "all" }], "sourceRanges": ["0.0.0.0/0"], "disabled": false, "logConfig": { "enable": false },
            },
            "quarantine-egress-deny": {
                "network": "projects/sandbox-project/global/networks/prod-vpc", "direction": "EGRESS", "priority": 0,
                "denied": [{ "IPProtocol": "tcp" }], "destinationRanges": ["0.0.0.0/0"], "targetTags": ["quarantine"], "disabled": false,
                "logConfig": { "enable": false },
            },
        })
    );
    compute.mutate("PATCH", &format!("{uri}/open"), json!({ "name": "open", "disabled": true })).await;
    assert_eq!(compute.get(&format!("{uri}/open")).await["disabled"], true);
    compute.mutate("DELETE", &format!("{uri}/open"), json!({})).await;
    assert_eq!(compute.send("GET", &format!("{uri}/open"), None).await.0, 404);
    compute.done().await;
}

/// Goal: a rule that cannot be is refused at once.
#[tokio::test]
async fn impossible_firewall_rules() {
    let compute = Compute::start().await;
    let check = async |field: &str, value: Value, expected: u16| {
        let mut body = rule("r");
        body[field] = value;
        let (status, answer) = compute.send("POST", &format!("{GLOBAL}/firewalls"), Some(&body)).await;
        assert_eq!(status, expected, "{field}: {answer}");
    };
    check("network", json!("global/networks/default"), 404).await;
    check("network", json!("projects/other-project/global/networks/n"), 400).await;
    check("network", json!("prod-vpc"), 400).await;
    check("priority", json!(65_536), 400).await;
    check("allowed", json!([{ "IPProtocol": "tcp" }]), 400).await;
    check("denied", json!([]), 400).await;
    check("destinationRanges", json!(["0.0.0.0/0", "::/0"]), 400).await;
    check("destinationRanges", json!(["anywhere"]), 400).await;
    check("sourceTags", json!(["bastion"]), 400).await;
    check("targetServiceAccounts", json!(["a@b"]), 400).await;
    check("name", json!("Quarantine"), 400).await;
    check("direction", json!("SIDEWAYS"), 400).await;
    check("color", json!("red"), 400).await;
    assert_eq!(compute.emulator.snapshot_state()["firewalls"], json!({}));
    compute.done().await;
}

/// Goal: what counts for an instance is what is for all, for its tags or for its account, on the network of that interface.
#[tokio::test]
async fn effective_firewalls() {
    let compute = Compute::start().await;
    let network = "projects/sandbox-project/global/networks/prod-vpc";
    let mut tagged = rule("tagged");
    tagged["network"] = json!(network);
    compute.emulator.insert_firewall(&tagged).unwrap();
    compute.emulator.insert_firewall(&json!({ "name": "all", "network": network, "allowed": [{ "IPProtocol": "icmp" }] })).unwrap();
    let policy = json!({ "name": "1234", "type": "HIERARCHY", "displayName": "org", "rules": [] });
    compute.emulator.set_effective_policies(vec![policy]);
    let names = async |instance: &str| -> Vec<String> {
        let answer = compute.get(&format!("{}/getEffectiveFirewalls?networkInterface=nic0", instance_uri(instance))).await;
        assert_eq!(answer["firewallPolicys"][0]["displayName"], "org");
        answer["firewalls"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(NODE).await, ["all"]);
    compute.emulator.touch_tags(NODE, "quarantine").unwrap();
    assert_eq!(names(NODE).await, ["tagged", "all"]);
    assert_eq!(names(OTHER).await, ["all"]);
    let of_network = compute.get(&format!("{GLOBAL}/networks/prod-vpc/getEffectiveFirewalls")).await;
    assert_eq!(of_network["firewalls"].as_array().unwrap().len(), 2);
    assert_eq!(compute.send("GET", &format!("{}/getEffectiveFirewalls?networkInterface=nic7", instance_uri(NODE)), None).await.0, 400);
    compute.done().await;
}

/// Goal: the emulator never guesses. Method: things that it or Google does not know.
#[tokio::test]
async fn what_is_not_known_is_refused() {
    let compute = Compute::start().await;
    let check = async |method: &str, uri: &str, body: Option<Value>, status: u16, words: &str| {
        let (actual, answer) = compute.send(method, uri, body.as_ref()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(actual == status && message.contains(words), "{method} {uri}: {actual} {message}");
    };
    let instance = instance_uri(NODE);
    check("POST", &format!("{instance}/explode"), None, 404, "no method for POST").await;
    check("PUT", &instance, None, 404, "no method for PUT").await;
    check("GET", "/computex/v1/projects/sandbox-project", None, 404, "no method for GET").await;
    check("GET", "/", None, 404, "no method for GET").await;
    check("GET", &format!("{instance}?depth=1"), None, 400, "unknown parameter `depth`").await;
    check("GET", &format!("{instance}?alt=json&alt=json"), None, 400, "given twice").await;
    check("GET", &format!("{ZONE}/instances?filter=name~x"), None, 400, "filter").await;
    check("POST", &format!("{instance}/setTags"), Some(json!({ "tags": [] })), 400, "unknown field `tags`").await;
    check("POST", &format!("{instance}/setTags"), Some(json!({ "items": ["Bad Tag"] })), 400, "it must match").await;
    check("POST", &group_uri("resize?size=2"), Some(json!({ "size": 2 })), 400, "takes no body").await;
    check("POST", &group_uri("resize?size=-1"), None, 400, "size").await;
    check("POST", &group_uri("abandonInstances"), Some(json!({ "instances": [NODE] })), 400, "malformed").await;
    check("POST", &group_uri("abandonInstances"), Some(json!({})), 400, "1 to 1000").await;
    let elsewhere = instance.replace("us-central1-a", "us-central1-b");
    check("GET", &elsewhere, None, 404, "was not found").await;
    check("GET", &instance.replace("us-central1-a", "mars-1-a"), None, 400, "Unknown zone.").await;
    check("GET", &instance.replace("sandbox-project", "other-project"), None, 404, "'projects/other-project' was not found").await;
    assert_eq!(compute.get(&instance.replace("sandbox-project", "412233445566")).await["name"], NODE);
    compute.done().await;
}

/// Goal: parameters that Google's clients always send are taken.
#[tokio::test]
async fn what_clients_always_send_is_taken() {
    let compute = Compute::start().await;
    let list = compute.get(&format!("{ZONE}/instances?$alt=json&$apiVersion=2026-09-01&pageToken=&maxResults=3&filter=")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let rest = compute.get(&format!("{ZONE}/instances?maxResults=3&pageToken={}", list["nextPageToken"].as_str().unwrap())).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), rest.get("nextPageToken")), (1, None));
    let tagged = compute.get(&format!("{ZONE}/instances?filter=tags.items%3Dgke-sandbox-node")).await;
    assert_eq!(tagged["items"].as_array().unwrap().len(), 3);
    let all = compute.get("/compute/v1/projects/sandbox-project/aggregated/instances").await;
    assert_eq!(all["items"]["zones/us-central1-a"]["instances"].as_array().unwrap().len(), 4);
    compute.done().await;
}

/// Goal: what is not granted is refused by its name and has no effect. Method: grant less, write, and compare whole answers.
#[tokio::test]
async fn what_is_not_granted_is_refused_by_its_name() {
    let compute = Compute::start().await;
    let before = compute.emulator.snapshot_state();
    compute.emulator.grant_only(["compute.instances.get", "compute.firewalls.create"]);
    let required = |permission: &str, of: &str| (403, error(403, "forbidden", &format!("Required '{permission}' permission for '{of}'")));
    let instance = format!("projects/sandbox-project/zones/us-central1-a/instances/{NODE}");
    let tags = json!({ "items": ["quarantine"], "fingerprint": "AAAA" });
    let answer = compute.send("POST", &format!("{}/setTags", instance_uri(NODE)), Some(&tags)).await;
    assert_eq!(answer, required("compute.instances.setTags", &instance));
    assert_eq!(
        compute.send("GET", &format!("{ZONE}/instances"), None).await,
        required("compute.instances.list", "projects/sandbox-project")
    );
    // A rule needs a second permission, on the network.
    let made = compute.send("POST", &format!("{GLOBAL}/firewalls"), Some(&rule("r"))).await;
    assert_eq!(made, required("compute.networks.updatePolicy", "projects/sandbox-project"));
    assert_eq!(compute.emulator.snapshot_state(), before);
    compute.emulator.grant_everything();
    compute.done().await;
}

/// Goal: a project tells which permissions it grants, and nothing about another one.
#[tokio::test]
async fn permissions_are_told() {
    let compute = Compute::start().await;
    compute.emulator.grant_only(["compute.instances.get"]);
    let uri = "/v1/projects/sandbox-project:testIamPermissions";
    let ask = |permissions: Value| json!({ "permissions": permissions });
    let both = ask(json!(["compute.instances.list", "compute.instances.get"]));
    assert_eq!(compute.send("POST", uri, Some(&both)).await, (200, json!({ "permissions": ["compute.instances.get"] })));
    assert_eq!(compute.send("POST", uri, Some(&ask(json!(["compute.instances.list"])))).await, (200, json!({})));
    let refused =
        |code: u16, status: &str, message: &str| (code, json!({ "error": { "code": code, "message": message, "status": status } }));
    for wrong in [ask(json!([])), ask(json!(["compute.instances.*"])), ask(json!([1])), json!({}), json!({ "permissions": ["a"], "b": 1 })]
    {
        let answer = compute.send("POST", uri, Some(&wrong)).await;
        assert_eq!(answer, refused(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), "{wrong}");
    }
    let stranger = compute.send("POST", "/v1/projects/another:testIamPermissions", Some(&both)).await;
    assert_eq!(stranger, refused(403, "PERMISSION_DENIED", "The caller does not have permission"));
    compute.done().await;
}

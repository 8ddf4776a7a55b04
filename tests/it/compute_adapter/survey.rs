//! Surveys.

use stanch::ports::{InstanceQuery, SurveyError, Surveyor as _};
use stanch::sandbox::world::World;
use stanch_commands::facts::{InstanceAddresses, NoInstance};
use stanch_commands::target::InstanceRef;

use super::{Bench, GROUP, ID, NODE, TAG, group, instance};

/// Goal: every fact of the compromised node.
#[tokio::test]
async fn the_compromised_node() {
    let mut world = World::compromised();
    world.nodes[0].local_ssds = 1;
    world.nodes[0].external_ipv6 = Some("2001:db8:0:1::".into());
    world.nodes[0].external_ip.as_mut().unwrap().reserved = true;
    let bench = Bench::start_with(&world).await;
    let facts = bench.facts().await;
    assert_eq!(
        (facts.instance.clone(), facts.status.as_str(), facts.preemptible, facts.deletion_protection),
        (instance(), "RUNNING", false, false)
    );
    let interface = &facts.interfaces[0];
    assert_eq!((interface.network.name.as_str(), interface.internal_ip.as_str(), interface.dual_stack), ("prod-vpc", "10.128.0.11", true));
    let configs: Vec<_> = interface
        .access_configs
        .iter()
        .map(|config| (config.name.as_str(), config.address.as_str(), config.ipv6, config.reserved))
        .collect();
    assert_eq!(configs, [("external-nat", "203.0.113.11", false, true), ("external-ipv6", "2001:db8:0:1::", true, false)]);
    let disks: Vec<_> = facts.disks.iter().map(|disk| (disk.device.as_str(), disk.disk.is_some(), disk.boot, disk.auto_delete)).collect();
    assert_eq!(disks, [("persistent-disk-0", true, true, true), ("pvc-orders-0", true, false, false), ("local-ssd-0", false, false, true)]);
    let found = facts.group.unwrap();
    assert_eq!((found.group, found.target_size, found.current_action.as_str()), (group(), 2, "NONE"));
    assert_eq!(facts.service_accounts.len(), 1);
    assert!(facts.firewall.is_empty() && facts.tagged.is_empty() && facts.overriding.is_empty());
    assert_eq!(bench.writes(), 0);
}

/// Goal: a false `created-by` hides no membership, and a true one that is out of date makes none.
#[tokio::test]
async fn created_by_is_not_believed() {
    let bench = Bench::start().await;
    bench.emulator.set_metadata(NODE, "created-by", "somebody").unwrap();
    assert_eq!(bench.facts().await.group.unwrap().group, group());
    let link = format!("projects/412233445566/zones/us-central1-a/instanceGroupManagers/{GROUP}");
    bench.emulator.set_metadata(NODE, "created-by", &link).unwrap();
    bench.emulator.abandon(NODE).unwrap();
    assert_eq!(bench.facts().await.group, None);
}

/// Goal: links of Google's hosts are read like the emulator's own; tagged instances are found.
#[tokio::test]
async fn google_links_and_tagged_instances() {
    let bench = Bench::start().await;
    bench.emulator.answer_with_google_links();
    bench.emulator.touch_tags(NODE, TAG).unwrap();
    assert_eq!(bench.facts().await.tagged, [(TAG.to_owned(), vec![instance()])].into());
}

/// Goal: why there is no instance.
#[tokio::test]
async fn no_instance() {
    let bench = Bench::start().await;
    let another = NoInstance::AnotherId { expected: "1".into(), found: ID.to_string() };
    assert_eq!(bench.survey(Some(1)).await.unwrap().unwrap_err(), another);
    for provider_id in ["", "aws:///us-east-1a/i-1", "gce://p/z", "gce://p/z/n/x"] {
        let query = InstanceQuery { provider_id: provider_id.into(), expected_id: None };
        assert_eq!(bench.compute.survey(&query).await.unwrap().unwrap_err(), NoInstance::NotOnCompute { provider_id: provider_id.into() });
    }
    let query = InstanceQuery { provider_id: "gce://sandbox-project/us-central1-b/nosuch".into(), expected_id: None };
    let instance = "projects/sandbox-project/zones/us-central1-b/instances/nosuch".to_owned();
    assert_eq!(bench.compute.survey(&query).await.unwrap().unwrap_err(), NoInstance::NotFound { instance });
}

/// Goal: whoever is about to connect to an instance is told where it is at that moment, and nothing of a namesake. Method: ask for the bound
/// one, a namesake, and without the right.
#[tokio::test]
async fn where_an_instance_is() {
    let bench = Bench::start().await;
    let [right] = stanch_commands::permission::SSH.iter().flat_map(|entry| entry.project).collect::<Vec<_>>()[..] else {
        panic!("one right")
    };
    bench.emulator.grant_only([*right]);
    let ask = async |instance: &InstanceRef| -> Result<Option<InstanceAddresses>, SurveyError> { bench.compute.survey(instance).await };
    let found = ask(&instance()).await.unwrap().unwrap();
    let expected = InstanceAddresses {
        status: "RUNNING".into(),
        internal: [("sandbox-project/prod-vpc".to_owned(), "10.128.0.11".to_owned())].into(),
        external: Some("203.0.113.11".into()),
    };
    assert_eq!(found, expected);
    bench.emulator.recreate_instance(NODE).unwrap();
    assert_eq!(ask(&instance()).await, Ok(None), "a namesake is another one");
    assert_eq!(ask(&InstanceRef { name: "gone".parse().unwrap(), ..instance() }).await, Ok(None));
    bench.emulator.grant_only([]);
    assert!(matches!(ask(&instance()).await, Err(SurveyError::Refused(_))));
}

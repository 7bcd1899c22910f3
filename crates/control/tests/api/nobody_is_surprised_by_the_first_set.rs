//! A new house is enforced from the first day on; where nodes ran before there was a policy, it begins as a dry run with an end.

use std::time::Duration;

use serde_json::Value;
use skans_control::Error;
use skans_control::root;
use skans_control::setup::{self, RootIs};
use skans_policy::Mode;
use skans_store::SqliteConfig;

use crate::support::{DOMAIN, Plane, configuration, now};

const DAY: u64 = 86_400;

/// The set in force, and when its dry run ends.
async fn in_force(plane: &Plane) -> (Value, Option<u64>) {
    let sets = plane.get("/v1/policies").await;
    let active = sets["items"].as_array().unwrap().iter();
    let active: Vec<_> = active.filter(|set| set["state"] == "active").collect();
    assert_eq!(active.len(), 1, "{sets}");
    let until = active[0]["until"].as_u64();
    assert_eq!(
        plane.get("/v1/status").await["policy_dry_run_until"].as_u64(),
        until
    );
    let told = plane
        .metric("skans_control_policy_dry_run_until_seconds")
        .await;
    assert_eq!(told, Some(until.unwrap_or(0)));
    (active[0]["mode"].clone(), until)
}

fn is_in_thirty_days(until: Option<u64>) {
    let (until, now) = (until.unwrap(), now().as_secs());
    assert!(
        until >= now + 30 * DAY && until <= now + 31 * DAY,
        "{until}"
    );
    assert_eq!(until % DAY, 0, "the start of a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_house_is_enforced_from_the_first_day_on() {
    let plane = Plane::new().await;
    assert_eq!(in_force(&plane).await, ("enforce".into(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nodes_run_already_it_is_a_dry_run_with_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let root_dir = dir.path().join("root");
    root::init(&root_dir, DOMAIN, Duration::from_secs(DAY * 30)).unwrap();
    let config = configuration(dir.path().join("control"), &root_dir, "");
    let mode = Mode::dry_run(now().as_secs(), 30);
    setup::init_with(&config, &RootIs::Here(root_dir), mode)
        .await
        .unwrap();
    let stopping = tokio_util::sync::CancellationToken::new();
    let running = skans_control::start(config.clone(), stopping.clone())
        .await
        .unwrap();
    let mut plane = Plane::of(dir, config, running, stopping);
    let (mode, until) = in_force(&plane).await;
    assert_eq!(mode, "dry-run");
    is_in_thirty_days(until);
    plane.stop().await;
}

/// Makes of a store what the release before, which knew no policies, would have left behind.
fn forget_policies(config: &skans_control::config::Config) -> Result<(), Error> {
    let path = SqliteConfig::new(config.sqlite()).path;
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "DROP TABLE logs; DROP TABLE log_tiles; DROP TABLE log_bundles; DROP TABLE spools;
             DROP INDEX events_kind; DROP INDEX events_actor; DROP INDEX events_object;
             DROP TABLE rollout_differences; DROP TABLE rollout_reports; DROP TABLE rollouts;
             DROP TABLE incident_steps; DROP TABLE incident_keys; DROP TABLE incidents; DROP TABLE shown; DROP TABLE suspicions;
             DROP TABLE foreign_bundles; DROP TABLE policy_sets; ALTER TABLE agents DROP COLUMN policy_epoch; ALTER TABLE agents DROP COLUMN policy_n;
             DELETE FROM meta WHERE name = 'policy_version'; DELETE FROM schema_version WHERE version >= 3;",
        )
        .unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_release_without_policies_gets_its_first_one_as_a_dry_run() {
    let mut plane = Plane::new().await;
    plane.stop().await;
    forget_policies(&plane.config).unwrap();
    plane.start().await;
    let (mode, until) = in_force(&plane).await;
    assert_eq!(mode, "dry-run");
    is_in_thirty_days(until);
    // Once: also after a restart.
    plane.stop().await;
    plane.start().await;
    assert_eq!(in_force(&plane).await, ("dry-run".into(), until));
    assert_eq!(
        plane.get("/v1/policies").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    plane.stop().await;
}

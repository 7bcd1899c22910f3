//! A whole control plane, with real TLS and a real store, asked as agents, people and strangers ask it. One file is one
//! promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

/// PostgreSQL as the store tests start it.
#[path = "../../../store/tests/conformance/harness/cluster.rs"]
#[allow(dead_code)]
mod cluster;
mod replicas;
#[path = "../../../store/tests/conformance/harness/root.rs"]
mod small_disk;
mod support;

mod a_full_disk_takes_revocations_still;
mod a_restored_database_waits;
mod a_rollout_outlives_its_writer;
mod a_set_is_rolled_out_in_steps;
mod a_set_takes_two_people;
mod a_token_lets_one_agent_in;
mod an_agent_gets_what_is_registered;
mod any_input_gets_a_typed_answer;
mod authorities_are_replaced;
mod contracts_are_what_was_agreed_on;
mod every_method_against_every_role;
mod foreign_certificates_enrol_where_registered;
mod its_own_bundle_is_served_to_other_domains;
mod keys_that_may_be_stolen_are_replaced;
mod nobody_is_surprised_by_the_first_set;
mod pitfalls;
mod replicas_serve_as_one;
mod replicas_share_what_they_know;
mod revocation_lists_cover_every_issuer;
mod revocation_reaches_every_watcher;
mod the_log_can_be_checked;
mod what_agents_tell_is_in_the_log_once;
mod what_is_old_is_forgotten;
mod what_is_wrong_is_refused;

//! One module = one promise to an operator, named as the promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod a_changed_log_is_found;
mod a_collector_gets_the_log;
mod a_control_plane_that_was_off_for_long_comes_back;
mod a_full_disk_loses_no_event_unsaid;
mod a_gateway_that_answers_is_there;
mod a_key_is_given_up_unseen;
mod a_link_outlives_its_certificates;
mod a_link_outlives_its_connection;
mod a_local_stranger_gets_nowhere;
mod a_name_must_be_in_the_certificate;
mod a_partition_heals;
mod a_peer_may_do_what_policy_allows;
mod a_peer_takes_no_more_than_its_share;
mod a_policy_change_cuts_exactly_that;
mod a_process_that_does_not_take_over_changes_nothing;
mod a_refused_call_leaves_nothing_behind;
mod a_refused_node_leaves_the_others_whole;
mod a_reload_keeps_links;
mod a_restarted_node_rejoins;
mod a_restored_control_plane_is_refused_until_it_is_recovered;
mod a_rewritten_log_is_caught_by_agents;
mod a_rewritten_log_is_caught_by_its_witness;
mod a_session_is_its_owners_alone;
mod a_set_that_breaks_good_traffic_is_rolled_back;
mod a_stolen_key_is_useless_within_seconds;
mod a_wrong_configuration_is_explained;
mod agents_live_on_the_control_plane;
mod agents_of_kubernetes_need_no_token;
mod an_agent_drains_and_comes_back;
mod an_agent_is_replaced_unseen;
mod an_agents_events_reach_the_log_once;
mod an_export_is_all_that_passes_between_clusters;
mod authorities_are_replaced_under_traffic;
mod bundles_come_from_nobody_but_who_publishes_them;
mod capabilities_are_withheld_by_policy;
mod certificates_are_renewed_unseen;
mod clusters_may_have_the_same_addresses;
mod clusters_meet_by_their_control_planes;
mod every_link_can_be_re_authenticated;
mod families_and_names_of_all_kinds;
mod foreign_roots_arrive_before_they_are_used;
mod garbage_hurts_nobody;
mod gateways_take_certificates_from_files;
mod idle_strangers_slow_nobody;
mod live_links_outlive_their_certificates;
mod metrics_say_what_happened;
mod native_nodes_use_what_is_renewed;
mod networks_let_through_what_links_need;
mod no_acknowledged_event_is_lost;
mod no_writing_gets_past_the_policy;
mod nobody_speaks_for_another_cluster;
mod nodes_notice_no_passing_fault;
mod nothing_but_tls_leaves_a_host;
mod one_request_is_followed_through_both_logs;
mod only_our_certificates_open_a_link;
mod pitfalls;
mod policy_sets_only_go_forward;
mod rabbitmq_forms_a_cluster;
mod rabbitmq_lives_under_its_role;
mod ready_made_roles;
mod releases_run_unedited;
mod replicas_issue_nothing_twice_and_lose_nothing;
mod revocation_reaches_live_links;
mod services_have_bounds;
mod services_keep_to_the_same_rules;
mod services_ride_along;
mod simultaneous_connects_all_succeed;
mod the_gateway_page_is_true;
mod the_log_leaves_and_is_checked_elsewhere;
mod the_operators_page_is_true;
mod the_policy_page_is_true;
mod the_services_page_is_true;
mod the_traces_page_is_true;
mod three_nodes_three_cookies;
mod tools_work_unedited;
mod what_breaks_between_clusters_widens_nothing;
mod what_was_learned_is_enough_and_no_more;
mod who_cannot_be_reached_is_not_waited_for;
mod who_was_lost_comes_back;
mod without_its_log_nothing_changes;
mod workloads_get_their_own_certificate;

#[path = "../harness/asker.rs"]
mod asker;
#[allow(dead_code, reason = "shared with the soak")]
#[path = "../harness/delay.rs"]
mod delay;
#[macro_use]
#[path = "../harness/between.rs"]
mod between;
#[path = "../harness/by_hand.rs"]
mod by_hand;
#[path = "../harness/clusters.rs"]
mod clusters;
#[path = "../harness/collector.rs"]
mod collector;
#[path = "../harness/forwarder.rs"]
mod forwarder;
#[path = "../harness/guarded.rs"]
mod guarded;
#[path = "../harness/hostile.rs"]
mod hostile;
#[allow(dead_code, reason = "shared with the tests of the control plane")]
#[path = "../../crates/control/tests/support/kubernetes.rs"]
mod kubernetes;
#[path = "../harness/load.rs"]
mod load;
#[path = "../harness/netns.rs"]
mod netns;
#[path = "../harness/pcap.rs"]
mod pcap;
#[path = "../harness/plane.rs"]
mod plane;
#[allow(dead_code, reason = "shared with the tests of the control plane")]
#[path = "../../crates/control/tests/api/support.rs"]
mod plane_client;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../../crates/store/tests/conformance/harness/cluster.rs"]
mod postgres;
#[path = "../harness/root.rs"]
mod root;
#[path = "../harness/services.rs"]
mod services;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../../crates/store/tests/conformance/harness/root.rs"]
mod small_disk;

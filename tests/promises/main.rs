//! One module = one promise to an operator, named as the promise.

mod a_refused_node_leaves_the_others_whole;
mod a_reload_keeps_links;
mod a_restarted_node_rejoins;
mod an_agent_drains_and_comes_back;
mod families_and_names_of_all_kinds;
mod metrics_say_what_happened;
mod only_our_certificates_open_a_link;
mod simultaneous_connects_all_succeed;
mod three_nodes_three_cookies;

#[path = "../harness/hostile.rs"]
mod hostile;
#[path = "../harness/root.rs"]
mod root;

//! A node that is a member of the cluster, with a certificate and all, may do what the policy permits, message by message. What
//! owns a node is refused with an answer, and told; its harmless neighbour works.
//!
//! Once with both agents deciding, and once with a sender whose own agent lets everything through.

use skans_promises::attacks::sets;

#[tokio::test]
async fn what_owns_a_node_is_refused_by_the_set_to_begin_with() {
    sets::by_the_set_to_begin_with(None, None).await.unwrap();
}

/// Whoever owns a host owns its agent: the one beside the receiver decides as well.
#[tokio::test]
async fn it_is_refused_as_well_if_the_agent_beside_the_sender_is_lost() {
    sets::by_the_agent_beside_the_receiver(None, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_of_one_server_may_ask_that_one_and_nobody_else() {
    sets::by_a_set_for_one_server(None, None).await.unwrap();
}

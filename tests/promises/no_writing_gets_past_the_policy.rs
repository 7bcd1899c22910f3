//! However a message is written, what it asks for is known and refused: cut into fragments of any size, its atoms from the
//! cache, from slots that were another's, in old encodings, its lists in pieces, in each form of its operation, by name and
//! by pid. The peer is a member of the cluster in every other respect, and no node: it says what no node would.

use crate::by_hand::refused;

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_beside_the_receiver_refuses_all_of_it() {
    refused::by_the_agent_beside_the_receiver(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_agents_together_refuse_all_of_it() {
    refused::by_both_agents(None).await;
}

/// What the two tests above say means something.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_refuses_it_all_of_it_is_done() {
    refused::by_nobody(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_pid_reaches_nobody() {
    refused::guesses(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_negotiated_is_refused_whatever_is_permitted() {
    refused::not_negotiated(None).await;
}

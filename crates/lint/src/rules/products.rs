//! Rules over products that run on Erlang, one file for each. What is true of all nodes is elsewhere.

pub(super) mod ejabberd;
pub(super) mod emqx;
pub(super) mod rabbitmq;

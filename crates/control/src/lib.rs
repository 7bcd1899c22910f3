//! The control plane: enrolment, issuing, revocation, delivery.

pub mod kubernetes;

//! The control plane: enrolment, issuing, revocation, delivery.

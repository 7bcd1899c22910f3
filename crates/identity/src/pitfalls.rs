//! Mistakes that others made, each with the test that this crate does not make it. The numbers are those by which the
//! project counts them; what needs sockets, stores or several processes is tried elsewhere.

mod p01_a_request_is_not_trusted;
mod p03_serials_never_repeat;
mod p04_trust_domains_are_not_confused;
mod p05_nothing_old_is_taken_for_new;
mod p10_time_is_not_trusted;

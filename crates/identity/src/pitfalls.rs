//! Mistakes that others made, each with the test that this crate does not make it. The numbers are those by which the
//! project counts them; what needs sockets, stores or several processes is tried elsewhere.

mod pitfall_10_time_is_not_trusted;
mod pitfall_1_a_request_is_not_trusted;
mod pitfall_3_serials_never_repeat;
mod pitfall_4_trust_domains_are_not_confused;
mod pitfall_5_nothing_old_is_taken_for_new;

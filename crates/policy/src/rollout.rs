//! How one set takes the place of another, in steps: what a candidate is to the set in force, which agents get it first, what
//! comes next, and what is left of it when it is taken back (docs/decisions/0025). No clock, no store, no network.

mod cohort;
mod course;
mod kept;
mod meaning;
mod reach;
mod relation;

pub use cohort::{Cohort, Cohorts, MAX_COHORTS};
pub use course::{
    Facts, Found, MAX_TIME, MAX_TRIGGER, MIN_TRIGGER, Next, Plan, Report, Stage, Why, next,
};
pub use kept::{Unprovable, going_back, with_forbids, with_forbids_of};
pub use reach::reach;
pub use relation::{Change, Related, Relation, Way, relate};

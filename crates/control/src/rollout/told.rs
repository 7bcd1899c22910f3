//! What agents tell of a candidate. Each speaks of what it sees, and may lie: it is taken as far as it could be true, and weighed later.

use std::collections::HashMap;
use std::time::Instant;

use skans_api::v1;
use skans_api::v1::rollout_report::Verdict;
use skans_policy::Action;
use skans_store::certificates::Which;
use skans_store::rollouts::{self, Difference, Report};
use skans_store::{Tx, certificates};

use super::{UnderWay, word};
use crate::caller::sha256;
use crate::clock;
use crate::error::Error;
use crate::state::Control;
use skans_policy::rollout::Stage;

/// Differences in one report.
const MAX_DIFFERENCES: usize = 256;
/// Longest resource, in bytes: a function, whose two atoms have 255 characters each, is cut only if it is of the longest.
const MAX_RESOURCE: usize = 1024;
/// Most decisions that one report counts, and of one difference: an agent that carries a million messages a second has ten
/// million in 10 s, a hundred times that is nobody's.
const MAX_COUNT: u64 = 1_000_000_000;

impl Control {
    /// Takes in what the agent of a host tells.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what the contract does not allow; those of the store.
    pub(crate) async fn rollout_told(
        &self,
        agent: &str,
        host: &str,
        report: v1::RolloutReport,
    ) -> Result<(), Error> {
        if report.differences.len() > MAX_DIFFERENCES {
            return Err(Error::Invalid(format!(
                "rollout: found {} differences, wanted at most {MAX_DIFFERENCES}",
                report.differences.len()
            )));
        }
        let news = self.news.borrow().clone();
        let Some(under_way) = &news.rollout else {
            return Ok(());
        };
        // Late ones, of a candidate or a stage before.
        let Some(stage) = stage_of(under_way, host, &report) else {
            return Ok(());
        };
        if report.epoch != news.epoch || !self.reports.take(agent.to_owned(), 1, Instant::now()) {
            return Ok(());
        }
        let told = Report {
            stage: stage.clone(),
            agent: agent.to_owned(),
            decisions: report.permitted.min(MAX_COUNT),
            unlisted: report.unlisted.min(MAX_COUNT),
            seen: clock::seconds(),
        };
        let differences = report.differences.into_iter();
        let differences: Vec<_> = differences
            .filter_map(|one| difference(one, &stage, agent))
            .collect();
        let (id, n) = (under_way.row.id, under_way.row.n);
        let written = self.store.try_write(move |tx| {
            let now = rollouts::under_way(tx)?;
            if now.is_none_or(|now| (now.id, now.n) != (id, n)) {
                return Ok(());
            }
            let mut told = told.clone();
            let known = known(tx, &differences, &mut told)?;
            rollouts::tell(tx, id, &told, &known)?;
            Ok::<_, Error>(())
        });
        written.await?;
        self.rollouts.notify_one();
        Ok(())
    }
}

/// The stage that a report counts for: the present one for agents of a cohort that say that the candidate decides there, the dry run for those that
/// only compare.
fn stage_of(under_way: &UnderWay, host: &str, report: &v1::RolloutReport) -> Option<String> {
    if report.n != under_way.row.n {
        return None;
    }
    let cohort = u32::from(under_way.cohort_of(host));
    match report.stage {
        0 => Some(word(Stage::DryRun)),
        told if told == cohort => Some(under_way.row.stage.clone()),
        _ => None,
    }
}

/// Principals that no certificate of ours names could be made up, one for each message: they are counted and nothing follows from them.
fn known(
    tx: &mut Tx<'_>,
    differences: &[Difference],
    told: &mut Report,
) -> Result<Vec<Difference>, Error> {
    let mut names = HashMap::<&str, bool>::new();
    let mut kept = Vec::new();
    let now = clock::seconds();
    for one in differences {
        let known = match names.get(one.principal.as_str()) {
            Some(known) => *known,
            None => {
                let which = Which::SpiffeId(&one.principal);
                let known = certificates::valid_until(tx, &which, now)?.is_some();
                names.insert(&one.principal, known);
                known
            }
        };
        if known {
            kept.push(one.clone());
        } else {
            told.unlisted = told.unlisted.saturating_add(one.times);
        }
    }
    Ok(kept)
}

/// `None` for what makes no sense; from a newer agent, perhaps.
fn difference(
    told: v1::rollout_report::Difference,
    stage: &str,
    agent: &str,
) -> Option<Difference> {
    let (active, candidate) = (verdict(told.active())?, verdict(told.candidate())?);
    let is_id = |id: &str| {
        id.starts_with("spiffe://") && id.len() <= 2048 && !id.contains(char::is_control)
    };
    if !is_id(&told.principal) || !is_id(&told.target) || told.count == 0 || active == candidate {
        return None;
    }
    let action = Action::ALL.iter().find(|one| one.as_str() == told.action)?;
    let resource: String = told.resource.replace(char::is_control, "?");
    let mut end = resource.len().min(MAX_RESOURCE);
    while !resource.is_char_boundary(end) {
        end -= 1;
    }
    let resource = resource.get(..end).unwrap_or_default().to_owned();
    let mut whole = Vec::new();
    for part in [&told.principal, &told.target, &told.action, &resource] {
        whole.extend_from_slice(&(part.len() as u64).to_be_bytes());
        whole.extend_from_slice(part.as_bytes());
    }
    whole.extend_from_slice(active.as_bytes());
    whole.push(0);
    whole.extend_from_slice(candidate.as_bytes());
    whole.push(u8::from(told.forbidden));
    Some(Difference {
        stage: stage.to_owned(),
        agent: agent.to_owned(),
        hash: sha256(&whole),
        principal: told.principal,
        target: told.target,
        action: action.as_str().to_owned(),
        resource,
        active: active.to_owned(),
        candidate: candidate.to_owned(),
        forbidden: told.forbidden,
        accepted: false,
        times: told.count.min(MAX_COUNT),
    })
}

const fn verdict(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Unspecified => None,
        Verdict::Permit => Some("permit"),
        Verdict::Deny => Some("deny"),
        Verdict::WouldDeny => Some("would-deny"),
    }
}

//! Events: what was changed, by whom, in the words of OCSF, written in the transaction of the change.
//!
//! How they are kept is the store's; what they are of is said where they are told.

use serde_json::{Value, json};
use skans_store::Tx;
use skans_store::events::{NewEvent, append};

use crate::clock;

/// What happened. Words never change meaning: programs filter by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ControlInitialised,
    ControlRecovered,
    BackupTaken,
    TokenCreated,
    TokenRevoked,
    TokenRefused,
    RegistrationCreated,
    RegistrationRemoved,
    AgentEnrolled,
    PersonEnrolled,
    CertificateIssued,
    IssueRefused,
    Denied,
    AllowedAgain,
    AuthorityPrepared,
    AuthorityActivated,
    AuthorityTainted,
    AuthorityRevoked,
    AuthorityExpired,
    BundlePublished,
    RoleGranted,
    RoleWithdrawn,
    StrangeCertificate,
    SecondWanted,
    SecondGiven,
    AuthorityRequested,
    PolicyProposed,
    PolicyActivated,
    PolicyWithdrawn,
    PolicyForbidden,
    RolloutStarted,
    RolloutAdvanced,
    RolloutHeld,
    RolloutRolledBack,
    RolloutEnded,
    ForeignBundle,
    ForeignBundleRefused,
    Distrusted,
    TrustedAnew,
    IncidentOpened,
    IncidentStep,
    Suspected,
    LogPruned,
    LogRefused,
    AgentGap,
}

impl Kind {
    /// Word, OCSF class, OCSF activity, OCSF severity (1 informational to 5 critical).
    const fn parts(self) -> (&'static str, u16, u8, u8) {
        match self {
            Self::ControlInitialised => ("control.initialised", 6002, 1, 1),
            Self::ControlRecovered => ("control.recovered", 6002, 99, 4),
            Self::BackupTaken => ("backup.taken", 6002, 99, 3),
            Self::TokenCreated => ("token.created", 3004, 1, 1),
            Self::TokenRevoked => ("token.revoked", 3004, 4, 1),
            Self::TokenRefused => ("token.refused", 3002, 1, 3),
            Self::RegistrationCreated => ("registration.created", 3004, 1, 1),
            Self::RegistrationRemoved => ("registration.removed", 3004, 4, 1),
            Self::AgentEnrolled => ("agent.enrolled", 3004, 6, 1),
            Self::PersonEnrolled => ("person.enrolled", 3004, 6, 2),
            Self::CertificateIssued => ("certificate.issued", 3004, 1, 1),
            Self::IssueRefused => ("certificate.refused", 3004, 99, 3),
            Self::Denied => ("identity.denied", 7001, 2, 4),
            Self::AllowedAgain => ("identity.allowed", 7001, 3, 3),
            Self::AuthorityPrepared => ("authority.prepared", 3004, 1, 2),
            Self::AuthorityActivated => ("authority.activated", 3004, 8, 2),
            Self::AuthorityTainted => ("authority.tainted", 3004, 9, 5),
            Self::AuthorityRevoked => ("authority.revoked", 3004, 9, 5),
            Self::AuthorityExpired => ("authority.expired", 3004, 9, 1),
            Self::BundlePublished => ("bundle.published", 3004, 3, 2),
            Self::RoleGranted => ("role.granted", 3005, 1, 3),
            Self::RoleWithdrawn => ("role.withdrawn", 3005, 2, 3),
            Self::StrangeCertificate => ("certificate.strange", 2004, 1, 5),
            Self::SecondWanted => ("approval.wanted", 3005, 99, 3),
            Self::SecondGiven => ("approval.given", 3005, 99, 3),
            Self::AuthorityRequested => ("authority.requested", 3004, 1, 2),
            Self::PolicyProposed => ("policy.proposed", 3004, 1, 2),
            Self::PolicyActivated => ("policy.activated", 3004, 8, 3),
            Self::PolicyWithdrawn => ("policy.withdrawn", 3004, 4, 1),
            Self::PolicyForbidden => ("policy.forbidden", 3004, 8, 4),
            Self::RolloutStarted => ("policy.rollout.started", 3004, 99, 3),
            Self::RolloutAdvanced => ("policy.rollout.advanced", 3004, 99, 2),
            // Somebody has to look: nothing goes on by itself.
            Self::RolloutHeld => ("policy.rollout.held", 3004, 99, 5),
            Self::RolloutRolledBack => ("policy.rollout.rolled_back", 3004, 99, 5),
            Self::RolloutEnded => ("policy.rollout.ended", 3004, 99, 2),
            Self::ForeignBundle => ("bundle.foreign", 3004, 3, 2),
            Self::ForeignBundleRefused => ("bundle.foreign.refused", 3004, 99, 4),
            Self::Distrusted => ("domain.distrusted", 7001, 2, 4),
            Self::TrustedAnew => ("domain.forgotten", 7001, 3, 3),
            Self::IncidentOpened => ("incident.opened", 2005, 1, 5),
            Self::IncidentStep => ("incident.updated", 2005, 2, 4),
            Self::Suspected => ("identity.suspected", 2004, 1, 3),
            Self::LogPruned => ("log.pruned", 6002, 99, 2),
            Self::LogRefused => ("log.refused", 2004, 1, 5),
            Self::AgentGap => ("agent.events.missing", 6002, 99, 4),
        }
    }
}

/// Tells of a change, inside its transaction.
///
/// # Errors
/// Those of the store: then the change is not made either.
pub(crate) fn tell(
    tx: &mut Tx<'_>,
    kind: Kind,
    actor: &str,
    object: &str,
    details: &Value,
) -> skans_store::Result<()> {
    tell_of(tx, kind, actor, object, details, None)
}

/// The same, with what joins it to other events: of an incident, `incident-` and its number.
///
/// # Errors
/// Those of the store: then the change is not made either.
pub(crate) fn tell_of(
    tx: &mut Tx<'_>,
    kind: Kind,
    actor: &str,
    object: &str,
    details: &Value,
    correlation: Option<&str>,
) -> skans_store::Result<()> {
    let (word, class, activity, severity) = kind.parts();
    let time = clock::milliseconds();
    let mut body = json!({
        "time": time,
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "type_uid": u32::from(class) * 100 + u32::from(activity),
        "severity_id": severity,
        "metadata": {
            "version": "1.9.0",
            "event_code": word,
            "product": { "name": "Skans", "version": env!("CARGO_PKG_VERSION") },
        },
        "actor": { "user": { "name": actor } },
        "entity": { "name": object },
        "unmapped": details,
    });
    if let Some(correlation) = correlation {
        body["metadata"]["correlation_uid"] = correlation.into();
    }
    append(
        tx,
        &NewEvent {
            time_ms: time,
            kind: word,
            actor,
            object,
            body: &body.to_string(),
        },
    )
}

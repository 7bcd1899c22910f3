//! The tables, as steps that only add. No statement that reads or writes rows.
//!
//! `{int}`, `{text}`, `{bytes}` and `{strict}` stand for what the two databases call differently. Texts are compared by
//! their bytes in both, so that pages have the same order.

use crate::error::{Error, Result};
use crate::tx::{Engine, Kind};
use crate::value::Value;

/// One step.
struct Migration {
    /// The schema after it.
    version: u64,
    /// The oldest schema whose releases may still use the database after this step: it only adds, so that is the one before.
    /// A step that takes something away comes a release later, and says so here.
    serves: u64,
    /// The statements.
    statements: &'static [&'static str],
}

/// Every step, in order.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        serves: 1,
        statements: FIRST,
    },
    Migration {
        version: 2,
        serves: 1,
        statements: SECOND,
    },
    Migration {
        version: 3,
        serves: 2,
        statements: THIRD,
    },
    Migration {
        version: 4,
        serves: 3,
        statements: FOURTH,
    },
    Migration {
        version: 5,
        serves: 4,
        statements: FIFTH,
    },
    Migration {
        version: 6,
        serves: 5,
        statements: SIXTH,
    },
];

/// The newest schema that this release knows.
pub const SCHEMA_VERSION: u64 = 6;

/// Every table but `schema_version`, in an order in which rows can be put back: what is referred to comes first.
pub(crate) const TABLES: &[Table] = &[
    Table::new("meta", &["name", "text_value", "number_value"]),
    Table::new("writer", &["id", "epoch", "holder", "seen"]),
    Table::new(
        "authorities",
        &[
            "id",
            "kind",
            "slot",
            "state",
            "certificate",
            "sealed_key",
            "spki",
            "not_before",
            "not_after",
            "created",
            "changed",
        ],
    ),
    Table::new("bundles", &["version", "time"]),
    Table::new("bundle_roots", &["version", "position", "der"]),
    Table::new("deny_tail", &["id", "seq", "hash", "floor"]),
    Table::new(
        "deny",
        &["seq", "hash", "time", "until", "kind", "target", "entry"],
    ),
    Table::new(
        "registrations",
        &[
            "id",
            "name",
            "evidence",
            "subject",
            "patterns",
            "namespace",
            "workload",
            "cli",
            "leaf_life",
            "disabled",
            "owner",
            "created",
            "changed",
        ],
    ),
    Table::new(
        "tokens",
        &[
            "id",
            "secret_hash",
            "registration",
            "owner",
            "created",
            "expires",
            "used_at",
            "used_by",
            "result",
            "revoked_at",
        ],
    ),
    Table::new(
        "agents",
        &[
            "id",
            "spiffe_id",
            "registration",
            "host",
            "program_version",
            "enrolled",
            "last_seen",
            "ack_epoch",
            "ack_deny_seq",
            "ack_bundle",
            "ack_at",
            "issuer_spki",
            "policy_epoch",
            "policy_n",
        ],
    ),
    Table::new(
        "certificates",
        &[
            "serial",
            "leaf_hash",
            "spki",
            "spiffe_id",
            "host",
            "issuer_spki",
            "not_before",
            "not_after",
            "agent",
            "owner",
            "issued_at",
            "revoked_at",
            "der",
        ],
    ),
    Table::new(
        "grants",
        &["subject", "role", "scope", "granted_by", "granted_at"],
    ),
    Table::new(
        "events",
        &["seq", "time_ms", "kind", "actor", "object", "body"],
    ),
    Table::new(
        "observed",
        &["leaf_hash", "agent", "first_seen", "last_seen"],
    ),
    Table::new(
        "approvals",
        &["request", "action", "object", "actor", "asked", "expires"],
    ),
    Table::new(
        "authority_requests",
        &["id", "sealed_key", "spki", "actor", "created", "expires"],
    ),
    Table::new(
        "policy_sets",
        &[
            "n",
            "state",
            "name",
            "mode",
            "content",
            "content_hash",
            "schema_hash",
            "signatures",
            "author",
            "proposed",
            "approver",
            "activated",
        ],
    ),
    Table::new("foreign_bundles", &["id", "version", "state"]),
    Table::new(
        "incidents",
        &[
            "id",
            "state",
            "cause",
            "subject",
            "sources",
            "by_person",
            "opened_ms",
        ],
    ),
    Table::new(
        "incident_keys",
        &[
            "incident",
            "spki",
            "spiffe_id",
            "host",
            "deny_seq",
            "renewed_ms",
        ],
    ),
    Table::new(
        "incident_steps",
        &["incident", "n", "time_ms", "kind", "text"],
    ),
    Table::new(
        "shown",
        &[
            "spki", "address", "reporter", "session", "owner", "asked", "answer",
        ],
    ),
    Table::new(
        "suspicions",
        &["kind", "spiffe_id", "host", "reporter", "time_ms"],
    ),
    Table::new(
        "logs",
        &[
            "epoch",
            "after_seq",
            "last_seq",
            "size",
            "pruned",
            "sealed_key",
            "vkey",
            "signed_size",
            "checkpoint",
            "witnessed_size",
            "witnessed",
            "copied_size",
        ],
    ),
    Table::new("log_tiles", &["epoch", "level", "n", "hashes"]),
    Table::new(
        "log_bundles",
        &["epoch", "n", "last_seq", "min_ms", "max_ms"],
    ),
    Table::new("spools", &["agent", "spool", "taken", "seen"]),
    Table::new(
        "rollouts",
        &[
            "id",
            "n",
            "base",
            "stage",
            "held",
            "emergency",
            "relation",
            "changes",
            "way_back",
            "plan",
            "started_by",
            "started",
            "stage_began_ms",
            "ended",
            "outcome",
            "result",
        ],
    ),
    Table::new(
        "rollout_reports",
        &["rollout", "stage", "agent", "decisions", "unlisted", "seen"],
    ),
    Table::new(
        "rollout_differences",
        &[
            "rollout",
            "stage",
            "agent",
            "hash",
            "principal",
            "target",
            "action",
            "resource",
            "active",
            "candidate",
            "forbidden",
            "accepted",
            "times",
        ],
    ),
];

/// A table, for copying it whole.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
}

impl Table {
    const fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns }
    }

    /// Reads all of it, in the order of its columns.
    pub(crate) fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.columns.join(", "), self.name)
    }

    /// Puts a row into it. `sign` stands before the number of a parameter.
    pub(crate) fn insert(&self, sign: char) -> String {
        let places: Vec<String> = (1..=self.columns.len())
            .map(|number| format!("{sign}{number}"))
            .collect();
        format!(
            "INSERT INTO {} ({}) VALUES ({})",
            self.name,
            self.columns.join(", "),
            places.join(", ")
        )
    }
}

const FIRST: &[&str] = &[
    "CREATE TABLE meta (
        name {text} NOT NULL PRIMARY KEY,
        text_value {text},
        number_value {int}
    ){strict}",
    "CREATE TABLE writer (
        id {int} NOT NULL PRIMARY KEY CHECK (id = 1),
        epoch {int} NOT NULL,
        holder {text} NOT NULL,
        seen {int} NOT NULL
    ){strict}",
    "INSERT INTO writer (id, epoch, holder, seen) VALUES (1, 0, '', 0)",
    "CREATE TABLE authorities (
        id {text} NOT NULL PRIMARY KEY,
        kind {text} NOT NULL CHECK (kind IN ('root', 'issuer')),
        slot {text} NOT NULL CHECK (slot IN ('a', 'b')),
        state {text} NOT NULL CHECK (state IN ('prepared', 'active', 'retired', 'tainted', 'revoked', 'expired')),
        certificate {bytes} NOT NULL,
        sealed_key {bytes},
        spki {bytes} NOT NULL UNIQUE,
        not_before {int} NOT NULL,
        not_after {int} NOT NULL,
        created {int} NOT NULL,
        changed {int} NOT NULL
    ){strict}",
    "CREATE UNIQUE INDEX authorities_active ON authorities (kind) WHERE state = 'active'",
    "CREATE UNIQUE INDEX authorities_slot ON authorities (kind, slot)
        WHERE state IN ('prepared', 'active', 'retired', 'tainted')",
    "CREATE TABLE bundles (
        version {int} NOT NULL PRIMARY KEY,
        time {int} NOT NULL
    ){strict}",
    "CREATE TABLE bundle_roots (
        version {int} NOT NULL REFERENCES bundles (version) ON DELETE CASCADE,
        position {int} NOT NULL,
        der {bytes} NOT NULL,
        PRIMARY KEY (version, position)
    ){strict}",
    "CREATE TABLE deny_tail (
        id {int} NOT NULL PRIMARY KEY CHECK (id = 1),
        seq {int} NOT NULL,
        hash {bytes} NOT NULL,
        floor {int} NOT NULL
    ){strict}",
    "CREATE TABLE deny (
        seq {int} NOT NULL PRIMARY KEY,
        hash {bytes} NOT NULL,
        time {int} NOT NULL,
        until {int} NOT NULL,
        kind {int} NOT NULL,
        target {text} NOT NULL,
        entry {bytes} NOT NULL
    ){strict}",
    "CREATE INDEX deny_target ON deny (target)",
    "CREATE TABLE registrations (
        id {text} NOT NULL PRIMARY KEY,
        name {text} NOT NULL UNIQUE,
        evidence {text} NOT NULL CHECK (evidence IN ('join_token', 'kubernetes', 'spiffe_id', 'person')),
        subject {text} NOT NULL,
        patterns {text} NOT NULL,
        namespace {text} NOT NULL,
        workload {text} NOT NULL,
        cli {int} NOT NULL,
        leaf_life {int} NOT NULL,
        disabled {int} NOT NULL,
        owner {text} NOT NULL,
        created {int} NOT NULL,
        changed {int} NOT NULL
    ){strict}",
    "CREATE INDEX registrations_subject ON registrations (evidence, subject)",
    "CREATE TABLE tokens (
        id {bytes} NOT NULL PRIMARY KEY,
        secret_hash {bytes} NOT NULL,
        registration {text} NOT NULL REFERENCES registrations (id) ON DELETE CASCADE,
        owner {text} NOT NULL,
        created {int} NOT NULL,
        expires {int} NOT NULL,
        used_at {int},
        used_by {bytes},
        result {bytes},
        revoked_at {int}
    ){strict}",
    "CREATE INDEX tokens_registration ON tokens (registration)",
    "CREATE INDEX tokens_expires ON tokens (expires)",
    "CREATE TABLE agents (
        id {text} NOT NULL PRIMARY KEY,
        spiffe_id {text} NOT NULL UNIQUE,
        registration {text} NOT NULL,
        host {text} NOT NULL,
        program_version {text} NOT NULL,
        enrolled {int} NOT NULL,
        last_seen {int} NOT NULL,
        ack_epoch {int} NOT NULL,
        ack_deny_seq {int} NOT NULL,
        ack_bundle {int} NOT NULL,
        ack_at {int} NOT NULL
    ){strict}",
    "CREATE INDEX agents_last_seen ON agents (last_seen)",
    "CREATE TABLE certificates (
        serial {bytes} NOT NULL PRIMARY KEY,
        leaf_hash {bytes} NOT NULL UNIQUE,
        spki {bytes} NOT NULL,
        spiffe_id {text} NOT NULL,
        host {text} NOT NULL,
        issuer_spki {bytes} NOT NULL,
        not_before {int} NOT NULL,
        not_after {int} NOT NULL,
        agent {text} NOT NULL,
        owner {text} NOT NULL,
        issued_at {int} NOT NULL,
        revoked_at {int},
        der {bytes} NOT NULL
    ){strict}",
    "CREATE INDEX certificates_not_after ON certificates (not_after, serial)",
    "CREATE INDEX certificates_spki ON certificates (spki)",
    "CREATE INDEX certificates_spiffe_id ON certificates (spiffe_id, not_after)",
    "CREATE INDEX certificates_issuer ON certificates (issuer_spki, not_after)",
    "CREATE INDEX certificates_agent ON certificates (agent, not_after)",
    "CREATE TABLE grants (
        subject {text} NOT NULL,
        role {text} NOT NULL,
        scope {text} NOT NULL,
        granted_by {text} NOT NULL,
        granted_at {int} NOT NULL,
        PRIMARY KEY (subject, role, scope)
    ){strict}",
    "CREATE TABLE events (
        seq {serial},
        time_ms {int} NOT NULL,
        kind {text} NOT NULL,
        actor {text} NOT NULL,
        object {text} NOT NULL,
        body {text} NOT NULL
    ){strict}",
    "CREATE TABLE observed (
        leaf_hash {bytes} NOT NULL,
        agent {text} NOT NULL,
        first_seen {int} NOT NULL,
        last_seen {int} NOT NULL,
        PRIMARY KEY (leaf_hash, agent)
    ){strict}",
    "CREATE INDEX observed_agent ON observed (agent)",
    "CREATE INDEX observed_last_seen ON observed (last_seen)",
];

/// What replicas kept to themselves, for all of them: wishes that wait for a second person, keys that wait for an offline
/// root, and by which authority each agent lives.
const SECOND: &[&str] = &[
    "CREATE TABLE approvals (
        request {bytes} NOT NULL PRIMARY KEY,
        action {text} NOT NULL,
        object {text} NOT NULL,
        actor {text} NOT NULL,
        asked {int} NOT NULL,
        expires {int} NOT NULL
    ){strict}",
    "CREATE TABLE authority_requests (
        id {text} NOT NULL PRIMARY KEY,
        sealed_key {bytes} NOT NULL,
        spki {bytes} NOT NULL UNIQUE,
        actor {text} NOT NULL,
        created {int} NOT NULL,
        expires {int} NOT NULL
    ){strict}",
    "ALTER TABLE agents ADD COLUMN issuer_spki {bytes}",
];

/// Policy sets, and which of them each agent has in force.
const THIRD: &[&str] = &[
    "CREATE TABLE policy_sets (
        n {int} NOT NULL PRIMARY KEY,
        state {text} NOT NULL CHECK (state IN ('proposed', 'active', 'superseded', 'withdrawn')),
        name {text} NOT NULL,
        mode {text} NOT NULL,
        content {bytes} NOT NULL,
        content_hash {bytes} NOT NULL,
        schema_hash {bytes} NOT NULL,
        signatures {bytes} NOT NULL,
        author {text} NOT NULL,
        proposed {int} NOT NULL,
        approver {text} NOT NULL,
        activated {int} NOT NULL
    ){strict}",
    "CREATE UNIQUE INDEX policy_sets_active ON policy_sets (state) WHERE state = 'active'",
    "ALTER TABLE agents ADD COLUMN policy_epoch {int}",
    "ALTER TABLE agents ADD COLUMN policy_n {int}",
];

/// What is believed of other trust domains.
const FOURTH: &[&str] = &["CREATE TABLE foreign_bundles (
        id {int} NOT NULL PRIMARY KEY CHECK (id = 1),
        version {int} NOT NULL,
        state {bytes} NOT NULL
    ){strict}"];

/// What was done about keys that may be stolen, and what speaks for it.
const FIFTH: &[&str] = &[
    "CREATE TABLE incidents (
        id {int} NOT NULL PRIMARY KEY,
        state {text} NOT NULL,
        cause {text} NOT NULL,
        subject {text} NOT NULL,
        sources {text} NOT NULL,
        by_person {int} NOT NULL,
        opened_ms {int} NOT NULL
    ){strict}",
    "CREATE INDEX incidents_opened ON incidents (opened_ms)",
    "CREATE TABLE incident_keys (
        incident {int} NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
        spki {bytes} NOT NULL,
        spiffe_id {text} NOT NULL,
        host {text} NOT NULL,
        deny_seq {int} NOT NULL,
        renewed_ms {int} NOT NULL,
        PRIMARY KEY (incident, spki)
    ){strict}",
    "CREATE TABLE incident_steps (
        incident {int} NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
        n {int} NOT NULL,
        time_ms {int} NOT NULL,
        kind {text} NOT NULL,
        text {text} NOT NULL,
        PRIMARY KEY (incident, n)
    ){strict}",
    "CREATE TABLE shown (
        spki {bytes} NOT NULL,
        address {bytes} NOT NULL,
        reporter {text} NOT NULL,
        session {bytes} NOT NULL,
        owner {text} NOT NULL,
        asked {int} NOT NULL,
        answer {int} NOT NULL,
        PRIMARY KEY (spki, address, reporter)
    ){strict}",
    "CREATE INDEX shown_asked ON shown (asked)",
    "CREATE INDEX shown_reporter ON shown (reporter, asked)",
    "CREATE TABLE suspicions (
        kind {text} NOT NULL,
        spiffe_id {text} NOT NULL,
        host {text} NOT NULL,
        reporter {text} NOT NULL,
        time_ms {int} NOT NULL,
        PRIMARY KEY (kind, spiffe_id, host, reporter)
    ){strict}",
    "CREATE INDEX suspicions_time ON suspicions (time_ms)",
];

/// The log over the events: its tiles, and what finds an event in it; up to where agents' events were taken.
const SIXTH: &[&str] = &[
    "CREATE TABLE logs (
        epoch {int} NOT NULL PRIMARY KEY,
        after_seq {int} NOT NULL,
        last_seq {int} NOT NULL,
        size {int} NOT NULL,
        pruned {int} NOT NULL,
        sealed_key {bytes} NOT NULL,
        vkey {text} NOT NULL,
        signed_size {int} NOT NULL,
        checkpoint {text} NOT NULL,
        witnessed_size {int} NOT NULL,
        witnessed {text} NOT NULL,
        copied_size {int} NOT NULL
    ){strict}",
    "CREATE TABLE log_tiles (
        epoch {int} NOT NULL,
        level {int} NOT NULL,
        n {int} NOT NULL,
        hashes {bytes} NOT NULL,
        PRIMARY KEY (epoch, level, n)
    ){strict}",
    "CREATE TABLE log_bundles (
        epoch {int} NOT NULL,
        n {int} NOT NULL,
        last_seq {int} NOT NULL,
        min_ms {int} NOT NULL,
        max_ms {int} NOT NULL,
        PRIMARY KEY (epoch, n)
    ){strict}",
    // Who asks, asks for somebody, something, or a kind, newest first.
    "CREATE INDEX events_kind ON events (kind, seq)",
    "CREATE INDEX events_actor ON events (actor, seq)",
    "CREATE INDEX events_object ON events (object, seq)",
    "CREATE TABLE spools (
        agent {text} NOT NULL,
        spool {bytes} NOT NULL,
        taken {int} NOT NULL,
        seen {int} NOT NULL,
        PRIMARY KEY (agent, spool)
    ){strict}",
    "CREATE INDEX spools_seen ON spools (seen)",
    // How policy sets take each other's place, and what agents tell of it.
    "CREATE TABLE rollouts (
        id {int} NOT NULL PRIMARY KEY,
        n {int} NOT NULL,
        base {int} NOT NULL,
        stage {text} NOT NULL,
        held {text} NOT NULL,
        emergency {int} NOT NULL,
        relation {text} NOT NULL,
        changes {text} NOT NULL,
        way_back {text} NOT NULL,
        plan {text} NOT NULL,
        started_by {text} NOT NULL,
        started {int} NOT NULL,
        stage_began_ms {int} NOT NULL,
        ended {int} NOT NULL,
        outcome {text} NOT NULL,
        result {int} NOT NULL
    ){strict}",
    "CREATE UNIQUE INDEX rollouts_under_way ON rollouts (ended) WHERE ended = 0",
    "CREATE TABLE rollout_reports (
        rollout {int} NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
        stage {text} NOT NULL,
        agent {text} NOT NULL,
        decisions {int} NOT NULL,
        unlisted {int} NOT NULL,
        seen {int} NOT NULL,
        PRIMARY KEY (rollout, stage, agent)
    ){strict}",
    "CREATE TABLE rollout_differences (
        rollout {int} NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
        stage {text} NOT NULL,
        agent {text} NOT NULL,
        hash {bytes} NOT NULL,
        principal {text} NOT NULL,
        target {text} NOT NULL,
        action {text} NOT NULL,
        resource {text} NOT NULL,
        active {text} NOT NULL,
        candidate {text} NOT NULL,
        forbidden {int} NOT NULL,
        accepted {int} NOT NULL,
        times {int} NOT NULL,
        PRIMARY KEY (rollout, stage, agent, hash)
    ){strict}",
];

/// A statement in the words of one database.
fn spoken(statement: &str, kind: Kind) -> String {
    let words: [(&str, &str); 5] = match kind {
        Kind::Sqlite => [
            ("{int}", "INTEGER"),
            ("{text}", "TEXT"),
            ("{bytes}", "BLOB"),
            // AUTOINCREMENT: a number is never given again, also if the newest events were pruned.
            ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{strict}", " STRICT"),
        ],
        Kind::Postgres => [
            ("{int}", "BIGINT"),
            ("{text}", "TEXT COLLATE \"C\""),
            ("{bytes}", "BYTEA"),
            (
                "{serial}",
                "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            ),
            ("{strict}", ""),
        ],
    };
    words.iter().fold(statement.to_owned(), |text, (from, to)| {
        text.replace(from, to)
    })
}

/// Brings a database to the newest schema, inside a transaction that nobody else changes the schema beside. Gives whether
/// there was something to do.
///
/// # Errors
/// [`Error::NewerSchema`] if it has one that serves this release no more.
pub(crate) fn migrate(engine: &mut dyn Engine) -> Result<bool> {
    define(engine, VERSION_TABLE)?;
    let steps = missing(found(engine)?)?;
    for step in steps {
        for statement in step.statements {
            define(engine, statement)?;
        }
        note(engine, step)?;
    }
    Ok(!steps.is_empty())
}

/// Whether a database that has a schema has the newest one.
///
/// # Errors
/// [`Error::NewerSchema`] if it has one that serves this release no more.
pub(crate) fn is_current(engine: &mut dyn Engine) -> Result<bool> {
    Ok(missing(found(engine)?)?.is_empty())
}

/// The schema of a database that has one, if this release may use it, current or not.
///
/// # Errors
/// [`Error::NewerSchema`].
pub(crate) fn usable(engine: &mut dyn Engine) -> Result<u64> {
    let found = found(engine)?;
    missing(found)?;
    Ok(found.version)
}

fn define(engine: &mut dyn Engine, statement: &str) -> Result<()> {
    let statement = spoken(statement, engine.kind());
    engine.define(&statement)
}

/// What a database says about its schema.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Found {
    /// 0 for an empty database.
    version: u64,
    serves: u64,
}

/// Reads it; the table must be there.
fn found(engine: &mut dyn Engine) -> Result<Found> {
    let rows = engine.query(
        "SELECT version, serves FROM schema_version ORDER BY version DESC LIMIT 1",
        &[],
    )?;
    match rows.into_iter().next() {
        None => Ok(Found::default()),
        Some(mut row) => Ok(Found {
            version: row.number()?,
            serves: row.number()?,
        }),
    }
}

/// Says which steps are missing, or why this release must not use the database.
fn missing(found: Found) -> Result<&'static [Migration]> {
    if found.serves > SCHEMA_VERSION {
        return Err(Error::NewerSchema {
            found: found.version,
            wanted: found.serves,
            known: SCHEMA_VERSION,
        });
    }
    let first = MIGRATIONS
        .iter()
        .position(|step| step.version > found.version)
        .unwrap_or(MIGRATIONS.len());
    Ok(MIGRATIONS.get(first..).unwrap_or_default())
}

/// Notes that a step was taken.
fn note(engine: &mut dyn Engine, step: &Migration) -> Result<()> {
    engine
        .execute(
            "INSERT INTO schema_version (version, serves) VALUES ($1, $2)",
            &[
                Value::number("schema", step.version)?,
                Value::number("schema", step.serves)?,
            ],
        )
        .map(drop)
}

/// The table that says which steps were taken. It never changes, so that every release can read it.
const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (
        version {int} NOT NULL PRIMARY KEY,
        serves {int} NOT NULL
    ){strict}";

//! Connections to PostgreSQL: how one is made, and that nothing waits for it without end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Checked, PostgresConfig, check};
use super::engine::{Postgres, said};
use crate::error::{Error, Result};

/// How long the server may take over a statement. Those of this crate take milliseconds.
const STATEMENT: &str = "5s";
/// How long this side waits, which is a little longer: a server that is alive says itself what is wrong. One that is frozen,
/// or a network that swallows everything, says nothing.
const ANSWER: Duration = Duration::from_secs(8);

/// Where to connect to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    checked: Arc<Checked>,
}

impl Target {
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self> {
        Ok(Self {
            checked: Arc::new(check(config)?),
        })
    }

    /// Connects and sets what every connection needs.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Config`] if the server would answer before its disk has it.
    pub(crate) fn connect(&self) -> Result<Postgres> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("cannot start a runtime: {error}")))?;
        let client = wait(&runtime, self.client())??;
        let mut engine = Postgres::new(Link { runtime, client });
        engine.run_text(&format!(
            "SET search_path = skans; SET statement_timeout = '{STATEMENT}'; SET lock_timeout = '3s';
             SET idle_in_transaction_session_timeout = '15s'; SET client_min_messages = warning"
        ))?;
        let durable = engine.show("synchronous_commit")?;
        if durable == "off" {
            return Err(Error::config(
                "store",
                "found synchronous_commit=off at the server, wanted any other value: what is acknowledged must be on its disk",
            ));
        }
        Ok(engine)
    }

    async fn client(&self) -> Result<Client> {
        let Checked { config, tls } = &*self.checked;
        match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(said)?;
                tokio::spawn(connection);
                Ok(client)
            }
            Some(tls) => {
                let tls = MakeRustlsConnect::new(rustls::ClientConfig::clone(tls));
                let (client, connection) = config.connect(tls).await.map_err(said)?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}

/// A connection, and the small runtime that moves its bytes while a thread of the store waits for it.
pub(crate) struct Link {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

impl Link {
    /// Waits for an answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if none comes; the connection is of no use then.
    pub(crate) fn wait<T>(
        &self,
        answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        wait(&self.runtime, answer)?.map_err(said)
    }
}

fn wait<T>(runtime: &Runtime, answer: impl Future<Output = T>) -> Result<T> {
    runtime
        .block_on(async { tokio::time::timeout(ANSWER, answer).await })
        .map_err(|_| Error::Unavailable(format!("no answer within {ANSWER:?}")))
}

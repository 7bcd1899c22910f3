//! The store as everybody above sees it: units of work in, answers out. Nothing here knows a table.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::postgres::{self, PostgresConfig, Target};
use crate::queue::Queue;
use crate::sqlite::{self, SqliteConfig};
use crate::tx::Tx;
use crate::unit::unit;

/// What the control plane remembers. Cheap to clone; all clones are one store.
///
/// Answers come from threads of the store, so that any runtime, or none, can wait for them. A unit of work whose caller has
/// gone is done all the same.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    threads: Mutex<Vec<JoinHandle<()>>>,
    read_only: RwLock<Option<String>>,
    held: RwLock<Option<String>>,
    backend: Backend,
}

/// Where the rows are, for a backup.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(PathBuf),
    Postgres(Target),
}

/// What the threads of a store have in common.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) reads: Arc<Queue>,
    pub(crate) writes: Arc<Queue>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a store in an SQLite file, or makes it. One process at a time can have it.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::File`], [`Error::NewerSchema`], [`Error::Corrupt`]; [`Error::DiskFull`] if a new one has no
    /// space.
    pub async fn sqlite(config: SqliteConfig) -> Result<Self> {
        Self::start(move |shared| sqlite::open(&config, shared)).await
    }

    /// Opens a store in a PostgreSQL database, in the schema `skans`, which it makes if it is not there. Any number of replicas
    /// may share it.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::File`], [`Error::Unavailable`], [`Error::NewerSchema`].
    pub async fn postgres(config: PostgresConfig) -> Result<Self> {
        Self::start(move |shared| postgres::open(&config, shared)).await
    }

    async fn start(
        open: impl FnOnce(&Shared) -> Result<(Backend, Vec<JoinHandle<()>>)> + Send + 'static,
    ) -> Result<Self> {
        let shared = Shared::default();
        let opened = {
            let shared = shared.clone();
            apart("store-open", move || open(&shared)).await
        };
        let (backend, threads) = opened.inspect_err(|_| shared.close())?;
        let store = Self {
            inner: Arc::new(Inner {
                shared,
                threads: Mutex::new(threads),
                read_only: RwLock::new(None),
                held: RwLock::new(None),
                backend,
            }),
        };
        store.notice_restore().await?;
        Ok(store)
    }

    /// Runs a unit of work that changes something, and answers when it is durable.
    ///
    /// It runs inside one transaction: all of it is kept, or nothing. It may run again, so it must not do anything but use
    /// the transaction; what it decides on must come from there, or be moved in.
    ///
    /// # Errors
    /// What the unit said; or the error of the store that kept it from being done. [`Error::InDoubt`] is the only one after
    /// which the change may have been made.
    pub async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.try_write(work).await
    }

    /// Like [`Store::write`], for a unit of work that has errors of its own. They roll back as those of the store do.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn try_write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.not_held()?;
        self.write_though_held(work).await
    }

    /// Like [`Store::try_write`], for what changes are held for ([`Store::hold`]).
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_though_held<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.may_change()?;
        submit(&self.inner.shared.writes, false, work).await
    }

    /// Like [`Store::try_write`], for what must go although the disk is full: revocations, and what forbids. It goes before
    /// everything else, and may use the space in reserve. Whatever else came this way would eat up that space.
    ///
    /// On PostgreSQL it goes first too; its disk is its own.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_urgent<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.may_change()?;
        submit(&self.inner.shared.writes, true, work).await
    }

    /// Runs a unit of work that only reads, on one consistent picture of everything that was durable when it began.
    ///
    /// # Errors
    /// What the unit said; [`Error::ReadOnly`] if it tried to change something.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.try_read(work).await
    }

    /// Like [`Store::read`], for a unit of work that has errors of its own.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn try_read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        submit(&self.inner.shared.reads, false, work).await
    }

    /// Why nothing may be changed, if so: the database was restored and not yet recovered, or [`Store::set_read_only`].
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.inner
            .read_only
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Refuses every change from now on, but [`Store::recover`].
    pub fn set_read_only(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::warn!(reason, "the store is read-only");
        *self
            .inner
            .read_only
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Refuses ordinary changes from now on, or takes them again. Those of [`Store::write_urgent`] are taken as before.
    pub fn hold(&self, reason: Option<String>) {
        *self
            .inner
            .held
            .write()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Whether ordinary changes are taken.
    ///
    /// # Errors
    /// [`Error::Held`].
    pub fn not_held(&self) -> Result<()> {
        self.held()
            .map_or(Ok(()), |reason| Err(Error::Held(reason)))
    }

    /// Why ordinary changes are refused, if so.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        self.inner
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs the one unit of work that may change a read-only store: the one that starts a new epoch
    /// ([`crate::meta::new_epoch`]). Once it is durable, changes are taken again.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn recover<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let done = submit(&self.inner.shared.writes, true, work).await?;
        *self
            .inner
            .read_only
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        // A unit that did not start a new epoch leaves the mark of the restore, and the store as it was.
        self.notice_restore().await?;
        Ok(done)
    }

    /// Takes no more units, does those that wait, and ends the threads. When it returns the files are closed.
    pub async fn close(&self) {
        self.inner.shared.close();
        let threads = std::mem::take(
            &mut *self
                .inner
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let ended = apart("store-close", move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the store had panicked");
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = ended {
            tracing::error!(%error, "the threads of the store were not waited for");
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    fn may_change(&self) -> Result<()> {
        self.read_only()
            .map_or(Ok(()), |reason| Err(Error::ReadOnly(reason)))
    }

    /// A database that was restored says so until it is recovered.
    async fn notice_restore(&self) -> Result<()> {
        if self.read(crate::meta::restored).await? {
            self.set_read_only(
                "older than what agents may know: restored, and not recovered yet (skans control recover --new-epoch)",
            );
        }
        Ok(())
    }
}

impl Shared {
    fn close(&self) {
        self.reads.close();
        self.writes.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The threads end by themselves; nobody waits for them here, where a runtime may be waiting.
        self.shared.close();
    }
}

async fn submit<T, E, F>(queue: &Queue, urgent: bool, work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
{
    let (unit, answer) = unit(work);
    queue.push(unit, urgent)?;
    answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
}

/// Runs something that blocks on a thread of its own: the caller's may belong to a runtime.
pub(crate) fn apart<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> {
    let (sender, receiver) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let _ = sender.send(work());
        });
    async move {
        spawned.map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::Internal(format!("{name} panicked"))))
    }
}

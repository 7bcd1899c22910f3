//! Where a promise opens its stores. Knows the databases, and no promise.

pub mod cluster;
pub mod root;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use skans_store::{PostgresConfig, Result, SqliteConfig, Store};

use cluster::Cluster;

/// A place for one store, which is empty at first and goes away with this.
pub enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(PostgresConfig),
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A database of its own in the server that all tests share.
    pub fn postgres() -> Self {
        Self::on(Cluster::shared())
    }

    pub fn on(cluster: &Cluster) -> Self {
        let name = format!("place{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name);
        Self::Postgres(cluster.config(&name))
    }

    /// The database file.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("store.db"),
            Self::Postgres(_) => panic!("PostgreSQL has no file"),
        }
    }

    /// Where it is, as one text for another process; see [`Place::named`].
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite {}", self.path().display()),
            Self::Postgres(config) => format!("postgres {}", config.url),
        }
    }

    /// Opens a store by the name of its place.
    pub async fn open_named(name: &str) -> Store {
        match name.split_once(' ').unwrap() {
            ("sqlite", path) => Store::sqlite(SqliteConfig::new(path)).await,
            (_, url) => Store::postgres(PostgresConfig::new(url)).await,
        }
        .unwrap()
    }

    /// Runs SQL beside the store, which must be closed.
    pub fn sql(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => rusqlite::Connection::open(self.path())
                .unwrap()
                .execute_batch(sql)
                .unwrap(),
            Self::Postgres(config) => {
                let database = config.url.rsplit_once("dbname=").unwrap().1;
                let sql = format!("SET search_path = skans; {sql}");
                let done = Cluster::shared().sql(database, &sql);
                assert!(done.status.success(), "{done:?}");
            }
        }
    }

    pub async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    /// Two stores over one database, as two replicas have; with SQLite, which one process has alone, twice the same.
    pub async fn open_two(&self) -> [Store; 2] {
        let store = self.open().await;
        match self {
            Self::Sqlite(_) => [store.clone(), store],
            Self::Postgres(_) => [store, self.open().await],
        }
    }

    pub async fn try_open(&self) -> Result<Store> {
        match self {
            Self::Sqlite(_) => {
                let mut config = SqliteConfig::new(self.path());
                config.reserve = 4 << 20;
                Store::sqlite(config).await
            }
            Self::Postgres(config) => Store::postgres(config.clone()).await,
        }
    }
}

/// Makes tests of promises, one for each database.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$promise($crate::harness::Place::sqlite()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    super::$promise($crate::harness::Place::postgres()).await;
                }
            )*
        }
    };
}
pub(crate) use promises;

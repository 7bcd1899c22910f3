//! Where a promise opens its stores. Knows the databases, and no promise.

use std::path::PathBuf;

use skans_store::{Result, SqliteConfig, Store};

/// A place for one store, which is empty at first and goes away with this.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn sqlite() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    /// Opens the store.
    pub async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    /// Two stores over one database, as two replicas have; with SQLite, which one process has alone, twice the same.
    pub async fn open_two(&self) -> [Store; 2] {
        let store = self.open().await;
        [store.clone(), store]
    }

    pub async fn try_open(&self) -> Result<Store> {
        let mut config = SqliteConfig::new(self.path());
        config.reserve = 4 << 20;
        Store::sqlite(config).await
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
    };
}
pub(crate) use promises;

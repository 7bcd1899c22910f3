//! A PostgreSQL that stops, freezes, lies, or is on the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use skans_store::{Error, PostgresConfig, Store, certificates, events};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::harness::Place;
use crate::harness::cluster::{Cluster, Tls};
use crate::make::{NOW, certificate};

async fn issue(store: &Store, number: u64) -> Result<(), Error> {
    store
        .write(move |tx| certificates::insert(tx, &certificate(number)))
        .await
}

/// Which of these are there.
async fn kept(store: &Store, numbers: &[u64]) -> Vec<u64> {
    let numbers = numbers.to_vec();
    store
        .read(move |tx| {
            let mut kept = Vec::new();
            for number in &numbers {
                if certificates::get(tx, &certificate(*number).serial)?.is_some() {
                    kept.push(*number);
                }
            }
            Ok(kept)
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_and_started_loses_nothing() {
    let cluster = Cluster::start();
    let store = Place::on(&cluster).open().await;
    issue(&store, 0).await.unwrap();
    cluster.stop();
    // It says so, within seconds, and that it may be tried again.
    let asked = Instant::now();
    for number in 1..4 {
        let refused = issue(&store, number).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
        assert!(refused.may_retry());
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "{asked:?}");
    // By now nobody waits any more.
    let asked = Instant::now();
    for number in 1..20 {
        issue(&store, number).await.unwrap_err();
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{asked:?}");
    // One that is asked in between waits for it.
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(30);
            while let Err(error) = issue(&store, 4).await {
                assert!(error.may_retry(), "{error}");
                assert!(Instant::now() < deadline, "it never went on");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    cluster.resume();
    waiting.await.unwrap();
    assert_eq!(kept(&store, &[0, 1, 2, 3, 4]).await, [0, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_has_all_that_was_answered() {
    let cluster = Cluster::start();
    let store = Place::on(&cluster).open().await;
    let mut tasks = tokio::task::JoinSet::new();
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for task in 0..8 {
        let (store, said) = (store.clone(), said.clone());
        tasks.spawn(async move {
            let mut answered = Vec::new();
            for number in (0..100_000).filter(|number| number % 8 == task) {
                match issue(&store, number).await {
                    Ok(()) => {
                        answered.push(number);
                        let _ = said.send(());
                    }
                    Err(error) => {
                        assert!(error.may_retry(), "{error}");
                        return answered;
                    }
                }
            }
            panic!("it was never killed");
        });
    }
    for _ in 0..300 {
        heard.recv().await.unwrap();
    }
    // As if the machine had gone: no checkpoint, no goodbye.
    cluster.signal("-QUIT");
    let answered = tasks.join_all().await.concat();
    cluster.stop();
    cluster.resume();
    assert!(answered.len() >= 300);
    assert_eq!(kept(&store, &answered).await, answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_not_waited_for_without_end() {
    let cluster = Cluster::start();
    let store = Place::on(&cluster).open().await;
    issue(&store, 0).await.unwrap();
    let frozen = cluster.freeze();
    let asked = Instant::now();
    let refused = issue(&store, 1).await.unwrap_err();
    assert!(refused.may_retry(), "{refused:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(60),
        "{:?}",
        asked.elapsed()
    );
    drop(frozen);
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = issue(&store, 2).await {
        assert!(error.may_retry(), "{error}");
        assert!(Instant::now() < deadline, "it never went on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kept(&store, &[0, 2]).await, [0, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_before_its_disk_has_it_is_refused() {
    let cluster = Cluster::shared();
    let Place::Postgres(config) = Place::on(cluster) else {
        panic!("not PostgreSQL");
    };
    let database = config.url.rsplit_once("dbname=").unwrap().1;
    let set = cluster.sql(
        "postgres",
        &format!("ALTER DATABASE {database} SET synchronous_commit = off"),
    );
    assert!(set.status.success(), "{set:?}");
    let refused = Store::postgres(config).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Config { problem, .. } if problem.contains("synchronous_commit=off")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_over_tcp_is_reached_by_tls_that_its_own_authority_vouches_for() {
    let tls = Tls::new();
    let cluster = Cluster::start_with_tls(&tls);
    let place = Place::on(&cluster);
    let Place::Postgres(local) = &place else {
        panic!("not PostgreSQL");
    };
    let database = local.url.rsplit_once("dbname=").unwrap().1;
    let mut config = local.clone();
    config.url = format!(
        "host=localhost port={} user=skans dbname={database} sslmode=require",
        cluster.port()
    );
    config.ca_file = Some(tls.authority());
    let store = Store::postgres(config.clone()).await.unwrap();
    issue(&store, 1).await.unwrap();
    let encrypted = cluster.sql(
        database,
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND version = 'TLSv1.3' AND application_name = 'skans'",
    );
    let encrypted = String::from_utf8(encrypted.stdout).unwrap();
    assert_ne!(encrypted.trim(), "0");

    let mut stranger = config.clone();
    let other = Tls::new();
    stranger.ca_file = Some(other.authority());
    let refused = Store::postgres(stranger).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");

    // A certificate for another name.
    let mut other_name = config;
    other_name.url = other_name.url.replace("host=localhost", "host=127.0.0.1");
    let refused = Store::postgres(other_name).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_one_schema() {
    let place = Place::postgres();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let name = place.name();
        tasks.spawn(async move { Place::open_named(&name).await });
    }
    let stores = tasks.join_all().await;
    for (number, store) in (0..).zip(&stores) {
        issue(store, number).await.unwrap();
    }
    let all = stores[0]
        .read(|tx| Ok((certificates::count_valid(tx, NOW)?, events::last(tx)?)))
        .await
        .unwrap();
    assert_eq!(all, (6, 0));
}

/// Stands between the store and the server, and once, when it is told to, takes a commit there and brings no answer back.
async fn between(listener: UnixListener, server: String, cut: Arc<AtomicBool>) {
    while let Ok((store, _)) = listener.accept().await {
        let server = UnixStream::connect(&server).await.unwrap();
        let cut = cut.clone();
        tokio::spawn(async move {
            let (mut from_store, mut to_store) = store.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let back = tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_server, &mut to_store).await;
            });
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = from_store.read(&mut buffer).await {
                let said = &buffer[..count];
                let commits = said.windows(6).any(|part| part == b"COMMIT");
                let is_cut = commits && cut.swap(false, Ordering::SeqCst);
                if is_cut {
                    back.abort();
                }
                if to_server.write_all(said).await.is_err() || is_cut {
                    break;
                }
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_in_doubt_and_says_so() {
    let Place::Postgres(config) = Place::postgres() else {
        panic!("not PostgreSQL");
    };
    let direct = Store::postgres(config.clone()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
    let server = config.url.split([' ', '=']).nth(1).unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let proxy = tokio::spawn(between(
        listener,
        format!("{server}/.s.PGSQL.5432"),
        cut.clone(),
    ));
    let url = config
        .url
        .replace(server, &directory.path().display().to_string());
    let store = Store::postgres(PostgresConfig { url, ..config })
        .await
        .unwrap();
    issue(&store, 1).await.unwrap();
    cut.store(true, Ordering::SeqCst);
    let doubt = issue(&store, 2).await.unwrap_err();
    assert!(matches!(doubt, Error::InDoubt(_)), "{doubt:?}");
    // It was kept: had the unit been run again by itself, this would be an error about a serial number that is known.
    let deadline = Instant::now() + Duration::from_secs(30);
    while kept(&direct, &[1, 2]).await != [1, 2] {
        assert!(Instant::now() < deadline, "the commit never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    issue(&store, 3).await.unwrap();
    proxy.abort();
}

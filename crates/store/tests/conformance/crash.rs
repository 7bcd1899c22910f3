//! A process that dies while it issues: what it answered is there, what it did not answer is there whole or not at all.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use skans_store::tokens::{self, Redeemed};
use skans_store::{Result, Store, Tx, certificates, events, registrations};

use crate::harness::{Place, promises};
use crate::make::{NOW, certificate, registration};

promises![what_was_answered_before_a_kill_is_there_and_nothing_is_half_done,];

/// Names the store to the process that is to die.
const CHILD: &str = "SKANS_STORE_TEST_CHILD";
/// How many answers the parent waits for.
const ANSWERS: usize = 500;

/// How many tokens there are: more than are used until the kill comes.
fn tokens_in(name: &str) -> u64 {
    if name.starts_with("sqlite") {
        20_000
    } else {
        4_000
    }
}

fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

/// Redeems a token for a certificate and tells of it, as enrolment does.
fn enrol(tx: &mut Tx<'_>, number: u64, key: u64) -> Result<bool> {
    let redeemed = tokens::redeem(tx, &id(number), &[1; 32], &certificate(key).spki, NOW)?;
    if !matches!(redeemed, Redeemed::First(_)) {
        return Ok(false);
    }
    certificates::insert(tx, &certificate(key))?;
    tokens::set_result(tx, &id(number), &certificate(key).serial)?;
    events::append(
        tx,
        &events::NewEvent {
            time_ms: NOW * 1000,
            kind: "certificate.issued",
            actor: "unix:0",
            object: &number.to_string(),
            body: "{}",
        },
    )?;
    Ok(true)
}

/// The process that dies: it enrols as fast as it can, and says each number once it is answered.
async fn die(name: &str) {
    let store = Place::open_named(name).await;
    let all = tokens_in(name);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (0..all).filter(|number| number % 32 == task) {
                if store
                    .write(move |tx| enrol(tx, number, number))
                    .await
                    .is_ok()
                {
                    // Past the test runner, which keeps what is printed.
                    let line = format!("answered {number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
}

async fn prepare(store: &Store, all: u64) {
    store
        .write(|tx| registrations::create(tx, &registration("r")))
        .await
        .unwrap();
    for part in 0..all / 1000 {
        store
            .write(move |tx| {
                (part * 1000..(part + 1) * 1000).try_for_each(|number| {
                    tokens::create(
                        tx,
                        &tokens::NewToken {
                            id: &id(number),
                            secret_hash: &[1; 32],
                            registration: "id-r",
                            owner: "",
                            expires: NOW + 3600,
                        },
                        NOW,
                    )
                })
            })
            .await
            .unwrap();
    }
}

async fn what_was_answered_before_a_kill_is_there_and_nothing_is_half_done(place: Place) {
    if let Ok(name) = std::env::var(CHILD) {
        return die(&name).await;
    }
    let all = tokens_in(&place.name());
    let store = place.open().await;
    prepare(&store, all).await;
    store.close().await;

    let this = match place {
        Place::Sqlite(_) => "sqlite",
        Place::Postgres(_) => "postgres",
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!(
            "crash::{this}::what_was_answered_before_a_kill_is_there_and_nothing_is_half_done"
        ))
        .env(CHILD, place.name())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered: Vec<u64> = Vec::new();
    for line in lines {
        // A line that was cut off by the kill was not said.
        let Ok(line) = line else { break };
        let number: Option<u64> = line
            .rsplit_once("answered ")
            .and_then(|(_, number)| number.parse().ok());
        answered.extend(number);
        if answered.len() == ANSWERS {
            // SIGKILL. What the pipe still holds was answered too, and is read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    // The last one may be half a number.
    answered.pop();
    assert!(answered.len() + 1 >= ANSWERS, "{}", answered.len());

    let store = place.open().await;
    // Nobody gets a second certificate for any token.
    let mut used = Vec::new();
    for part in 0..all / 500 {
        let first = store
            .write(move |tx| {
                (part * 500..(part + 1) * 500)
                    .map(|number| Ok((number, enrol(tx, number, number + all)?)))
                    .collect::<Result<Vec<_>>>()
            })
            .await
            .unwrap();
        used.extend(
            first
                .into_iter()
                .filter_map(|(number, now)| (!now).then_some(number)),
        );
    }
    for number in &answered {
        assert!(used.contains(number), "{number} was answered and is free");
    }
    assert!(
        used.len() < usize::try_from(all).unwrap(),
        "it was killed too late to show anything"
    );
    // A token is used exactly if its certificate and its event are there.
    let (issued, told) = store
        .read(move |tx| {
            let issued: Vec<_> = (0..all)
                .map(|number| {
                    Ok((
                        number,
                        certificates::get(tx, &certificate(number).serial)?.is_some(),
                    ))
                })
                .collect::<Result<_>>()?;
            let mut told = Vec::new();
            let mut last = 0;
            loop {
                let page = events::since(tx, last, 1000)?;
                let Some(newest) = page.last() else { break };
                last = newest.seq;
                told.extend(page.into_iter().map(|event| event.object));
            }
            Ok((issued, told))
        })
        .await
        .unwrap();
    let issued: Vec<_> = issued
        .into_iter()
        .filter_map(|(number, there)| there.then_some(number))
        .collect();
    assert_eq!(issued, used);
    let all = usize::try_from(all).unwrap();
    let mut numbers: Vec<u64> = told.iter().map(|object| object.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((told.len(), numbers.len()), (all, all));
    store.close().await;
}

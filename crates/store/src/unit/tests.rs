use super::*;
use crate::tx::Kind;
use crate::value::{Row, Value};

/// A database that refuses the statement "bad", and remembers what it was told.
#[derive(Default)]
struct Fake {
    told: Vec<&'static str>,
}

impl Engine for Fake {
    fn execute(&mut self, sql: &'static str, _: &[Value<'_>]) -> Result<u64> {
        self.told.push(sql);
        if sql == "bad" {
            return Err(Error::Contention(1));
        }
        Ok(1)
    }

    fn query(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.execute(sql, values).map(|_| Vec::new())
    }

    fn order_events(&mut self) -> Result<()> {
        self.told.push("order");
        Ok(())
    }

    fn define(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn kind(&self) -> Kind {
        Kind::Sqlite
    }
}

fn answer_of<T>(mut receiver: oneshot::Receiver<Result<T>>) -> Result<T> {
    receiver.try_recv().unwrap()
}

#[test]
fn a_unit_that_swallows_an_error_of_the_database_is_not_kept() {
    let mut fake = Fake::default();
    let (mut unit, answer) = unit::<_, Error, _>(|tx| {
        let _ = tx.execute("bad", &[]);
        // PostgreSQL would refuse this one, so nobody may count on it.
        let _ = tx.execute("good", &[]);
        Ok(())
    });
    let ran = unit.run(&mut fake);
    assert!(matches!(ran, Ran::Failed(Error::Contention(1))), "{ran:?}");
    assert_eq!(fake.told, ["bad"]);
    unit.refuse(Error::Contention(1));
    assert!(matches!(answer_of(answer), Err(Error::Contention(1))));
}

#[test]
fn a_unit_that_runs_again_starts_afresh() {
    let mut fake = Fake::default();
    let mut runs = 0;
    let (mut unit, answer) = unit::<_, Error, _>(move |tx| {
        runs += 1;
        crate::events::append(
            tx,
            &crate::events::NewEvent {
                time_ms: 1,
                kind: "k",
                actor: "a",
                object: "",
                body: "{}",
            },
        )?;
        if runs == 1 {
            tx.execute("bad", &[])?;
        }
        Ok(runs)
    });
    assert!(matches!(unit.run(&mut fake), Ran::Failed(_)));
    // The event of the first run went with it.
    assert!(matches!(unit.run(&mut fake), Ran::Keep(events) if events.len() == 1));
    unit.answer();
    assert_eq!(answer_of(answer).unwrap(), 2);
}

//! How much is looked at, counted in tests: what grows with the square of what is given shows in numbers that are the same
//! on every machine. Nothing of it is in what is built otherwise.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// One look at a node of YAML, or at whether two objects are near each other.
#[inline]
pub(crate) fn step() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

/// The looks that something takes.
#[cfg(test)]
pub(crate) fn steps_of<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = STEPS.with(Cell::get);
    let outcome = run();
    (outcome, STEPS.with(Cell::get) - before)
}

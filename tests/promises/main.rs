//! One module = one promise.

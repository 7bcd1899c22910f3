//! What all targets share: a heap of 64 MiB. Who asks for more, once or in all, aborts, and that is a finding.
//!
//! libFuzzer's own limits see memory that is used, not memory that is asked for.

use std::alloc::System;

use cap::Cap;

/// No parser has reason to take more for an input of a few kilobytes; a connection is to be cheap.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, 64 << 20);

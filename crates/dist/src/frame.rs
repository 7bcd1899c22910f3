//! Frames: what a connection consists of after the handshake.

/// First byte of every external term, and of every distribution header.
pub const VERSION: u8 = 131;
/// First byte of a frame without distribution header.
pub const PASS_THROUGH: u8 = 112;
/// Second byte of a distribution header: a whole message follows.
pub const HEADER: u8 = 68;
/// Second byte of a distribution header: the first fragment of a message follows.
pub const FIRST_FRAGMENT: u8 = 69;
/// Second byte of a distribution header: a further fragment of a message follows.
pub const NEXT_FRAGMENT: u8 = 70;

use super::*;

/// What the hellos of real nodes carried.
const OTP_25: Flags = Flags(0xD_07DF_7FBD);
const OTP_29: Flags = Flags(0x6D_07DF_7FBD);

#[test]
fn real_nodes_send_nothing_unknown() {
    assert_eq!(OTP_25.known(), OTP_25);
    assert_eq!(OTP_29.known(), OTP_29);
    assert!(OTP_25.contains(Flags::MANDATORY_26) && OTP_29.contains(Flags::MANDATORY_26));
    assert_eq!(
        OTP_29.without(OTP_25),
        Flags::ALTACT_SIG.with(Flags::NATIVE_RECORDS)
    );
}

#[test]
fn reserved_and_internal_bits_are_not_known() {
    for bit in [1, 6, 15, 21, 27, 28, 29, 30, 31, 36, 39, 63] {
        assert_eq!(Flags(1 << bit).known(), Flags::EMPTY, "bit {bit}");
    }
    assert_eq!(Flags(u64::MAX).known(), Flags::KNOWN);
}

#[test]
fn mandatory_sets_are_the_published_numbers() {
    assert_eq!(Flags::MANDATORY_26, Flags(0x4_0307_0F94));
    assert_eq!(
        Flags::MANDATORY_25_DIGEST.expanded(),
        Flags::MANDATORY_25.with(Flags::MANDATORY_25_DIGEST)
    );
    assert_eq!(Flags::PUBLISHED.expanded(), Flags::PUBLISHED);
}

#[test]
fn display_names_bits() {
    assert_eq!(Flags::EMPTY.to_string(), "none");
    assert_eq!(
        Flags::PUBLISHED.with(Flags::SPAWN).to_string(),
        "PUBLISHED|SPAWN"
    );
    assert_eq!(
        Flags::PUBLISHED.with(Flags(1 << 40)).to_string(),
        "PUBLISHED|0x10000000000"
    );
    assert_eq!(Flags(1 << 40).to_string(), "0x10000000000");
    assert!(Flags::EMPTY.is_hidden() && !OTP_25.is_hidden());
}

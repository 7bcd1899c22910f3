//! Handshake messages: what decodes, encodes to what decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_dist::handshake::{
    Challenge, ChallengeAck, ChallengeReply, Complement, SendName, Status, split_u16,
};
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((body, used))) = split_u16(data) {
        assert_eq!(body.len() + 2, used);
    }
    macro_rules! there_and_back {
        ($($message:ty),*) => {
            $(if let Ok(message) = <$message>::decode(data) {
                assert_eq!(<$message>::decode(&message.encode()), Ok(message));
            })*
        };
    }
    there_and_back!(
        SendName,
        Status,
        Challenge,
        Complement,
        ChallengeReply,
        ChallengeAck
    );
});

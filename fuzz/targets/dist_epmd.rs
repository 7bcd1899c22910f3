//! Requests to epmd and its responses: what decodes, encodes to what decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_dist::epmd::{Alive2Response, NamesResponse, PortResponse, Request};
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    macro_rules! there_and_back {
        ($($message:ty),*) => {
            $(if let Ok(message) = <$message>::decode(data) {
                assert_eq!(<$message>::decode(&message.encode()), Ok(message));
            })*
        };
    }
    there_and_back!(Request, Alive2Response, PortResponse, NamesResponse);
});

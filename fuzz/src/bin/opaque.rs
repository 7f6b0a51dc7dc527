//! `opaque`: what decodes is what encoding writes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stiver_core::{
    json::{EncodedObject, Object},
    opaque::Opaque,
};

fuzz_target!(|data: &[u8]| {
    let wire = stiver_fuzz::text(data).and_then(|text| EncodedObject::parse(text).ok());
    let plain = Object::parse(data)
        .ok()
        .map(|object| EncodedObject::encode(&object));
    for encoded in [wire, plain].into_iter().flatten() {
        if let Ok(opaque) = Opaque::decode(&encoded) {
            let again = opaque.encode().expect("what fitted fits again");
            assert_eq!(Opaque::decode(&again), Ok(opaque));
        }
    }
});

//! What libraries make once per process and keep.
//!
//! Each new `HashMap` gets other keys than the one before on its thread. A library that fills a static map when it is first
//! needed therefore shifts the keys of all later maps of that run, and of that run only: the first run in a process would
//! visit its maps in another order than the same run later. So these maps are filled before the first simulation begins.

use std::sync::Once;

use x509_parser::extensions::X509Extension;
use x509_parser::prelude::FromDer as _;

/// An extension of a certificate, empty basic constraints: a sequence of its object identifier and its value.
const EXTENSION: [u8; 11] = [0x30, 0x09, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x04, 0x02, 0x30, 0x00];

/// A STUN Binding request with an attribute SOFTWARE. RFC 8489 §5, §14.14.
const REQUEST: [u8; 28] = [
    0x00, 0x01, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x22, 0x00, 0x04, b'n',
    b'o', b'n', b'e',
];

/// Fills the maps, outside of any simulation.
pub(crate) fn fill() {
    static FILLED: Once = Once::new();
    FILLED.call_once(|| {
        X509Extension::from_der(&EXTENSION).expect("the extension is valid");
        stun_rs::MessageDecoderBuilder::default().build().decode(&REQUEST).expect("the request is valid");
        assert!(!rtc::stun::error_code::ERROR_REASONS.is_empty());
    });
}

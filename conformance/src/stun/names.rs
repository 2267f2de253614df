//! Numbers from RFC 8489, 8656, 5780 and 8445, and their names in transcripts.

/// Methods.
pub(crate) mod method {
    pub(crate) const BINDING: u16 = 0x001;
    pub(crate) const ALLOCATE: u16 = 0x003;
    pub(crate) const REFRESH: u16 = 0x004;
    pub(crate) const SEND: u16 = 0x006;
    pub(crate) const DATA: u16 = 0x007;
    pub(crate) const CREATE_PERMISSION: u16 = 0x008;
    pub(crate) const CHANNEL_BIND: u16 = 0x009;
    /// Not assigned.
    pub(crate) const UNASSIGNED: u16 = 0x0fe;
}

/// Attribute types.
pub(crate) mod attr {
    pub(crate) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(crate) const CHANGE_REQUEST: u16 = 0x0003;
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const USERHASH: u16 = 0x001e;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const DONT_FRAGMENT: u16 = 0x001a;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001d;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
    pub(crate) const PRIORITY: u16 = 0x0024;
    pub(crate) const PADDING: u16 = 0x0026;
    pub(crate) const RESPONSE_PORT: u16 = 0x0027;
    pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub(crate) const SOFTWARE: u16 = 0x8022;
    pub(crate) const ALTERNATE_SERVER: u16 = 0x8023;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
    pub(crate) const RESPONSE_ORIGIN: u16 = 0x802b;
    pub(crate) const OTHER_ADDRESS: u16 = 0x802c;
    /// Comprehension-required and not assigned.
    pub(crate) const UNKNOWN_REQUIRED: [u16; 2] = [0x7a01, 0x7a02];
    /// Comprehension-optional and not assigned.
    pub(crate) const UNKNOWN_OPTIONAL: u16 = 0xfa01;
}

pub(crate) fn method_name(method: u16) -> String {
    match method {
        method::BINDING => "Binding",
        method::ALLOCATE => "Allocate",
        method::REFRESH => "Refresh",
        method::SEND => "Send",
        method::DATA => "Data",
        method::CREATE_PERMISSION => "CreatePermission",
        method::CHANNEL_BIND => "ChannelBind",
        other => return format!("method 0x{other:03x}"),
    }
    .to_owned()
}

pub(crate) fn attribute_name(kind: u16) -> String {
    match kind {
        attr::MAPPED_ADDRESS => "MAPPED-ADDRESS",
        attr::CHANGE_REQUEST => "CHANGE-REQUEST",
        attr::USERNAME => "USERNAME",
        attr::USERHASH => "USERHASH",
        attr::MESSAGE_INTEGRITY => "MESSAGE-INTEGRITY",
        attr::ERROR_CODE => "ERROR-CODE",
        attr::UNKNOWN_ATTRIBUTES => "UNKNOWN-ATTRIBUTES",
        attr::CHANNEL_NUMBER => "CHANNEL-NUMBER",
        attr::LIFETIME => "LIFETIME",
        attr::XOR_PEER_ADDRESS => "XOR-PEER-ADDRESS",
        attr::DATA => "DATA",
        attr::REALM => "REALM",
        attr::NONCE => "NONCE",
        attr::XOR_RELAYED_ADDRESS => "XOR-RELAYED-ADDRESS",
        attr::REQUESTED_ADDRESS_FAMILY => "REQUESTED-ADDRESS-FAMILY",
        attr::EVEN_PORT => "EVEN-PORT",
        attr::REQUESTED_TRANSPORT => "REQUESTED-TRANSPORT",
        attr::DONT_FRAGMENT => "DONT-FRAGMENT",
        attr::MESSAGE_INTEGRITY_SHA256 => "MESSAGE-INTEGRITY-SHA256",
        attr::PASSWORD_ALGORITHM => "PASSWORD-ALGORITHM",
        attr::XOR_MAPPED_ADDRESS => "XOR-MAPPED-ADDRESS",
        attr::RESERVATION_TOKEN => "RESERVATION-TOKEN",
        attr::PRIORITY => "PRIORITY",
        attr::PADDING => "PADDING",
        attr::RESPONSE_PORT => "RESPONSE-PORT",
        attr::PASSWORD_ALGORITHMS => "PASSWORD-ALGORITHMS",
        attr::SOFTWARE => "SOFTWARE",
        attr::ALTERNATE_SERVER => "ALTERNATE-SERVER",
        attr::FINGERPRINT => "FINGERPRINT",
        attr::RESPONSE_ORIGIN => "RESPONSE-ORIGIN",
        attr::OTHER_ADDRESS => "OTHER-ADDRESS",
        other => return format!("0x{other:04x}"),
    }
    .to_owned()
}

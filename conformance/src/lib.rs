//! A conformance suite for signaling servers, whatever their protocol.

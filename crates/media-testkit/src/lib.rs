//! The conformance suite for a media provider: plays recorded exchanges, needs no network

//! Providers by name: cargo features decide which are built in

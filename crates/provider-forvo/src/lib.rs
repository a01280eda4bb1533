//! Forvo as a media provider: native pronunciations.

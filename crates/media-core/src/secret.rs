//! Keys of services: held so that they are not shown by accident.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::key::hex;

/// A service's key. `Debug` hides it, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Wraps a key; surrounding white space, which copying brings along, is dropped.
    #[must_use]
    pub fn new(key: impl AsRef<str>) -> ApiKey {
        ApiKey(SecretString::from(key.as_ref().trim()))
    }

    /// The key itself, for the one place that puts it into a request.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// A name for the account that does not reveal the key: a salted hash.
    #[must_use]
    pub fn account(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"media account 1\0");
        hash.update(self.expose());
        hex(&hash.finalize()).chars().take(16).collect()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let key = ApiKey::new(" sk-secret\n");
        assert_eq!(key.expose(), "sk-secret");
        assert!(!format!("{key:?}").contains("secret"));
        assert!(!key.account().contains("secret"));
    }
}

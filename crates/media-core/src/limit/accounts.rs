//! Which limits belong to which account, so that two instances with one key do not take twice what it allows.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::{Clock, Limiter, QuotaStore};
use crate::settings::Limits;
use crate::sync::lock;

/// By account and service.
type Known = HashMap<(String, String), Arc<Limiter>>;

/// The accounts in use. Everything that is set up with one of these (cloned) shares the limits of each account.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<Known>>);

impl Accounts {
    /// The limits of this account at this service. Where they are in use already, the lower of two ceilings counts.
    pub(crate) fn limiter(
        &self,
        account: &str,
        service: &str,
        limits: &Limits,
        quota: &Arc<dyn QuotaStore>,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Limiter> {
        let mut accounts = lock(&self.0);
        let key = (account.to_owned(), service.to_owned());
        if let Some(known) = accounts.get(&key) {
            known.tighten(limits);
            return Arc::clone(known);
        }
        let limiter = Limiter::new(account.to_owned(), limits, Arc::clone(quota), Arc::clone(clock));
        let limiter = Arc::new(limiter);
        accounts.insert(key, Arc::clone(&limiter));
        limiter
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

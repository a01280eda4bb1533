//! What a test gives to the suite: where the service is, and ways to success.

use media_core::MediaRequest;

use crate::exchange::Exchange;

/// A request that succeeds, and the calls that it leads to.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) name: String,
    pub(crate) request: MediaRequest,
    pub(crate) exchanges: Vec<Exchange>,
}

impl Case {
    /// A case; the request's path is a bare file name, which the suite puts into a folder of its own.
    #[must_use]
    pub fn new(name: impl Into<String>, request: MediaRequest) -> Case {
        Case {
            name: name.into(),
            request,
            exchanges: Vec::new(),
        }
    }

    /// One more call that it makes.
    #[must_use]
    pub fn with(mut self, exchange: Exchange) -> Case {
        self.exchanges.push(exchange);
        self
    }
}

/// Everything that a provider is tried with.
#[derive(Clone, Debug)]
pub struct Cases {
    pub(crate) base_url: String,
    pub(crate) key: String,
    pub(crate) refused: Vec<(String, MediaRequest)>,
    pub(crate) connection: Vec<Exchange>,
    cases: Vec<Case>,
}

impl Cases {
    /// The service is at `base_url`, and the provider is made with `key`: invented, and of eight characters or more.
    #[must_use]
    pub fn new(base_url: impl Into<String>, key: impl Into<String>) -> Cases {
        Cases {
            base_url: base_url.into(),
            key: key.into(),
            refused: Vec::new(),
            connection: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// One more way to success.
    #[must_use]
    pub fn plays(mut self, case: Case) -> Cases {
        self.cases.push(case);
        self
    }

    /// A request that must be refused offline, and why.
    #[must_use]
    pub fn refuses(mut self, why: impl Into<String>, request: MediaRequest) -> Cases {
        self.refused.push((why.into(), request));
        self
    }

    /// One more call of `test_connection`. Without any it is not tried.
    #[must_use]
    pub fn connects(mut self, exchange: Exchange) -> Cases {
        self.connection.push(exchange);
        self
    }

    pub(crate) fn cases(&self) -> &[Case] {
        &self.cases
    }
}

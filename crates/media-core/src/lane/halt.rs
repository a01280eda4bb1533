//! Why a lane sends nothing more: of one model, or of any.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::{Charge, Error};
use crate::provider::Resolved;
use crate::sync::lock;

/// The reasons that a lane was halted for. Its jobs carry them down to the wire: what waits there, to be sent or to be
/// sent again, is called off as well.
#[derive(Default)]
pub(crate) struct Halts(Mutex<Reasons>);

#[derive(Default)]
struct Reasons {
    all: Option<Error>,
    models: HashMap<String, Error>,
}

impl Halts {
    /// Why nothing more is sent that asks this, if so. The error was not billed.
    pub(crate) fn of(&self, resolved: &Resolved) -> Option<Error> {
        let reasons = lock(&self.0);
        let of_model = || reasons.models.get(&model_key(resolved));
        reasons.all.as_ref().or_else(of_model).cloned()
    }

    /// Sends nothing more. The first reason is the one that is told.
    pub(super) fn halt_all(&self, reason: &Error) {
        lock(&self.0).all.get_or_insert_with(|| unbilled(reason));
    }

    /// Sends nothing more to the model of this.
    pub(super) fn halt_model(&self, resolved: &Resolved, reason: &Error) {
        lock(&self.0)
            .models
            .entry(model_key(resolved))
            .or_insert_with(|| unbilled(reason));
    }
}

/// What stands for a model in a lane: the same name may be a picture's and a voice's.
pub(super) fn model_key(resolved: &Resolved) -> String {
    format!("{}/{}", resolved.group, resolved.model)
}

fn unbilled(reason: &Error) -> Error {
    reason.clone().with_charge(Charge::None)
}

//! Keys, and what they may not do. The order of the checks is that of `openai.md` section 6: the key first, then the
//! request, the model, access, money, pace.

use super::Call;
use super::error::ApiError;
use crate::scenario::{OpenAiKey, OpenAiLimits, OpenAiTrait};

/// A valid key.
#[derive(Debug)]
pub(crate) struct Key<'a> {
    pub(crate) index: usize,
    entry: &'a OpenAiKey,
    pub(crate) limits: &'a OpenAiLimits,
}

/// Checks the key of a request.
pub(crate) fn key<'a>(call: &Call<'a>) -> Result<Key<'a>, ApiError> {
    // Azure's header is taken as well; both at once are not.
    let token = match (call.incoming.bearer(), call.incoming.api_key()) {
        (Some(token), None) | (None, Some(token)) => Some(token),
        _ => None,
    };
    let Some(token) = token else {
        return Err(ApiError::new(
            401,
            "invalid_request_error",
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer \
             auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from \
             https://platform.openai.com/account/api-keys.",
        ));
    };
    let scenario = &call.shared.scenario.openai;
    let Some((index, entry)) = scenario
        .keys
        .iter()
        .enumerate()
        .find(|(_, entry)| entry.key == token)
    else {
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at \
             https://platform.openai.com/account/api-keys.",
            masked(token)
        );
        return Err(ApiError::new(401, "invalid_request_error", message).code("invalid_api_key"));
    };
    Ok(Key {
        index,
        entry,
        limits: entry.limits.as_ref().unwrap_or(&scenario.limits),
    })
}

/// The key as the real service echoes it: the ends are kept.
fn masked(token: &str) -> String {
    let letters: Vec<char> = token.chars().collect();
    if letters.len() <= 8 {
        return "*".repeat(letters.len());
    }
    let start: String = letters.iter().take(4).collect();
    let end: String = letters.iter().skip(letters.len() - 4).collect();
    format!("{start}{}{end}", "*".repeat(letters.len() - 8))
}

impl Key<'_> {
    fn is(&self, wanted: OpenAiTrait) -> bool {
        self.entry.traits.contains(&wanted)
    }

    /// May the key list models?
    pub(crate) fn may_read_models(&self) -> Result<(), ApiError> {
        self.supported()?;
        if self.is(OpenAiTrait::NoModelRead) {
            Err(missing_scope("api.model.read"))
        } else {
            Ok(())
        }
    }

    fn supported(&self) -> Result<(), ApiError> {
        if self.is(OpenAiTrait::UnsupportedCountry) {
            let message = "Country, region, or territory not supported";
            return Err(
                ApiError::new(403, "request_forbidden", message).code("unsupported_country_region_territory")
            );
        }
        Ok(())
    }

    /// Access and money, checked after the parameters and before the pace.
    pub(crate) fn may_generate(&self, model: &str, pictures: bool) -> Result<(), ApiError> {
        self.supported()?;
        if pictures && self.is(OpenAiTrait::NoImageScope) {
            return Err(missing_scope("api.model.images.request"));
        }
        if self.is(OpenAiTrait::NoModelAccess) {
            let message = format!("Project `proj_sim` does not have access to model `{model}`");
            return Err(ApiError::new(403, "invalid_request_error", message).code("model_not_found"));
        }
        if pictures && self.is(OpenAiTrait::Unverified) {
            // Seen without a code: a client has only the message to go by.
            let message = format!(
                "Your organization must be verified to use the model `{model}`. Please go to: \
                 https://platform.openai.com/settings/organization/general and click on Verify Organization. If you \
                 just verified, it can take up to 15 minutes for access to propagate."
            );
            return Err(ApiError::new(403, "invalid_request_error", message));
        }
        if self.is(OpenAiTrait::HardLimit) {
            let kind = if pictures {
                "image_generation_user_error"
            } else {
                "invalid_request_error"
            };
            return Err(ApiError::new(400, kind, "Billing hard limit has been reached.")
                .code("billing_hard_limit_reached"));
        }
        let money = [
            (OpenAiTrait::NoCredit, "insufficient_quota"),
            (OpenAiTrait::CreditExhausted, "credit_balance_exhausted"),
            (OpenAiTrait::SpendCap, "project_spend_limit_exceeded"),
        ];
        if let Some((_, code)) = money.into_iter().find(|(wanted, _)| self.is(*wanted)) {
            let message = "You exceeded your current quota, please check your plan and billing details. For more \
                           information on this error, read the docs: \
                           https://platform.openai.com/docs/guides/error-codes/api-errors.";
            return Err(ApiError::new(429, "insufficient_quota", message).code(code));
        }
        if self.is(OpenAiTrait::FreeTier) {
            let message = format!(
                "Rate limit reached for {model} in organization org-sim on requests per min: Limit 0, Requested 1."
            );
            return Err(ApiError::new(429, "requests", message).code("rate_limit_exceeded"));
        }
        Ok(())
    }
}

fn missing_scope(scope: &str) -> ApiError {
    let message = format!(
        "You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the \
         correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a \
         restricted API key, that it has the necessary scopes."
    );
    ApiError::new(401, "invalid_request_error", message).code("insufficient_scope")
}

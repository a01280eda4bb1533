//! What sizes a model draws, as data: shared by every provider of pictures, fed by configuration.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The sizes that a model draws. Every rule is optional; a model without rules is left to the service to judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "config", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageRules {
    /// The models it is for, by how their id begins; the first rule in the configuration that fits counts.
    pub model: String,
    /// Only these sizes, `"1024x1024"`; what the other rules say is then moot.
    #[serde(default)]
    pub sizes: Vec<String>,
    /// Both edges are multiples of this many pixels.
    #[serde(default)]
    pub step: Option<u32>,
    /// The shortest edge.
    #[serde(default)]
    pub min_edge: Option<u32>,
    /// The longest edge.
    #[serde(default)]
    pub max_edge: Option<u32>,
    /// The fewest pixels in all.
    #[serde(default)]
    pub min_pixels: Option<u64>,
    /// The most pixels in all.
    #[serde(default)]
    pub max_pixels: Option<u64>,
    /// The long edge is at most this many times the short one.
    #[serde(default)]
    pub max_ratio: Option<f64>,
}

impl ImageRules {
    /// The rules for a model, if the list has any.
    #[must_use]
    pub fn of_model<'a>(rules: &'a [ImageRules], model: &str) -> Option<&'a ImageRules> {
        rules.iter().find(|rule| model.starts_with(&rule.model))
    }

    /// Whether the model draws `width` x `height`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) that names the rule.
    pub fn check(&self, width: u32, height: u32) -> Result<()> {
        let refuse = |why: String| {
            Err(Error::invalid(format!(
                "the size {width}x{height} is not possible: {why}"
            )))
        };
        if !self.sizes.is_empty() {
            let size = format!("{width}x{height}");
            return if self.sizes.contains(&size) {
                Ok(())
            } else {
                refuse(format!("the model draws {}", self.sizes.join(", ")))
            };
        }
        let (short, long) = (width.min(height), width.max(height));
        let pixels = u64::from(width) * u64::from(height);
        if let Some(step) = self.step.filter(|step| *step > 0)
            && !(width.is_multiple_of(step) && height.is_multiple_of(step))
        {
            return refuse(format!("both edges must be multiples of {step}"));
        }
        if let Some(least) = self.min_edge.filter(|least| short < *least) {
            return refuse(format!("no edge may be shorter than {least}"));
        }
        if let Some(most) = self.max_edge.filter(|most| long > *most) {
            return refuse(format!("no edge may be longer than {most}"));
        }
        if let Some(least) = self.min_pixels.filter(|least| pixels < *least) {
            return refuse(format!("it has {pixels} pixels, and at least {least} are needed"));
        }
        if let Some(most) = self.max_pixels.filter(|most| pixels > *most) {
            return refuse(format!("it has {pixels} pixels, and at most {most} are allowed"));
        }
        if let Some(most) = self
            .max_ratio
            .filter(|most| f64::from(long) > f64::from(short) * most)
        {
            return refuse(format!("one edge may be at most {most} times the other"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_named() {
        let rules: ImageRules = serde_json::from_str(
            r#"{"model": "gpt-image-2", "step": 16, "max_edge": 3840, "min_pixels": 655360, "max_pixels": 8294400, "max_ratio": 3}"#,
        )
        .unwrap();
        assert!(rules.check(1024, 1024).is_ok());
        assert!(rules.check(3840, 2160).is_ok());
        let said = |w, h| rules.check(w, h).unwrap_err().to_string();
        assert!(said(1000, 1024).contains("multiples of 16"));
        assert!(said(512, 512).contains("at least 655360"));
        assert!(said(3856, 1024).contains("longer than 3840"));
        assert!(said(3072, 512).contains("at most 3 times"), "{}", said(3072, 512));
        let fixed = ImageRules {
            sizes: vec!["1024x1024".into()],
            ..rules
        };
        assert!(
            fixed
                .check(1024, 1536)
                .unwrap_err()
                .to_string()
                .contains("draws 1024x1024")
        );
    }
}

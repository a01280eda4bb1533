//! SPDX licence expressions, as far as deciding needs: `AND`, `OR`, `WITH`, parentheses, the old `/` for `OR`.

use anyhow::{Result, bail};

/// Whether somebody who accepts only the licences that `accepts` knows may use what is under `expression`.
/// `X WITH Y` is asked about as one.
pub(super) fn is_satisfied(expression: &str, accepts: &dyn Fn(&str) -> bool) -> Result<bool> {
    let tokens = tokens(expression);
    let mut parser = Parser {
        tokens: &tokens,
        accepts,
    };
    let result = parser.either()?;
    match parser.tokens.first() {
        None => Ok(result),
        Some(token) => bail!("unexpected {token:?} in {expression:?}"),
    }
}

fn tokens(expression: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in expression.split_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')', '/']) {
            let (before, from) = rest.split_at(at);
            let (mark, after) = from.split_at(1);
            tokens.extend([before, mark].into_iter().filter(|token| !token.is_empty()));
            rest = after;
        }
        if !rest.is_empty() {
            tokens.push(rest);
        }
    }
    tokens
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    accepts: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    fn either(&mut self) -> Result<bool> {
        let mut result = self.both()?;
        while self.take("OR") || self.take("/") {
            result |= self.both()?;
        }
        Ok(result)
    }

    fn both(&mut self) -> Result<bool> {
        let mut result = self.one()?;
        while self.take("AND") {
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("(") {
            let result = self.either()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(result);
        }
        let licence = self.word()?;
        if self.take("WITH") {
            let exception = self.word()?;
            return Ok((self.accepts)(&format!("{licence} WITH {exception}")));
        }
        Ok((self.accepts)(licence))
    }

    fn take(&mut self, wanted: &str) -> bool {
        match self.tokens.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(wanted) => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.tokens.split_first() {
            None => bail!("a licence is missing at the end"),
            Some((first, rest)) => {
                if ["AND", "OR", "WITH", "(", ")", "/"]
                    .iter()
                    .any(|word| first.eq_ignore_ascii_case(word))
                {
                    bail!("a licence is missing before {first:?}");
                }
                self.tokens = rest;
                Ok(first)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts what is spelled with an `a`, and `b WITH x`.
    fn satisfied(expression: &str) -> bool {
        is_satisfied(expression, &|licence| {
            licence.starts_with('a') || licence == "b WITH x"
        })
        .unwrap()
    }

    #[test]
    fn one_licence() {
        assert!(satisfied("a"));
        assert!(!satisfied("b"));
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(satisfied("a OR b AND b"));
        assert!(satisfied("b AND b OR a"));
        assert!(!satisfied("a AND b OR b"));
        assert!(!satisfied("(a OR b) AND b"));
        assert!(satisfied("(a OR b) AND (b OR (b OR a1))"));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert!(satisfied("b WITH x"));
        assert!(!satisfied("b WITH y"));
        assert!(satisfied("b WITH y OR a"));
        assert!(!satisfied("a AND b WITH y"));
    }

    #[test]
    fn the_old_slash_is_or() {
        assert!(satisfied("b/a"));
        assert!(satisfied("b / a"));
        assert!(!satisfied("b/c"));
    }

    #[test]
    fn operators_in_lower_case_are_understood() {
        assert!(satisfied("b or a"));
        assert!(!satisfied("b and a"));
    }

    #[test]
    fn nonsense_is_an_error_not_a_yes() {
        for expression in [
            "",
            "a OR",
            "OR a",
            "(a",
            "a)",
            "a a",
            "a WITH",
            "()",
            "a AND OR a",
        ] {
            assert!(is_satisfied(expression, &|_| true).is_err(), "{expression:?}");
        }
    }
}

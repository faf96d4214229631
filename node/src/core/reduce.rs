//! The reducers that are built in: many outputs become one.
//!
//! They run where the outputs are fetched, cost nothing, and are functions of the outputs in the order of their
//! tasks. `json-sum` takes whole numbers only: sums of others depend on the order of adding.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

/// The largest reduced result, in bytes.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Puts outputs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reducer {
    /// One after the other.
    Concat(Vec<u8>),
    /// JSON objects of whole numbers, added key by key.
    JsonSum(BTreeMap<String, i128>),
    /// The last that is not empty.
    Last(Vec<u8>),
}

/// An output that cannot be put together with the others.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// Not a JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// A value that is no whole number.
    #[error("the value of {key:?} is not a whole number")]
    NotANumber {
        /// Its key.
        key: String,
    },
    /// A sum that does not fit.
    #[error("the sum for {key:?} does not fit")]
    Overflow {
        /// Its key.
        key: String,
    },
    /// The result is larger than [`RESULT_BYTES_MAX`].
    #[error("the result is larger than {RESULT_BYTES_MAX} bytes")]
    TooLarge,
}

impl Reducer {
    /// Outputs one after the other.
    #[must_use]
    pub const fn concat() -> Self {
        Self::Concat(Vec::new())
    }

    /// JSON objects of whole numbers, added key by key.
    #[must_use]
    pub const fn json_sum() -> Self {
        Self::JsonSum(BTreeMap::new())
    }

    /// The last output that is not empty.
    #[must_use]
    pub const fn last() -> Self {
        Self::Last(Vec::new())
    }

    /// Adds the output of the next task. An empty output adds nothing.
    ///
    /// # Errors
    ///
    /// See [`ReduceError`]; nothing is added then.
    pub fn add(&mut self, output: &[u8]) -> Result<(), ReduceError> {
        match self {
            _ if output.is_empty() => {}
            Self::Concat(all) => {
                if all.len().saturating_add(output.len()) > RESULT_BYTES_MAX {
                    return Err(ReduceError::TooLarge);
                }
                all.extend_from_slice(output);
            }
            Self::JsonSum(sums) => add_object(sums, output)?,
            Self::Last(last) => {
                if output.len() > RESULT_BYTES_MAX {
                    return Err(ReduceError::TooLarge);
                }
                *last = output.to_vec();
            }
        }
        Ok(())
    }

    /// The result.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Concat(bytes) | Self::Last(bytes) => bytes,
            Self::JsonSum(sums) => {
                let number = |sum: i128| match i64::try_from(sum) {
                    Ok(sum) => Value::from(sum),
                    // Between the largest of both kinds, which `add_object` made sure of.
                    Err(_) => Value::from(u64::try_from(sum).unwrap_or(u64::MAX)),
                };
                let object: Map<String, Value> =
                    sums.into_iter().map(|(key, sum)| (key, number(sum))).collect();
                let mut text = Value::Object(object).to_string();
                text.push('\n');
                text.into_bytes()
            }
        }
    }
}

fn add_object(sums: &mut BTreeMap<String, i128>, output: &[u8]) -> Result<(), ReduceError> {
    let object: Map<String, Value> =
        serde_json::from_slice(output).map_err(|_| ReduceError::NotAnObject)?;
    let mut changed = Vec::with_capacity(object.len());
    for (key, value) in object {
        let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
        let Some(number) = number else { return Err(ReduceError::NotANumber { key }) };
        let sum = sums.get(&key).copied().unwrap_or(0).checked_add(number);
        let fits = |sum: &i128| *sum >= i128::from(i64::MIN) && *sum <= i128::from(u64::MAX);
        match sum.filter(fits) {
            Some(sum) => changed.push((key, sum)),
            None => return Err(ReduceError::Overflow { key }),
        }
    }
    sums.extend(changed);
    Ok(())
}

/// Whether bytes are one JSON value: then a result is a `.json` file.
#[must_use]
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reduce(mut reducer: Reducer, outputs: &[&str]) -> Result<String, ReduceError> {
        for output in outputs {
            reducer.add(output.as_bytes())?;
        }
        Ok(String::from_utf8_lossy(&reducer.finish()).into_owned())
    }

    #[test]
    fn outputs_follow_each_other_in_the_order_of_their_tasks() {
        assert_eq!(reduce(Reducer::concat(), &["a\n", "", "b"]), Ok("a\nb".to_owned()));
        assert_eq!(reduce(Reducer::last(), &["a", "b", ""]), Ok("b".to_owned()));
        assert_eq!(reduce(Reducer::last(), &[]), Ok(String::new()));
    }

    #[test]
    fn numbers_are_added_key_by_key() {
        let outputs = [r#"{"b": 2, "a": 1}"#, "", r#"{"b": -5, "c": 18446744073709551615}"#];
        assert_eq!(
            reduce(Reducer::json_sum(), &outputs),
            Ok("{\"a\":1,\"b\":-3,\"c\":18446744073709551615}\n".to_owned())
        );
        assert_eq!(reduce(Reducer::json_sum(), &[]), Ok("{}\n".to_owned()));
    }

    #[test]
    fn what_cannot_be_added_exactly_is_refused() {
        let error = |outputs: &[&str]| reduce(Reducer::json_sum(), outputs).unwrap_err();
        assert_eq!(error(&["[1]"]), ReduceError::NotAnObject);
        assert_eq!(error(&["{"]), ReduceError::NotAnObject);
        assert_eq!(error(&[r#"{"a": 0.5}"#]), ReduceError::NotANumber { key: "a".into() });
        assert_eq!(error(&[r#"{"a": {"b": 1}}"#]), ReduceError::NotANumber { key: "a".into() });
        let large = r#"{"a": 18446744073709551615}"#;
        assert_eq!(error(&[large, r#"{"a": 1}"#]), ReduceError::Overflow { key: "a".into() });
    }

    #[test]
    fn a_refused_output_adds_nothing() {
        let mut reducer = Reducer::json_sum();
        reducer.add(br#"{"a": 1}"#).unwrap();
        reducer.add(br#"{"a": 1, "b": "x"}"#).unwrap_err();
        assert_eq!(reducer.finish(), b"{\"a\":1}\n");
    }

    #[test]
    fn json_is_recognised() {
        for text in ["{}", " [1, 2]\n", "1", "\"x\""] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for bytes in [b"".as_slice(), b"{} {}", b"x", b"\xff"] {
            assert!(!is_json(bytes));
        }
    }

    proptest! {
        #[test]
        fn a_sum_does_not_depend_on_how_the_outputs_are_grouped(
            objects in prop::collection::vec(prop::collection::btree_map("[a-c]", 0..1_000_i64, 0..3), 0..8),
            split in 0..8_usize,
        ) {
            let texts: Vec<_> = objects.iter().map(|object| serde_json::to_string(object).unwrap()).collect();
            let sum = |texts: &[String]| {
                let mut reducer = Reducer::json_sum();
                for text in texts {
                    reducer.add(text.as_bytes()).unwrap();
                }
                String::from_utf8(reducer.finish()).unwrap()
            };
            let (left, right) = texts.split_at(split.min(texts.len()));
            prop_assert_eq!(sum(&texts), sum(&[sum(left), sum(right)]));
        }
    }
}

//! What can go wrong while a map is read or written.

/// Why an OpenDRIVE text was refused, or a road could not be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is larger, deeper or more numerous in something than any sane map.
    #[error("the map has {count} {what}, more than the limit of {limit}; split or simplify it")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it there is (at least).
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// The text is not well-formed XML, or carries a document type definition.
    #[error("the map is not acceptable XML: {message}; a document type definition is never read")]
    Xml {
        /// The parser's own words, with line and column.
        message: String,
    },
    /// An element that the format requires is missing.
    #[error("{context} has no <{element}>; add it")]
    MissingElement {
        /// Where it should be, with the line.
        context: String,
        /// The element's name.
        element: &'static str,
    },
    /// An attribute that the format requires is missing.
    #[error("{context} has no attribute {attribute:?}; add it")]
    MissingAttribute {
        /// The element, with its line.
        context: String,
        /// The attribute's name.
        attribute: &'static str,
    },
    /// A value can't be read, is not finite, or lies outside its range.
    #[error("{context}: {name} is {value:?}; it must be {expected}")]
    BadValue {
        /// Where the value stands.
        context: String,
        /// The attribute or field.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Two things carry the same identifier.
    #[error("{context}: {what} {id} exists already; identifiers must be unique")]
    Duplicate {
        /// The element, with its line.
        context: String,
        /// The kind of thing.
        what: &'static str,
        /// The identifier.
        id: String,
    },
    /// Something refers to a road, junction or lane that does not exist.
    #[error("{context} refers to {what} {id}, which does not exist")]
    UnknownReference {
        /// Who refers.
        context: String,
        /// The kind of thing referred to.
        what: &'static str,
        /// The identifier that leads nowhere.
        id: String,
    },
    /// The map is readable but has no lane of type `driving`.
    #[error("the map has no driving lane; nothing can drive on it")]
    NoDrivingLane,
}

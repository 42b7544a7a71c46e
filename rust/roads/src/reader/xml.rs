//! Checked access to XML elements: every number is parsed, finite and inside its range.

use std::ops::RangeInclusive;

use roxmltree::Node;

use crate::Error;
use crate::polynomial::Cubic;

/// An element with the errors that its faults deserve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a, 'input>(pub Node<'a, 'input>);

impl<'a, 'input: 'a> Element<'a, 'input> {
    /// `<name id="..."> (line n)`, for error messages.
    pub fn context(self) -> String {
        let line = self.0.document().text_pos_at(self.0.range().start).row;
        let name = self.0.tag_name().name();
        match self.0.attribute("id") {
            Some(id) => format!("<{name} id={id:.32?}> (line {line})"),
            None => format!("<{name}> (line {line})"),
        }
    }

    /// Child elements with this name.
    pub fn children(self, name: &'static str) -> impl Iterator<Item = Element<'a, 'input>> {
        self.0
            .children()
            .filter(move |node| node.has_tag_name(name))
            .map(Element)
    }

    /// The first child element with this name.
    pub fn child(self, name: &'static str) -> Option<Element<'a, 'input>> {
        self.children(name).next()
    }

    /// The first child element with this name, which must exist.
    pub fn require(self, name: &'static str) -> Result<Element<'a, 'input>, Error> {
        self.child(name).ok_or_else(|| Error::MissingElement {
            context: self.context(),
            element: name,
        })
    }

    pub fn text(self, attribute: &'static str) -> Option<&'a str> {
        self.0.attribute(attribute)
    }

    pub fn require_text(self, attribute: &'static str) -> Result<&'a str, Error> {
        self.text(attribute).ok_or_else(|| Error::MissingAttribute {
            context: self.context(),
            attribute,
        })
    }

    pub fn bad(self, name: &'static str, value: &str, expected: &'static str) -> Error {
        Error::BadValue {
            context: self.context(),
            name,
            // A hostile value must not fill the log.
            value: value.chars().take(64).collect(),
            expected,
        }
    }

    /// A finite number inside `range`; `expected` describes the range.
    pub fn number(
        self,
        attribute: &'static str,
        range: RangeInclusive<f64>,
        expected: &'static str,
    ) -> Result<f64, Error> {
        let text = self.require_text(attribute)?;
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| self.bad(attribute, text, expected))
    }

    /// A finite number inside `range`, or `default` where the attribute is missing or empty.
    pub fn number_or(
        self,
        attribute: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        expected: &'static str,
    ) -> Result<f64, Error> {
        match self.text(attribute).map(str::trim) {
            None | Some("") => Ok(default),
            Some(_) => self.number(attribute, range, expected),
        }
    }

    /// A name of at most 64 bytes; longer ones are no names.
    pub fn name(self, attribute: &'static str) -> Result<Box<str>, Error> {
        let text = self.require_text(attribute)?.trim();
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return Err(self.bad(attribute, text, "a name of 1 to 64 bytes"));
        }
        Ok(text.into())
    }

    /// The attribute cut to 64 bytes; empty where it is missing.
    pub fn label(self, attribute: &'static str) -> Box<str> {
        let text = self.text(attribute).unwrap_or_default().trim();
        let end = (0..=text.len().min(MAX_NAME_BYTES))
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text[..end.unwrap_or(0)].into()
    }

    /// An integer identifier.
    pub fn id(self, attribute: &'static str) -> Result<u32, Error> {
        let text = self.require_text(attribute)?;
        text.trim()
            .parse()
            .map_err(|_| self.bad(attribute, text, "an integer from 0 to 4294967295"))
    }

    /// A lane identifier with its sign.
    pub fn lane_id(self, attribute: &'static str) -> Result<i32, Error> {
        let text = self.require_text(attribute)?;
        text.trim()
            .parse()
            .ok()
            .filter(|id: &i32| id.unsigned_abs() <= MAX_LANE_ID)
            .ok_or_else(|| self.bad(attribute, text, "an integer from -1000 to 1000"))
    }

    /// Coefficients `a`, `b`, `c`, `d`, each behind an optional suffix (`aU`, `bU`, ...).
    pub fn cubic(self, names: [&'static str; 4]) -> Result<Cubic, Error> {
        let range = -MAX_COEFFICIENT..=MAX_COEFFICIENT;
        let expected = "a finite number of magnitude 1e7 at most";
        Ok(Cubic {
            a: self.number(names[0], range.clone(), expected)?,
            b: self.number(names[1], range.clone(), expected)?,
            c: self.number(names[2], range.clone(), expected)?,
            d: self.number(names[3], range, expected)?,
        })
    }
}

const MAX_NAME_BYTES: usize = 64;
const MAX_LANE_ID: u32 = 1000;
const MAX_COEFFICIENT: f64 = 1e7;

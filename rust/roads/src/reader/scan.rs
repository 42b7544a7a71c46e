//! A look at the raw text before the XML parser sees it.
//!
//! The parser is safe but some of its costs grow with the square of the input: attributes of
//! one element are compared with each other, namespaces are copied into nested elements. Both
//! are bounded here, in one pass that doesn't allocate. What is not well-formed passes; the
//! parser reports it better.

use crate::Error;

/// Depth of nesting; OpenDRIVE needs fewer than 12.
const MAX_DEPTH: usize = 64;
/// Attributes of one element; OpenDRIVE needs fewer than 25.
const MAX_ATTRIBUTES: usize = 128;
/// Namespace declarations in the whole file; OpenDRIVE needs at most two.
const MAX_NAMESPACES: usize = 16;

/// Refuses nesting, attributes and namespaces beyond their limits, and any declaration.
pub(super) fn check(text: &str) -> Result<(), Error> {
    let (mut depth, mut namespaces) = (0_usize, 0_usize);
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start..];
        let length = if tag.starts_with("<!--") {
            end_of(tag, "-->")
        } else if tag.starts_with("<![CDATA[") {
            end_of(tag, "]]>")
        } else if tag.starts_with("<?") {
            end_of(tag, "?>")
        } else if tag.starts_with("<!") {
            return Err(Error::Xml {
                message: "it has a declaration (<!...>)".to_owned(),
            });
        } else if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
            end_of(tag, ">")
        } else {
            let shape = start_tag(tag);
            at_most("levels of nesting", depth + 1, MAX_DEPTH)?;
            at_most("attributes in an element", shape.attributes, MAX_ATTRIBUTES)?;
            namespaces += shape.namespaces;
            at_most("namespaces", namespaces, MAX_NAMESPACES)?;
            depth += usize::from(!shape.is_closed);
            shape.length
        };
        rest = &tag[length..];
    }
    Ok(())
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Error> {
    if count > limit {
        return Err(super::too_large(what, count, limit));
    }
    Ok(())
}

/// Length up to and with `end`; everything where it doesn't come.
fn end_of(tag: &str, end: &str) -> usize {
    tag.find(end).map_or(tag.len(), |at| at + end.len())
}

struct Shape {
    length: usize,
    attributes: usize,
    namespaces: usize,
    is_closed: bool,
}

/// Walks over a start tag; a `>` inside quotes doesn't end it.
fn start_tag(tag: &str) -> Shape {
    let bytes = tag.as_bytes();
    let mut shape = Shape {
        length: bytes.len(),
        attributes: 0,
        namespaces: 0,
        is_closed: false,
    };
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) => quote = quote.filter(|_| open != *byte),
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                shape.attributes += 1;
            }
            (None, b'>') => {
                shape.is_closed = bytes[at - 1] == b'/';
                shape.length = at + 1;
                return shape;
            }
            (None, b'x') => {
                shape.namespaces += usize::from(bytes[at..].starts_with(b"xmlns"));
            }
            _ => {}
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_passes() {
        let text = r#"<?xml version="1.0"?><a x="1>2" y='<'><!-- < "> --><b/><![CDATA[<c>]]></a>"#;
        assert_eq!(check(text), Ok(()));
        assert_eq!(check(&format!("<r>{}</r>", "<a/>".repeat(1000))), Ok(()));
        for broken in ["<", "<a", "<a b=\"", "<!-- ", "</", "a < b", "<a x='"] {
            assert_eq!(check(broken), Ok(()), "{broken} is the parser's to refuse");
        }
    }

    #[test]
    fn depth_attributes_and_namespaces_are_bounded() {
        let many = |what: &str, text: String| match check(&text) {
            Err(Error::TooLarge { what: seen, .. }) => assert_eq!(seen, what),
            other => panic!("{other:?}"),
        };
        many("levels of nesting", "<a>".repeat(65));
        many(
            "attributes in an element",
            format!("<a{}/>", " b='1'".repeat(129)),
        );
        many("namespaces", "<a xmlns:b='c'/>".repeat(17));
        assert!(matches!(check("<!DOCTYPE a>"), Err(Error::Xml { .. })));
    }
}

//! Texts that are no map, or lie: each is refused with a typed error, and nothing panics.

use carla_online_roads::{Error, RoadMap, RoadSpec, Segment};
use proptest::prelude::*;

const LANE: &str =
    r#"<lane id="-1" type="driving"><link/><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>"#;
const LINE: &str = r#"<geometry s="0" x="0" y="0" hdg="0" length="50"><line/></geometry>"#;

fn road(attributes: &str, link: &str, plan: &str, sections: &str) -> String {
    format!(
        "<road {attributes}><link>{link}</link><planView>{plan}</planView>\
         <lanes>{sections}</lanes></road>"
    )
}

fn section(lanes: &str) -> String {
    format!(r#"<laneSection s="0"><right>{lanes}</right></laneSection>"#)
}

fn map(body: &str) -> String {
    format!("<OpenDRIVE>{body}</OpenDRIVE>")
}

fn plain() -> String {
    road(
        r#"id="1" length="50" junction="-1""#,
        "",
        LINE,
        &section(LANE),
    )
}

fn refusal(text: &str) -> Error {
    RoadMap::parse(text).expect_err("the text is no map")
}

#[test]
fn the_untouched_pattern_is_a_map() {
    assert!(RoadMap::parse(&map(&plain())).is_ok());
}

#[test]
fn what_is_not_xml_or_has_a_document_type_is_refused() {
    let laughs = r#"<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
        <OpenDRIVE>&b;</OpenDRIVE>"#;
    let outside = r#"<!DOCTYPE x SYSTEM "file:///etc/passwd"><OpenDRIVE/>"#;
    for text in [
        "",
        "no map",
        "<OpenDRIVE>",
        "<a></b>",
        "\u{0}",
        laughs,
        outside,
    ] {
        assert!(matches!(refusal(text), Error::Xml { .. }), "{text}");
    }
    assert!(matches!(refusal("<svg/>"), Error::MissingElement { .. }));
    assert_eq!(refusal("<OpenDRIVE/>"), Error::NoDrivingLane);
    let shoulder = map(&plain()).replace("driving", "shoulder");
    assert_eq!(refusal(&shoulder), Error::NoDrivingLane);
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let nested = map(&("<a>".repeat(100_000) + &"</a>".repeat(100_000)));
    let lanes: String = (1..=1000)
        .map(|i| LANE.replace("-1", &format!("-{i}")))
        .collect();
    let crowded = map(&road(r#"id="1" length="50""#, "", LINE, &section(&lanes)));
    let far = LINE.replace("50", "200000");
    let twenty: String = (1..=60)
        .map(|i| LANE.replace("-1", &format!("-{i}")))
        .collect();
    let endless = map(&road(
        r#"id="1" length="200000""#,
        "",
        &far,
        &section(&twenty),
    ));
    let attributes = " a='1'".repeat(100_000);
    let wide = map(&format!("<a{attributes}/>"));
    for text in [nested, crowded, endless, wide] {
        assert!(matches!(refusal(&text), Error::TooLarge { .. }));
    }
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let good = map(&plain());
    let faults = [
        (r#"length="50" junction"#, r#"length="-50" junction"#),
        (r#"length="50" junction"#, r#"length="0" junction"#),
        (r#"length="50" junction"#, r#"length="1e300" junction"#),
        (r#"x="0""#, r#"x="NaN""#),
        (r#"x="0""#, r#"x="inf""#),
        (r#"y="0""#, r#"y="fifty""#),
        (r#"hdg="0""#, r#"hdg="""#),
        (r#"hdg="0" length="50""#, r#"hdg="0" length="-1""#),
        (r#"a="3.5""#, r#"a="1e9""#),
        (r#"sOffset="0""#, r#"sOffset="-3""#),
        (r#"lane id="-1""#, r#"lane id="-1000000000""#),
        (r#"lane id="-1""#, r#"lane id="1""#),
        (r#"lane id="-1""#, r#"lane id="0""#),
        (r#"road id="1""#, r#"road id="one""#),
        (r#"road id="1""#, r#"road id="-7""#),
        (r#"laneSection s="0""#, r#"laneSection s="NaN""#),
        ("<line/>", r#"<arc curvature="1e9"/>"#),
        ("<line/>", r#"<spiral curvStart="90" curvEnd="-90"/>"#),
        ("<line/>", r#"<poly3 a="0" b="0" c="1e8" d="0"/>"#),
    ];
    for (from, to) in faults {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from} is not in the pattern");
        assert!(matches!(refusal(&text), Error::BadValue { .. }), "{to}");
    }
    // A position that only the polynomials make absurd.
    let flung = good.replace(r#"b="0" c="0""#, r#"b="9e6" c="0""#);
    assert!(matches!(
        refusal(&flung),
        Error::BadValue { .. } | Error::TooLarge { .. }
    ));
}

#[test]
fn missing_parts_are_named() {
    let good = map(&plain());
    for part in [
        LINE,
        r#"<width sOffset="0" a="3.5" b="0" c="0" d="0"/>"#,
        "<line/>",
    ] {
        let error = refusal(&good.replace(part, ""));
        assert!(matches!(error, Error::MissingElement { .. }), "{part}");
    }
    for attribute in [r#" hdg="0""#, r#" a="3.5""#, r#"id="1" "#] {
        let error = refusal(&good.replace(attribute, ""));
        assert!(
            matches!(error, Error::MissingAttribute { .. }),
            "{attribute}"
        );
    }
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let to = |element: &str, id: u32| {
        let link = format!(
            r#"<successor elementType="{element}" elementId="{id}" contactPoint="start"/>"#
        );
        road(r#"id="1" length="50""#, &link, LINE, &section(LANE))
    };
    let linked = LANE.replace("<link/>", r#"<link><successor id="-4"/></link>"#);
    let second = plain().replace(r#"id="1""#, r#"id="2""#);
    let to_lane = to("road", 2).replace(LANE, &linked) + &second;
    let connection = |attributes: &str, link: &str| {
        to("junction", 9)
            + &second
            + &format!(
                r#"<junction id="9"><connection {attributes}>{link}</connection></junction>"#
            )
    };
    let ways = r#"incomingRoad="1" connectingRoad="2""#;
    let texts = [
        to("road", 77),
        to("junction", 77),
        to_lane,
        plain().replace(r#"junction="-1""#, r#"junction="5""#),
        connection(
            r#"incomingRoad="1" connectingRoad="3""#,
            r#"<laneLink from="-1" to="-1"/>"#,
        ),
        connection(r#"incomingRoad="4" connectingRoad="2""#, ""),
        connection(ways, r#"<laneLink from="-1" to="-2"/>"#),
    ];
    for body in texts {
        assert!(
            matches!(refusal(&map(&body)), Error::UnknownReference { .. }),
            "{body}"
        );
    }
    assert!(RoadMap::parse(&map(&connection(ways, r#"<laneLink from="-1" to="-1"/>"#))).is_ok());
}

#[test]
fn duplicates_are_refused() {
    let junctions = r#"<junction id="3"/><junction id="3"/>"#;
    let twins = road(
        r#"id="1" length="50""#,
        "",
        LINE,
        &section(&(LANE.to_owned() + LANE)),
    );
    for body in [plain() + &plain(), plain() + junctions, twins] {
        assert!(matches!(refusal(&map(&body)), Error::Duplicate { .. }));
    }
}

#[test]
fn sections_out_of_order_are_refused() {
    let two = |first: &str, second: &str| {
        section(LANE).replace("s=\"0\"", &format!("s=\"{first}\""))
            + &section(LANE).replace("s=\"0\"", &format!("s=\"{second}\""))
    };
    for sections in [two("0", "0"), two("0", "60"), two("30", "20")] {
        let text = map(&road(r#"id="1" length="50""#, "", LINE, &sections));
        let error = RoadMap::parse(&text);
        // Only the order of later sections counts: the first always starts at 0.
        if sections.contains("\"30\"") {
            assert!(error.is_ok());
        } else {
            assert!(matches!(error, Err(Error::BadValue { .. })));
        }
    }
}

/// A road with a bit of everything, as a start for mutations.
fn rich() -> String {
    let spec = RoadSpec {
        lanes_forward: 2,
        lanes_backward: 1,
        shoulder_width_m: 1.0,
        segments: vec![
            Segment::Line { length_m: 20.3 },
            Segment::Spiral {
                length_m: 15.0,
                curvature_start_per_m: 0.0,
                curvature_end_per_m: 0.04,
            },
            Segment::Arc {
                length_m: 10.0,
                curvature_per_m: 0.04,
            },
        ],
        ..RoadSpec::default()
    };
    let text = spec.to_xodr().expect("the specification is sound");
    let junction = r#"<junction id="9"><connection id="0" incomingRoad="0" connectingRoad="0"
        contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction></OpenDRIVE>"#;
    text.replace(
        "<link/><type",
        r#"<link><successor elementType="junction" elementId="9"/></link><type"#,
    )
    .replace("</OpenDRIVE>", junction)
}

/// Asks everything of a map that was accepted.
fn exercise(map: &RoadMap) {
    for (index, lane) in (0..).zip(map.lanes()) {
        for s_m in [
            -1.0,
            0.0,
            0.3 * lane.length_m,
            lane.length_m,
            f32::NAN,
            f32::INFINITY,
        ] {
            let pose = map.sample(index, s_m).pose;
            assert!(pose.x.is_finite() && pose.y.is_finite() && pose.yaw_rad.is_finite());
            map.project(index, pose.x + 1.0, pose.y, s_m);
            map.locate(pose.x, pose.y, pose.z, Some(pose.yaw_rad))
                .expect("there are lanes");
            map.advance(index, 0.0, 50.0);
            map.abreast(index, s_m, 0);
            map.half_width_to_edge(index, s_m);
            map.markings(index, s_m);
        }
    }
    map.polylines(5.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_mutation_of_a_map_panics(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(vec![
                "", "-", "9", "0", "1e6", "NaN", "\"", "<", ">", "/", "&lt;", "e", ".", " ",
                "<road/>", "<lane id=\"-2\"/>", "s=\"5\"", "\u{1F600}", "<!--", "]]>",
            ])),
            1..6,
        ),
    ) {
        let mut text: Vec<char> = rich().chars().collect();
        for (place, cut, insert) in edits {
            let start = place.index(text.len());
            let end = (start + cut).min(text.len());
            text.splice(start..end, insert.chars());
        }
        if let Ok(map) = RoadMap::parse(&text.into_iter().collect::<String>()) {
            exercise(&map);
        }
    }

    #[test]
    fn no_number_in_a_map_panics(
        place in any::<prop::sample::Index>(),
        value in prop_oneof![any::<f64>(), -1e3..1e3_f64, Just(0.0), Just(-1.0), Just(1e-12)],
    ) {
        let text = rich();
        let quotes: Vec<usize> = text.match_indices("=\"").map(|(at, _)| at + 2).collect();
        let start = quotes[place.index(quotes.len())];
        let end = start + text[start..].find('"').expect("the value is closed");
        let changed = format!("{}{value}{}", &text[..start], &text[end..]);
        if let Ok(map) = RoadMap::parse(&changed) {
            exercise(&map);
        }
    }
}

//! Renders the tables.

use std::collections::BTreeMap;

use protocol::{
    ids::MeshId,
    names::{self, MeshProtocol},
    reject::RejectReason,
};

use crate::{
    read,
    source::{Field, Item, canonical, constants, documented_lines, items},
};

/// The files that declare wire types, in the order of the document.
const WIRE: [&str; 14] = [
    "genesis",
    "enroll",
    "owner",
    "invite",
    "advert",
    "job",
    "manifest",
    "lease",
    "receipt",
    "availability",
    "heartbeat",
    "order",
    "blob",
    "client",
];

/// A table by the name that the document gives it.
pub(crate) fn table(name: &str) -> String {
    match name {
        "domains" => domains(),
        "rejections" => rejections(),
        "protocols" => protocols(),
        "ports" => ports(),
        "limits" => limits(),
        "types" => types(),
        "configuration" => configuration(),
        "transitions" => format!("```text\n{}```\n", node::core::transitions::diagram()),
        name => match name.split_once(' ') {
            Some(("layout", file)) => layouts(&read(&format!("protocol/src/{file}.rs"))),
            _ => panic!("docs/protocol.md asks for an unknown table: {name}"),
        },
    }
}

fn rows(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    let body: String = rows.into_iter().map(|cells| line(&cells)).collect();
    format!("{}{rule}{body}", line(&head))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The constants of `protocol::limits` by name.
fn limit_values() -> BTreeMap<String, String> {
    let constants = constants(&read("protocol/src/limits.rs"));
    constants.into_iter().map(|(name, value, _)| (name, value)).collect()
}

/// `16 * 1024` is 16,384; `Duration::from_secs(15)` is 15 s. Other expressions stay as they are.
fn value(expression: &str, known: &BTreeMap<String, String>) -> String {
    let inner =
        |prefix: &str| expression.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(seconds) = inner("Duration::from_secs(").and_then(|inner| product(inner, known)) {
        return format!("{} s", grouped(seconds));
    }
    if let Some(millis) = inner("Duration::from_millis(").and_then(|inner| product(inner, known)) {
        return format!("{} ms", grouped(millis));
    }
    if let Some(fuel) = inner("Fuel(").and_then(|inner| product(inner, known)) {
        return format!("{} fuel", grouped(fuel));
    }
    if let Some(pages) = inner("Pages(").and_then(|inner| product(inner, known)) {
        return format!("{} pages", grouped(pages));
    }
    product(expression, known).map_or_else(|| code(expression), grouped)
}

/// A product of numbers and limits, less a number.
fn product(expression: &str, known: &BTreeMap<String, String>) -> Option<u64> {
    if let Some((whole, less)) = expression.split_once(" - ") {
        return product(whole, known)?.checked_sub(product(less, known)?);
    }
    expression.split(" * ").try_fold(1_u64, |product_so_far, factor| {
        let name = factor.rsplit("::").next().unwrap_or(factor);
        let factor = match known.get(name) {
            Some(expression) => product(expression, &BTreeMap::new())?,
            None => factor.replace('_', "").parse().ok()?,
        };
        product_so_far.checked_mul(factor)
    })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().wrapping_sub(at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn domains() -> String {
    let statements: BTreeMap<String, String> = WIRE
        .iter()
        .flat_map(|file| canonical(&read(&format!("protocol/src/wire/{file}.rs"))))
        .filter_map(|(name, _, domain)| Some((domain?, name)))
        .collect();
    let source = read("protocol/src/sign.rs");
    let (_, declared) = source.split_once("pub enum Domain {\n").unwrap();
    let (declared, _) = declared.split_once("\n}").unwrap();
    let described = documented_lines(declared).into_iter().filter_map(|(line, doc)| {
        let (name, number) = line.strip_suffix(',')?.split_once(" = ")?;
        let statement =
            statements.get(name).map_or_else(|| "(reserved)".to_owned(), |name| code(name));
        Some(vec![number.to_owned(), code(name), statement, doc])
    });
    rows(&["Number", "Domain", "Statement", "Meaning"], described)
}

fn rejections() -> String {
    let source = read("protocol/src/reject.rs");
    let (_, declared) = source.split_once("\nreasons! {\n").unwrap();
    let (declared, _) = declared.split_once("\n}").unwrap();
    let said: BTreeMap<String, String> = documented_lines(declared)
        .into_iter()
        .filter_map(|(line, doc)| Some((line.split_once(" = ")?.0.to_owned(), doc)))
        .collect();
    let reasons = RejectReason::ALL.iter().map(|reason| {
        let said = said.get(&format!("{reason:?}")).cloned().unwrap_or_default();
        vec![u16::from(*reason).to_string(), code(reason.code()), said]
    });
    rows(&["Number", "Code", "Meaning"], reasons)
}

fn protocols() -> String {
    let mesh = MeshId([0xab; 32]);
    let general = |name: String| code(&name.replace(&mesh.id16(), "<id16>"));
    let said: BTreeMap<String, String> = items(&read("protocol/src/names.rs"))
        .into_iter()
        .find_map(|item| match item {
            Item::Enum { name, variants, .. } if name == "MeshProtocol" => Some(variants),
            Item::Enum { .. } | Item::Struct { .. } => None,
        })
        .into_iter()
        .flatten()
        .map(|variant| (variant.name, variant.doc))
        .collect();
    let strangers = constants(&read("protocol/src/names.rs"))
        .into_iter()
        .filter(|(_, value, _)| value.starts_with('"'))
        .map(|(_, value, doc)| vec![code(value.trim_matches('"')), "anybody".to_owned(), doc]);
    let members = MeshProtocol::ALL.iter().map(|protocol| {
        let said = said.get(&format!("{protocol:?}")).cloned().unwrap_or_default();
        vec![
            general(protocol.name(&mesh, 0)).replace("/e0/", "/e<epoch>/"),
            "members".to_owned(),
            said,
        ]
    });
    let topic = vec![
        general(names::advert_topic(&mesh)),
        "members".to_owned(),
        "The gossip topic of adverts.".to_owned(),
    ];
    rows(&["Name", "Who", "Meaning"], strangers.chain(members).chain([topic]))
}

fn ports() -> String {
    let ports = constants(&read("protocol/src/names.rs"))
        .into_iter()
        .filter(|(name, ..)| name.starts_with("PORT_"))
        .map(|(_, port, doc)| vec![port, doc]);
    rows(&["Port", "Meaning"], ports)
}

fn limits() -> String {
    let known = limit_values();
    let limits = constants(&read("protocol/src/limits.rs"))
        .into_iter()
        .map(|(name, expression, doc)| vec![code(&name), value(&expression, &known), doc]);
    rows(&["Limit", "Value", "Meaning"], limits)
}

fn types() -> String {
    let known = limit_values();
    let types = WIRE
        .iter()
        .flat_map(|file| canonical(&read(&format!("protocol/src/wire/{file}.rs"))))
        .map(|(name, limit, domain)| {
            vec![
                code(&name),
                value(&limit, &known),
                domain.map_or_else(String::new, |domain| code(&domain)),
            ]
        });
    rows(&["Type", "Bytes at most", "Signed in domain"], types)
}

fn configuration() -> String {
    let keys = node::home::KEYS.iter().map(|key| {
        vec![code(key.name), code(&key.variable()), code(key.default), key.doc.replace('|', "\\|")]
    });
    rows(&["Key", "Variable", "Default", "Meaning"], keys)
}

/// Every struct and enum of a file: its fields in the order of their bytes.
fn layouts(source: &str) -> String {
    items(source).iter().map(layout).collect::<Vec<_>>().join("\n")
}

fn layout(item: &Item) -> String {
    match item {
        Item::Struct { name, doc, fields } => {
            let fields = fields
                .iter()
                .map(|field| vec![code(&field.name), code(&field.kind), field.doc.clone()]);
            format!("**`{name}`**: {doc}\n\n{}", rows(&["Field", "Type", "Meaning"], fields))
        }
        Item::Enum { name, doc, variants } => {
            let variants = variants.iter().enumerate().map(|(number, variant)| {
                vec![
                    number.to_string(),
                    code(&variant.name),
                    carried(&variant.fields),
                    variant.doc.clone(),
                ]
            });
            format!(
                "**`{name}`**: {doc}\n\n{}",
                rows(&["Number", "Variant", "Carries", "Meaning"], variants)
            )
        }
    }
}

fn carried(fields: &[Field]) -> String {
    fields
        .iter()
        .map(
            |Field { name, kind, .. }| {
                if name.is_empty() { code(kind) } else { format!("{name}: {}", code(kind)) }
            },
        )
        .collect::<Vec<_>>()
        .join(", ")
}

//! Scores of tagged words: per tag, and per entity as seqeval's default mode, which is that of the
//! CoNLL script.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::classification::{
    ClassScores, ClassificationReport, Totals, classification_report, mean_f1,
};

/// A run of words with a type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Entity {
    /// `PER` of `B-PER`; `_` where the labels name no type.
    pub kind: String,
    /// The first word.
    pub start: usize,
    /// The word after the last.
    pub end: usize,
}

/// The scores of tagged sentences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaggingReport {
    /// Word by word: `accuracy` is the token accuracy, `examples` the number of words.
    pub tags: ClassificationReport,
    /// `None` where the labels are plain tags, such as parts of speech.
    pub entities: Option<EntityReport>,
    pub sentences: usize,
}

/// An entity is right when its type and both its ends are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityReport {
    /// Over all entities of all types; its label is `micro`.
    pub micro: ClassScores,
    /// Mean F1 over the types that occur in the targets or among the predictions.
    pub macro_f1: f64,
    /// The types that occur, sorted.
    pub per_type: Vec<ClassScores>,
}

/// `targets` and `predicted` hold a row a sentence, with an index into `labels` a word.
///
/// # Panics
/// When sentences or words differ in number, or an index is beyond `labels`: a programmer's
/// mistake.
pub fn tagging_report(
    targets: &[Vec<usize>],
    predicted: &[Vec<usize>],
    labels: &[String],
) -> TaggingReport {
    assert_eq!(targets.len(), predicted.len(), "one prediction a sentence");
    let long = |(target, prediction): (&Vec<usize>, &Vec<usize>)| target.len() == prediction.len();
    assert!(targets.iter().zip(predicted).all(long), "one prediction a word");
    TaggingReport {
        tags: classification_report(&targets.concat(), &predicted.concat(), labels),
        entities: is_entity_scheme(labels).then(|| entity_report(targets, predicted, labels)),
        sentences: targets.len(),
    }
}

fn entity_report(
    targets: &[Vec<usize>],
    predicted: &[Vec<usize>],
    labels: &[String],
) -> EntityReport {
    let order = Order::of(labels).unwrap_or_default();
    let named = |sentence: &[usize]| {
        let labels: Vec<_> = sentence.iter().map(|label| labels[*label].as_str()).collect();
        entities_in(&labels, order)
    };
    let mut types: BTreeMap<String, Totals> = BTreeMap::new();
    for (target, prediction) in targets.iter().zip(predicted) {
        let (target, prediction) = (named(target), named(prediction));
        let truth: HashSet<_> = target.iter().collect();
        for entity in &target {
            types.entry(entity.kind.clone()).or_default().support += 1;
        }
        for entity in &prediction {
            let totals = types.entry(entity.kind.clone()).or_default();
            totals.predicted += 1;
            totals.correct += usize::from(truth.contains(entity));
        }
    }
    let per_type: Vec<_> = types.iter().map(|(kind, totals)| totals.scores(kind)).collect();
    let totals: Vec<_> = types.into_values().collect();
    EntityReport {
        micro: Totals::sum(&totals).scores("micro"),
        macro_f1: mean_f1(per_type.iter()),
        per_type,
    }
}

/// The entities of one sentence, in BIO, BIOES or BILOU, whichever comes first in its labels: the
/// place (`B-PER`) or, as seqeval with `suffix=True`, the type (`PER-B`). Odd sequences are read as the CoNLL
/// script does: an entity that nothing begins (`I-` or `E-` after `O`, or after another type)
/// begins there, and one that nothing ends (no `E-`) ends before the next. A label of another form
/// counts as `O`.
pub fn entities(labels: &[&str]) -> Vec<Entity> {
    entities_in(labels, Order::of(labels).unwrap_or_default())
}

fn entities_in(labels: &[&str], order: Order) -> Vec<Entity> {
    let mut found: Vec<Entity> = Vec::new();
    let mut before = None;
    for (word, label) in labels.iter().enumerate() {
        let tag = Tag::parse(label, order);
        match (&tag, found.last_mut()) {
            (None, _) => {}
            (Some(tag), Some(open)) if tag.continues(before.as_ref()) => open.end = word + 1,
            (Some(tag), _) => {
                found.push(Entity { kind: tag.kind.to_string(), start: word, end: word + 1 });
            }
        }
        before = tag;
    }
    found
}

/// Whether all labels are `O` or parts of entities: `B-`, `I-`, `E-`, `S-`, or BILOU's `L-`, `U-`
/// with a type before or behind; without types only where there is a bare `B`, as bare letters may
/// be plain tags.
pub fn is_entity_scheme(labels: &[String]) -> bool {
    Order::of(labels).is_some()
}

/// What comes first in a label.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Order {
    /// `B-PER`
    #[default]
    Place,
    /// `PER-B`
    Type,
}

impl Order {
    /// None where labels are not those of entities.
    fn of<T: AsRef<str>>(labels: &[T]) -> Option<Self> {
        let labels = || labels.iter().map(AsRef::as_ref);
        let is_typeless = labels().any(|label| label == "B");
        [Order::Place, Order::Type].into_iter().find(|order| {
            let is_part = |label: &str| {
                Tag::parse(label, *order).is_some() && (is_typeless || label.contains('-'))
            };
            labels().any(is_part) && labels().all(|label| label == "O" || is_part(label))
        })
    }
}

/// The same entities in BIOES, as google-research/electra trains on.
pub fn to_bioes(labels: &[&str]) -> Vec<String> {
    let mut tags = vec!["O".to_string(); labels.len()];
    for Entity { kind, start, end } in entities(labels) {
        tags[start..end].fill(format!("I-{kind}"));
        tags[end - 1] = format!("E-{kind}");
        tags[start] = format!("{}-{kind}", if end - start == 1 { "S" } else { "B" });
    }
    tags
}

/// A label that is part of an entity.
struct Tag<'a> {
    place: Place,
    kind: &'a str,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Begin,
    Inside,
    End,
    Single,
}

impl<'a> Tag<'a> {
    fn parse(label: &'a str, order: Order) -> Option<Self> {
        let (place, kind) = match order {
            Order::Place => label.split_once('-').unwrap_or((label, "")),
            Order::Type => {
                let (kind, place) = label.rsplit_once('-').unwrap_or(("", label));
                (place, kind)
            }
        };
        let place = match place {
            "B" => Place::Begin,
            "I" => Place::Inside,
            "E" | "L" => Place::End,
            "S" | "U" => Place::Single,
            _ => return None,
        };
        Some(Tag { place, kind: if kind.is_empty() { "_" } else { kind } })
    }

    fn continues(&self, before: Option<&Tag>) -> bool {
        before.is_some_and(|before| {
            before.kind == self.kind
                && matches!(before.place, Place::Begin | Place::Inside)
                && matches!(self.place, Place::Inside | Place::End)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(labels: &str) -> Vec<(String, usize, usize)> {
        let labels: Vec<_> = labels.split(' ').collect();
        entities(&labels).into_iter().map(|e| (e.kind, e.start, e.end)).collect()
    }

    fn is_scheme(labels: &str) -> bool {
        is_entity_scheme(&labels.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn bilou_is_bioes_by_other_letters() {
        let bioes = spans("B-A I-A E-A S-A S-A O E-B");
        assert_eq!(spans("B-A I-A L-A U-A U-A O L-B"), bioes);
        assert_eq!(bioes.len(), 4);
    }

    #[test]
    fn the_type_may_come_first() {
        assert_eq!(spans("PER-B PER-I O LOC-B"), spans("B-PER I-PER O B-LOC"));
        assert_eq!(to_bioes(&["PER-B", "PER-I", "O"]), ["B-PER", "E-PER", "O"]);
        assert!(
            is_scheme("O PER-B PER-I") && is_scheme("DAT-B ORG-I") && !is_scheme("PER-B I-PER")
        );
    }

    #[test]
    fn the_scheme_shows_in_the_labels() {
        assert!(is_scheme("O B-PER I-PER"));
        assert!(is_scheme("S-A B-A E-A I-A"));
        assert!(is_scheme("O B I"));
        assert!(!is_scheme("DT NN VB"));
        assert!(!is_scheme("O B-PER NN"));
        assert!(!is_scheme("O S"));
        assert!(!is_scheme("O"));
    }

    #[test]
    fn bio_becomes_bioes() {
        let labels = ["B-A", "I-A", "I-A", "O", "B-B", "B-A", "I-A"];
        assert_eq!(to_bioes(&labels), ["B-A", "I-A", "E-A", "O", "S-B", "B-A", "E-A"]);
    }

    #[test]
    fn plain_tags_have_no_entities() {
        let labels = ["DT", "NN"].map(String::from);
        let report = tagging_report(&[vec![0, 1], vec![1]], &[vec![0, 0], vec![1]], &labels);
        assert_eq!((report.tags.accuracy, report.tags.examples), (2.0 / 3.0, 3));
        assert_eq!((report.entities, report.sentences), (None, 2));
    }
}

//! What stands on the encoder: replaced-token detection, the generator's masked-token head, and
//! the heads of the tasks. Names and wiring are those of transformers' `modeling_electra.py`.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};

use crate::config::{Activation, ClassificationHead, ElectraConfig, QaHead};
use crate::error::{Error, Result};
use crate::kernels::{self, DropoutMasks, softmax};
use crate::model::{Dropout, ElectraModel, Inputs, LayerNorm, activate, linear, unset};

/// The Hugging Face classes that this crate reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    PreTraining,
    MaskedLm,
    SequenceClassification,
    TokenClassification,
    QuestionAnswering,
    /// A body without a head.
    Model,
}

const ARCHITECTURES: [(Architecture, &str); 6] = [
    (Architecture::PreTraining, "ElectraForPreTraining"),
    (Architecture::MaskedLm, "ElectraForMaskedLM"),
    (Architecture::SequenceClassification, "ElectraForSequenceClassification"),
    (Architecture::TokenClassification, "ElectraForTokenClassification"),
    (Architecture::QuestionAnswering, "ElectraForQuestionAnswering"),
    (Architecture::Model, "ElectraModel"),
];

/// What `architectures` says where the head is google-research/electra's, which transformers
/// has no class for.
const ORIGINALS: [(Architecture, &str); 2] = [
    (Architecture::SequenceClassification, "ElectraOriginalForSequenceClassification"),
    (Architecture::QuestionAnswering, "ElectraOriginalForQuestionAnswering"),
];

impl Architecture {
    /// Reads `architectures` of a config; one that names no class counts as a discriminator's.
    ///
    /// # Errors
    /// The class is not one of ELECTRA's.
    pub fn of(config: &ElectraConfig) -> Result<Self> {
        let Some(name) = config.architectures.as_ref().and_then(|names| names.first()) else {
            return Ok(Architecture::PreTraining);
        };
        let known = ARCHITECTURES.iter().chain(&ORIGINALS).find(|(_, known)| known == name);
        known.map(|(architecture, _)| *architecture).ok_or_else(|| {
            let names: Vec<_> = ARCHITECTURES.iter().map(|(_, name)| *name).collect();
            Error::new("config.json, architectures", format!("{name:?} is not supported"))
                .fix(format!("Supported are {}.", names.join(", ")))
        })
    }

    /// The class name for `architectures`.
    pub fn name(self, config: &ElectraConfig) -> &'static str {
        let is_original = match self {
            Architecture::SequenceClassification => {
                config.classification_head == ClassificationHead::Original
            }
            Architecture::QuestionAnswering => config.qa_head == QaHead::Original,
            _ => false,
        };
        let names: &[_] = if is_original { &ORIGINALS } else { &ARCHITECTURES };
        names.iter().find(|(a, _)| *a == self).map(|(_, name)| *name).expect("all listed")
    }
}

/// A body (embeddings and encoder) with one head, or none: any of the six Hugging Face classes.
#[derive(Module, Debug)]
pub struct Electra {
    /// The body, as transformers calls it.
    pub electra: ElectraModel,
    pub head: Head,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one head")]
pub enum Head {
    Discriminator(DiscriminatorHead),
    Generator(GeneratorHead),
    Classifier(ClassifierHead),
    /// google-research/electra's classification head; reads the first token.
    OriginalClassifier(LinearHead),
    Tokens(LinearHead),
    Span(SpanHead),
    /// google-research/electra's question-answering head.
    JointSpan(JointSpanHead),
    Nothing(Nothing),
}

/// What stands on a body that has no head.
#[derive(Module, Debug)]
pub struct Nothing {}

impl Electra {
    /// The network with unset weights: `pretrained::fill` gives it some.
    pub fn new(config: &ElectraConfig, architecture: Architecture, device: &Device) -> Self {
        let electra = ElectraModel::new(config, device);
        Electra { electra, head: Head::new(config, architecture, device) }
    }

    /// The logits of whatever head this is, an example a row: `[batch, width]`, where width is
    /// `num_labels` for a classifier, what [`JointSpanHead::search`] finds for the original's head
    /// for questions, and `seq` times the logits of a token for the others. Without a head they are
    /// the last hidden states.
    pub fn flat_logits(&self, inputs: &Inputs) -> Tensor<2> {
        self.logits(inputs, &mut DropoutMasks::none())
    }

    fn logits(&self, inputs: &Inputs, dropout: &mut DropoutMasks) -> Tensor<2> {
        let hidden = self.electra.forward(inputs, dropout);
        match &self.head {
            Head::Discriminator(head) => head.forward(hidden),
            Head::Generator(head) => {
                let table = self.electra.embeddings.word_embeddings.weight.val();
                head.forward(hidden, table).flatten(1, 2)
            }
            Head::Classifier(head) => head.forward(kernels::first(hidden), dropout),
            Head::OriginalClassifier(head) => head.forward(kernels::first(hidden), dropout),
            Head::Tokens(head) => head.forward(hidden, dropout).flatten(1, 2),
            Head::Span(head) => head.forward(hidden).flatten(1, 2),
            Head::JointSpan(head) => head.search(hidden, inputs),
            Head::Nothing(_) => hidden.flatten(1, 2),
        }
    }

    /// The logits that the loss is computed from: [`Electra::flat_logits`] with dropout. Only
    /// [`JointSpanHead`] differs: its ends depend on a start, and are given the right one (teacher
    /// forcing). There, a token has three logits: start, end, and at `[CLS]` the answerability.
    ///
    /// # Shapes
    /// - targets: `[batch, width]`; those of answers have three columns a token, the first the start
    /// - output: `[batch, width]`
    pub fn training_logits(
        &self,
        inputs: &Inputs,
        targets: Tensor<2>,
        dropout: &mut DropoutMasks,
    ) -> Tensor<2> {
        let Head::JointSpan(head) = &self.head else { return self.logits(inputs, dropout) };
        let [batch, seq] = inputs.input_ids.dims();
        let starts = targets.reshape([batch, seq, 3]).narrow(2, 0, 1).squeeze_dim(2);
        let hidden = self.electra.forward(inputs, dropout);
        let JointLogits { start, end, answerability } = head.forward(hidden, inputs, starts);
        let answerability = is_first(inputs) * answerability;
        Tensor::stack::<3>(vec![start, end, answerability], 2).flatten(1, 2)
    }

    /// Does the head give every token the same number of logits? If not, its logits are of the text
    /// as a whole.
    pub fn is_per_token(&self) -> bool {
        use Head::{Classifier, JointSpan, OriginalClassifier};
        !matches!(self.head, Classifier(_) | OriginalClassifier(_) | JointSpan(_))
    }

    /// Of a discriminator, `[batch, seq]`: above 0 means "replaced".
    pub fn replaced_logits(&self, inputs: &Inputs) -> Tensor<2> {
        self.flat_logits(inputs)
    }

    /// Of a generator, at every position, `[batch, seq, vocab]`.
    pub fn vocabulary_logits(&self, inputs: &Inputs) -> Tensor<3> {
        by_token(self.flat_logits(inputs), inputs)
    }

    /// Of a classifier, `[batch, num_labels]`.
    pub fn class_logits(&self, inputs: &Inputs) -> Tensor<2> {
        self.flat_logits(inputs)
    }

    /// Of a tagger, `[batch, seq, num_labels]`.
    pub fn token_logits(&self, inputs: &Inputs) -> Tensor<3> {
        by_token(self.flat_logits(inputs), inputs)
    }

    /// Of transformers' head for questions: start and end logits, `[batch, seq]` each.
    pub fn span_logits(&self, inputs: &Inputs) -> (Tensor<2>, Tensor<2>) {
        let logits = by_token(self.flat_logits(inputs), inputs);
        (column(&logits, 0), column(&logits, 1))
    }

    /// Of the original's head for questions, as the loss gets them: the ends given a start in each
    /// text.
    ///
    /// # Shapes
    /// - starts: `[batch, seq]`, 1 at the start and 0 elsewhere
    pub fn joint_span_logits(&self, inputs: &Inputs, starts: Tensor<2>) -> JointLogits {
        let rest = starts.zeros_like();
        let targets = Tensor::stack::<3>(vec![starts, rest.clone(), rest], 2).flatten(1, 2);
        let none = &mut DropoutMasks::none();
        let logits = by_token(self.training_logits(inputs, targets, none), inputs);
        let answerability = column(&logits, 2).narrow(1, 0, 1);
        JointLogits { start: column(&logits, 0), end: column(&logits, 1), answerability }
    }
}

/// `[batch, seq * width]` to `[batch, seq, width]`
fn by_token(flat: Tensor<2>, inputs: &Inputs) -> Tensor<3> {
    let [batch, seq] = inputs.input_ids.dims();
    let width = flat.dims()[1] / seq;
    flat.reshape([batch, seq, width])
}

/// `[batch, seq, width]` to `[batch, seq]`
fn column(logits: &Tensor<3>, i: usize) -> Tensor<2> {
    logits.clone().narrow(2, i, 1).squeeze_dim(2)
}

impl Head {
    fn new(config: &ElectraConfig, architecture: Architecture, device: &Device) -> Self {
        match architecture {
            Architecture::PreTraining => {
                Head::Discriminator(DiscriminatorHead::new(config, device))
            }
            Architecture::MaskedLm => Head::Generator(GeneratorHead::new(config, device)),
            Architecture::SequenceClassification => match config.classification_head {
                ClassificationHead::Huggingface => {
                    Head::Classifier(ClassifierHead::new(config, device))
                }
                ClassificationHead::Original => {
                    Head::OriginalClassifier(LinearHead::new(config, device))
                }
            },
            Architecture::TokenClassification => Head::Tokens(LinearHead::new(config, device)),
            Architecture::QuestionAnswering => match config.qa_head {
                QaHead::Huggingface => Head::Span(SpanHead::new(config, device)),
                QaHead::Original => Head::JointSpan(JointSpanHead::new(config, device)),
            },
            Architecture::Model => Head::Nothing(Nothing {}),
        }
    }
}

/// Replaced-token detection: dense, activation, and one logit a token, above 0 where the token
/// looks replaced. transformers' `ElectraDiscriminatorPredictions`.
#[derive(Module, Debug)]
pub struct DiscriminatorHead {
    pub dense: Linear,
    pub dense_prediction: Linear,
    #[module(skip)]
    hidden_act: Activation,
}

impl DiscriminatorHead {
    pub fn new(config: &ElectraConfig, device: &Device) -> Self {
        DiscriminatorHead {
            dense: linear(config.hidden_size, config.hidden_size, device),
            dense_prediction: linear(config.hidden_size, 1, device),
            hidden_act: config.hidden_act,
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, output: `[batch, seq]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        let hidden = activate(self.hidden_act, kernels::linear(hidden, &self.dense));
        kernels::linear(hidden, &self.dense_prediction).squeeze_dim(2)
    }
}

/// The masked language model: dense, GELU, LayerNorm, and the logits of all words as products with
/// their embeddings, which are the body's own (tied weights). transformers'
/// `ElectraGeneratorPredictions` and `generator_lm_head`.
#[derive(Module, Debug)]
pub struct GeneratorHead {
    pub dense: Linear,
    pub layer_norm: LayerNorm,
    /// One number a word, `[vocab]`.
    pub bias: Param<Tensor<1>>,
}

impl GeneratorHead {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        Self::over(config.hidden_size, config, device)
    }

    /// On hidden states of another width than `hidden_size`: those of two towers side by side
    /// (`pretrain/variants.rs`).
    pub fn over(width: usize, config: &ElectraConfig, device: &Device) -> Self {
        GeneratorHead {
            dense: linear(width, config.embedding_size, device),
            layer_norm: LayerNorm::new(config, config.embedding_size, device),
            bias: unset([config.vocab_size], device),
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, word_embeddings: `[vocab, embedding]`
    /// - output: `[batch, seq, vocab]`
    pub fn forward(&self, hidden: Tensor<3>, word_embeddings: Tensor<2>) -> Tensor<3> {
        kernels::affine(self.transform(hidden), word_embeddings.transpose(), self.bias.val())
    }

    /// All of it but the logits: what is multiplied with the word embeddings. Pre-training takes
    /// this, and the softmax in blocks of its own (`pretrain/softmax.rs`).
    ///
    /// # Shapes
    /// - hidden: `[.., hidden]`, output: `[.., embedding]`
    pub fn transform<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        // transformers has GELU here whatever `hidden_act` says.
        self.layer_norm.forward(activate(Activation::Gelu, kernels::linear(hidden, &self.dense)))
    }
}

/// Classification and regression from `[CLS]`: dropout, dense, GELU, dropout, dense. transformers'
/// `ElectraClassificationHead`.
#[derive(Module, Debug)]
pub struct ClassifierHead {
    pub dense: Linear,
    pub out_proj: Linear,
    dropout: Dropout,
}

impl ClassifierHead {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        ClassifierHead {
            dense: linear(config.hidden_size, config.hidden_size, device),
            out_proj: linear(config.hidden_size, num_labels(config), device),
            dropout: classifier_dropout(config),
        }
    }

    /// # Shapes
    /// - first: `[batch, hidden]`, output: `[batch, num_labels]`
    pub fn forward(&self, first: Tensor<2>, dropout: &mut DropoutMasks) -> Tensor<2> {
        let first = self.dropout.forward(first, dropout);
        let inner = activate(Activation::Gelu, kernels::linear(first, &self.dense));
        kernels::linear(self.dropout.forward(inner, dropout), &self.out_proj)
    }
}

/// Dropout and one layer: `ElectraForTokenClassification`'s head, and google-research/electra's
/// for classification.
#[derive(Module, Debug)]
pub struct LinearHead {
    pub classifier: Linear,
    dropout: Dropout,
}

impl LinearHead {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        LinearHead {
            classifier: linear(config.hidden_size, num_labels(config), device),
            dropout: classifier_dropout(config),
        }
    }

    /// # Shapes
    /// - hidden: `[.., hidden]`, output: `[.., num_labels]`
    pub fn forward<const D: usize>(
        &self,
        hidden: Tensor<D>,
        dropout: &mut DropoutMasks,
    ) -> Tensor<D> {
        kernels::linear(self.dropout.forward(hidden, dropout), &self.classifier)
    }
}

/// `ElectraForQuestionAnswering`'s head: a start and an end logit a token, independent of each
/// other. It has no dropout.
#[derive(Module, Debug)]
pub struct SpanHead {
    pub qa_outputs: Linear,
}

impl SpanHead {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        SpanHead { qa_outputs: linear(config.hidden_size, 2, device) }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, output: `[batch, seq, 2]`, start and end
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        kernels::linear(hidden, &self.qa_outputs)
    }
}

/// google-research/electra's head for questions (`finetune/qa/qa_tasks.py`): an end is judged
/// together with its start, and a classifier tells whether there is an answer. It has no dropout.
#[derive(Module, Debug)]
pub struct JointSpanHead {
    pub qa_start: Linear,
    /// Reads the start's hidden state, and behind it that of a token that may be the end.
    pub qa_end_dense: Linear,
    pub qa_end: Linear,
    /// Reads `[CLS]`, and behind it the mean hidden state of what may be the start.
    pub qa_answerable_dense: Linear,
    pub qa_answerable: Linear,
}

/// What [`JointSpanHead`] says of a start and of the ends that may follow it.
#[derive(Debug, Clone)]
pub struct JointLogits {
    /// `[batch, seq]`
    pub start: Tensor<2>,
    /// `[batch, seq]`
    pub end: Tensor<2>,
    /// `[batch, 1]`, above 0 where the question has no answer.
    pub answerability: Tensor<2>,
}

/// Starts for which ends are looked for, as many as in the original (a beam search).
pub const BEAM: usize = 20;

impl JointSpanHead {
    /// Width between the two layers that judge an end, or the answerability; the original's.
    const INNER: usize = 512;

    fn new(config: &ElectraConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        JointSpanHead {
            qa_start: linear(hidden, 1, device),
            qa_end_dense: linear(2 * hidden, Self::INNER, device),
            qa_end: linear(Self::INNER, 1, device),
            qa_answerable_dense: linear(2 * hidden, Self::INNER, device),
            qa_answerable: linear(Self::INNER, 1, device),
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, starts: `[batch, seq]`, 1 at the start and 0 elsewhere
    pub fn forward(&self, hidden: Tensor<3>, inputs: &Inputs, starts: Tensor<2>) -> JointLogits {
        let closed = closed(inputs);
        let start = self.start_logits(&hidden, &closed);
        let ends = self.ends(&hidden);
        JointLogits {
            end: self.end_logits(&hidden, ends, starts) + closed,
            answerability: self.answerability(hidden, start.clone()),
            start,
        }
    }

    /// All that is needed to find the answer: for each text a matrix, row by row. The first row is
    /// the answerability and the start logits, each further one the place of one of the [`BEAM`]
    /// best starts and the logits of its ends. Where `seq` is smaller than that, starts come again.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, output: `[batch, (1 + BEAM) * (1 + seq)]`
    pub fn search(&self, hidden: Tensor<3>, inputs: &Inputs) -> Tensor<2> {
        let [batch, seq, _] = hidden.dims();
        let (places, closed) = (places(inputs), closed(inputs));
        let start = self.start_logits(&hidden, &closed);
        let ends = self.ends(&hidden);
        let mut rows = vec![self.answerability(hidden.clone(), start.clone()), start.clone()];
        let mut left = start;
        for _ in 0..BEAM {
            let best = left.clone().argmax(1); // [batch, 1]
            let chosen = places.clone().equal(best.clone().expand([batch, seq])).float();
            let end = self.end_logits(&hidden, ends.clone(), chosen.clone());
            rows.extend([best.float(), end + closed.clone()]);
            left = left - chosen * 1e4;
        }
        Tensor::cat(rows, 1)
    }

    fn start_logits(&self, hidden: &Tensor<3>, closed: &Tensor<2>) -> Tensor<2> {
        kernels::linear(hidden.clone(), &self.qa_start).squeeze_dim(2) + closed.clone()
    }

    /// What every token as an end adds to the inner layer, whatever the start: `[batch, seq, 512]`.
    fn ends(&self, hidden: &Tensor<3>) -> Tensor<3> {
        let width = hidden.dims()[2];
        let weight = self.qa_end_dense.weight.val().narrow(0, width, width);
        kernels::affine(hidden.clone(), weight, kernels::bias_of(&self.qa_end_dense))
    }

    /// `[batch, seq]`
    fn end_logits(&self, hidden: &Tensor<3>, ends: Tensor<3>, starts: Tensor<2>) -> Tensor<2> {
        let width = hidden.dims()[2];
        let weight = self.qa_end_dense.weight.val().narrow(0, 0, width);
        let none = Tensor::zeros([Self::INNER], &hidden.device());
        // [batch, 1, 512]
        let start = kernels::affine(weighted_sum(hidden.clone(), starts), weight, none);
        let inner = activate(Activation::Gelu, ends + start);
        kernels::linear(inner, &self.qa_end).squeeze_dim(2)
    }

    /// `[batch, 1]`
    fn answerability(&self, hidden: Tensor<3>, start: Tensor<2>) -> Tensor<2> {
        let likely = weighted_sum(hidden.clone(), softmax(start)).squeeze_dim::<2>(1);
        let both = Tensor::cat(vec![kernels::first(hidden), likely], 1); // [batch, 2 * hidden]
        let inner = activate(Activation::Gelu, kernels::linear(both, &self.qa_answerable_dense));
        kernels::linear(inner, &self.qa_answerable)
    }
}

/// # Shapes
/// - hidden: `[batch, seq, hidden]`, weights: `[batch, seq]`, output: `[batch, 1, hidden]`
fn weighted_sum(hidden: Tensor<3>, weights: Tensor<2>) -> Tensor<3> {
    (hidden * weights.unsqueeze_dim(2)).sum_dim(1)
}

/// The number of each token in its text, `[batch, seq]`.
fn places(inputs: &Inputs) -> Tensor<2, Int> {
    let [batch, seq] = inputs.input_ids.dims();
    let row = Tensor::<1, Int>::arange(0..seq as i64, &inputs.input_ids.device());
    row.unsqueeze::<2>().expand([batch, seq])
}

/// 1 at `[CLS]`, `[batch, seq]`.
fn is_first(inputs: &Inputs) -> Tensor<2> {
    places(inputs).equal_elem(0).float()
}

/// 0 where an answer may start or end, -1000 (the original's number) elsewhere: the second segment
/// with its `[SEP]` is open, and `[CLS]`, which stands for "not in this window".
///
/// # Shapes
/// - output: `[batch, seq]`
fn closed(inputs: &Inputs) -> Tensor<2> {
    let context = inputs.token_type_ids.clone().equal_elem(1).float();
    let open = (context * inputs.attention_mask.clone()).max_pair(is_first(inputs));
    (open - 1.0) * 1000.0
}

/// Labels of a classification or tagging head; transformers counts two where none are named.
pub fn num_labels(config: &ElectraConfig) -> usize {
    config.id2label.as_ref().map_or(2, |labels| labels.len().max(1))
}

/// The names of a classifier's classes; numbered where the model has none, as transformers does.
pub fn class_names(config: &ElectraConfig) -> Vec<String> {
    let numbered = || (0..num_labels(config)).map(|i| format!("LABEL_{i}")).collect();
    config.labels().unwrap_or_else(numbered)
}

fn classifier_dropout(config: &ElectraConfig) -> Dropout {
    Dropout { prob: config.classifier_dropout.unwrap_or(config.hidden_dropout_prob) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::pretrained;

    fn answerer() -> Electra {
        let config = ElectraConfig {
            vocab_size: 50,
            embedding_size: 16,
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 24,
            max_position_embeddings: 64,
            initializer_range: 0.3,
            qa_head: QaHead::Original,
            ..ElectraConfig::default()
        };
        pretrained::fresh(&config, Architecture::QuestionAnswering, 3, &Device::flex())
    }

    /// Two texts of 4 tokens of a question and so many of a context, and padding.
    fn inputs(contexts: [usize; 2], seq: usize) -> Inputs {
        let device = Device::flex();
        let rows = |value: fn(usize, usize, usize) -> usize| -> Vec<i32> {
            let row = |(row, context)| (0..seq).map(move |t| value(row, t, context) as i32);
            contexts.into_iter().enumerate().flat_map(row).collect()
        };
        let real = |_, t, context| usize::from(t < 4 + context);
        let ids = |row, t, context| (1 + (row * 13 + t * 7) % 49) * usize::from(t < 4 + context);
        let second = |_, t, context| usize::from(t >= 4 && t < 4 + context);
        let ints = |values| Tensor::from_data(TensorData::new(values, [2, seq]), &device);
        Inputs {
            input_ids: ints(rows(ids)),
            token_type_ids: ints(rows(second)),
            attention_mask: ints(rows(real)).float(),
        }
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    /// The rows of both texts.
    fn found(model: &Electra, inputs: &Inputs) -> [Vec<Vec<f32>>; 2] {
        let [_, seq] = inputs.input_ids.dims();
        let flat = values(model.flat_logits(inputs));
        let rows = |text: &[f32]| text.chunks(1 + seq).map(<[f32]>::to_vec).collect();
        let (a, b) = flat.split_at(flat.len() / 2);
        [rows(a), rows(b)]
    }

    /// The ends that are found for a start are those that are learned for it, and the starts are the
    /// best ones, each once.
    #[test]
    fn what_is_searched_is_what_is_learned() {
        let (model, inputs) = (answerer(), inputs([40, 27], 48));
        let texts = found(&model, &inputs);
        for (text, rows) in texts.iter().enumerate() {
            assert_eq!(rows.len(), 1 + BEAM);
            let starts: Vec<usize> = rows[1..].iter().map(|row| row[0] as usize).collect();
            let mut order: Vec<usize> = (0..48).collect();
            order.sort_by(|a, b| rows[0][1 + b].total_cmp(&rows[0][1 + a]));
            assert_eq!(starts, order[..BEAM]);
            assert!(starts.iter().all(|t| *t == 0 || (4..44).contains(t)));
            for (start, row) in starts.iter().zip(&rows[1..]) {
                let mut gold = vec![0f32; 2 * 48];
                gold[text * 48 + start] = 1.0;
                let gold = Tensor::from_data(TensorData::new(gold, [2, 48]), &Device::flex());
                let learned = model.joint_span_logits(&inputs, gold);
                assert_eq!(values(learned.end)[text * 48..][..48], row[1..]);
                assert_eq!(values(learned.start)[text * 48..][..48], rows[0][1..]);
                assert_eq!(values(learned.answerability)[text], rows[0][0]);
            }
        }
    }

    /// What a text is batched with changes nothing, nor does a batch too short for the beam fail.
    #[test]
    fn padding_is_not_searched() {
        let model = answerer();
        let (short, long) = (inputs([5, 12], 16), inputs([5, 12], 64));
        for (short, long) in found(&model, &short).iter().zip(&found(&model, &long)) {
            for (short, long) in short.iter().zip(long).take(1 + 6) {
                let near = short.iter().zip(long).all(|(a, b)| (a - b).abs() < 1e-4);
                assert!(near, "{short:?} {long:?}");
            }
        }
    }

    /// The class in `architectures` and the head in `qa_head` go together.
    #[test]
    fn the_original_s_classes_have_names_of_their_own() {
        let mut config = ElectraConfig { qa_head: QaHead::Original, ..ElectraConfig::default() };
        let name = Architecture::QuestionAnswering.name(&config);
        assert_eq!(name, "ElectraOriginalForQuestionAnswering");
        config.architectures = Some(vec![name.to_string()]);
        assert_eq!(Architecture::of(&config).unwrap(), Architecture::QuestionAnswering);
        let other = Architecture::SequenceClassification.name(&config);
        assert_eq!(other, "ElectraForSequenceClassification");
    }
}

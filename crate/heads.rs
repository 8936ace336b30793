//! What stands on the encoder: replaced-token detection, the generator's masked-token head, and
//! the heads of the tasks. Names and wiring are those of transformers' `modeling_electra.py`.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use crate::config::{Activation, ClassificationHead, ElectraConfig};
use crate::error::{Error, Result};
use crate::model::{Dropout, ElectraModel, Inputs, LayerNorm, activate, linear};

/// The Hugging Face classes that this crate reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    PreTraining,
    MaskedLm,
    SequenceClassification,
    TokenClassification,
    QuestionAnswering,
}

const ARCHITECTURES: [(Architecture, &str); 5] = [
    (Architecture::PreTraining, "ElectraForPreTraining"),
    (Architecture::MaskedLm, "ElectraForMaskedLM"),
    (Architecture::SequenceClassification, "ElectraForSequenceClassification"),
    (Architecture::TokenClassification, "ElectraForTokenClassification"),
    (Architecture::QuestionAnswering, "ElectraForQuestionAnswering"),
];

/// What `architectures` says where the head is google-research/electra's, which transformers
/// has no class for.
const ORIGINAL_CLASSIFIER: &str = "ElectraOriginalForSequenceClassification";

impl Architecture {
    /// Reads `architectures` of a config. A bare `ElectraModel` or none counts as a discriminator.
    ///
    /// # Errors
    /// The class is not one of ELECTRA's.
    pub fn of(config: &ElectraConfig) -> Result<Self> {
        let Some(name) = config.architectures.as_ref().and_then(|names| names.first()) else {
            return Ok(Architecture::PreTraining);
        };
        if name == ORIGINAL_CLASSIFIER {
            return Ok(Architecture::SequenceClassification);
        }
        let known = ARCHITECTURES.iter().find(|(_, known)| known == name);
        known.map(|(architecture, _)| *architecture).ok_or_else(|| {
            let names: Vec<_> = ARCHITECTURES.iter().map(|(_, name)| *name).collect();
            Error::new("config.json, architectures", format!("{name:?} is not supported"))
                .fix(format!("Supported are {}.", names.join(", ")))
        })
    }

    /// The class name for `architectures`.
    pub fn name(self, config: &ElectraConfig) -> &'static str {
        if self == Architecture::SequenceClassification
            && config.classification_head == ClassificationHead::Original
        {
            return ORIGINAL_CLASSIFIER;
        }
        ARCHITECTURES.iter().find(|(a, _)| *a == self).map(|(_, name)| *name).expect("all listed")
    }
}

/// An encoder with one head: any of the five Hugging Face classes.
#[derive(Module, Debug)]
pub struct Electra {
    pub electra: ElectraModel,
    pub head: Head,
}

#[derive(Module, Debug)]
pub enum Head {
    Discriminator(DiscriminatorHead),
    Generator(GeneratorHead),
    Classifier(ClassifierHead),
    /// google-research/electra's classification head; reads the first token.
    OriginalClassifier(LinearHead),
    Tokens(LinearHead),
    Span(SpanHead),
}

impl Electra {
    /// The network with unset weights: `checkpoint::fill` gives it some.
    pub fn new(config: &ElectraConfig, architecture: Architecture, device: &Device) -> Self {
        let electra = ElectraModel::new(config, device);
        Electra { electra, head: Head::new(config, architecture, device) }
    }

    /// The logits of whatever head this is, an example a row: `[batch, width]`, where width is
    /// `num_labels` for a classifier and `seq` times the logits of a token for the others.
    pub fn flat_logits(&self, inputs: &Inputs) -> Tensor<2> {
        match &self.head {
            Head::Discriminator(_) => self.replaced_logits(inputs),
            Head::Generator(_) => self.vocabulary_logits(inputs).flatten(1, 2),
            Head::Classifier(_) | Head::OriginalClassifier(_) => self.class_logits(inputs),
            Head::Tokens(_) => self.token_logits(inputs).flatten(1, 2),
            Head::Span(_) => {
                let (start, end) = self.span_logits(inputs);
                Tensor::stack::<3>(vec![start, end], 2).flatten(1, 2)
            }
        }
    }

    /// Does the head speak of every token, or of the text as a whole?
    pub fn is_per_token(&self) -> bool {
        !matches!(self.head, Head::Classifier(_) | Head::OriginalClassifier(_))
    }

    /// Replaced-token logits, `[batch, seq]`: above 0 means "replaced".
    pub fn replaced_logits(&self, inputs: &Inputs) -> Tensor<2> {
        let Head::Discriminator(head) = &self.head else { panic!("not a discriminator") };
        head.forward(self.electra.forward(inputs))
    }

    /// Vocabulary logits at every position, `[batch, seq, vocab]`.
    pub fn vocabulary_logits(&self, inputs: &Inputs) -> Tensor<3> {
        let Head::Generator(head) = &self.head else { panic!("not a generator") };
        let table = self.electra.embeddings.word_embeddings.weight.val();
        head.forward(self.electra.forward(inputs), table)
    }

    /// Class logits, `[batch, num_labels]`.
    pub fn class_logits(&self, inputs: &Inputs) -> Tensor<2> {
        let hidden = self.electra.forward(inputs);
        match &self.head {
            Head::Classifier(head) => head.forward(first_token(hidden)),
            Head::OriginalClassifier(head) => head.forward(first_token(hidden)),
            _ => panic!("not a classifier"),
        }
    }

    /// Class logits of every token, `[batch, seq, num_labels]`.
    pub fn token_logits(&self, inputs: &Inputs) -> Tensor<3> {
        let Head::Tokens(head) = &self.head else { panic!("not a tagger") };
        head.forward(self.electra.forward(inputs))
    }

    /// Start and end logits, `[batch, seq]` each.
    pub fn span_logits(&self, inputs: &Inputs) -> (Tensor<2>, Tensor<2>) {
        let Head::Span(head) = &self.head else { panic!("not a question answerer") };
        head.forward(self.electra.forward(inputs))
    }
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
            Architecture::QuestionAnswering => Head::Span(SpanHead::new(config, device)),
        }
    }
}

/// `ElectraDiscriminatorPredictions`
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
        let hidden = activate(self.hidden_act, self.dense.forward(hidden));
        self.dense_prediction.forward(hidden).squeeze_dim(2)
    }
}

/// `ElectraGeneratorPredictions` and the softmax tied to the word embeddings.
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

    /// On hidden states of another width than `hidden_size`.
    pub fn over(width: usize, config: &ElectraConfig, device: &Device) -> Self {
        let zeros = burn::nn::Initializer::Zeros;
        GeneratorHead {
            dense: linear(width, config.embedding_size, device),
            layer_norm: LayerNorm::new(config, config.embedding_size, device),
            bias: zeros.init([config.vocab_size], device),
        }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, word_embeddings: `[vocab, embedding]`
    /// - output: `[batch, seq, vocab]`
    pub fn forward(&self, hidden: Tensor<3>, word_embeddings: Tensor<2>) -> Tensor<3> {
        let hidden = self.transform(hidden);
        hidden.matmul(word_embeddings.transpose().unsqueeze()) + self.bias.val().unsqueeze()
    }

    /// What is compared with the word embeddings.
    ///
    /// # Shapes
    /// - hidden: `[.., hidden]`, output: `[.., embedding]`
    pub fn transform<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        // transformers has GELU here whatever `hidden_act` says.
        self.layer_norm.forward(activate(Activation::Gelu, self.dense.forward(hidden)))
    }
}

/// transformers' `ElectraClassificationHead`.
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
    pub fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        let inner = activate(Activation::Gelu, self.dense.forward(self.dropout.forward(first)));
        self.out_proj.forward(self.dropout.forward(inner))
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
    pub fn forward<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        self.classifier.forward(self.dropout.forward(hidden))
    }
}

/// `ElectraForQuestionAnswering`'s head: start and end apart from each other.
#[derive(Module, Debug)]
pub struct SpanHead {
    pub qa_outputs: Linear,
}

impl SpanHead {
    fn new(config: &ElectraConfig, device: &Device) -> Self {
        SpanHead { qa_outputs: linear(config.hidden_size, 2, device) }
    }

    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`, outputs: `[batch, seq]` each
    pub fn forward(&self, hidden: Tensor<3>) -> (Tensor<2>, Tensor<2>) {
        let [batch, seq, _] = hidden.dims();
        let logits = self.qa_outputs.forward(hidden); // [batch, seq, 2]
        let column = |i| logits.clone().slice([0..batch, 0..seq, i..i + 1]).squeeze_dim(2);
        (column(0), column(1))
    }
}

/// The hidden state of `[CLS]`: `[batch, seq, hidden]` to `[batch, hidden]`.
fn first_token(hidden: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = hidden.dims();
    hidden.slice([0..batch, 0..1]).reshape([batch, width])
}

/// Labels of a classification or tagging head; transformers counts two where none are named.
pub fn num_labels(config: &ElectraConfig) -> usize {
    config.id2label.as_ref().map_or(2, |labels| labels.len().max(1))
}

fn classifier_dropout(config: &ElectraConfig) -> Dropout {
    Dropout { prob: config.classifier_dropout.unwrap_or(config.hidden_dropout_prob) }
}

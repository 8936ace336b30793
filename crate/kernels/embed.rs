//! The sum of a word's, a position's and a type's row: on a GPU one launch, and three back.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Shape, Slice, Tensor};

/// # Shapes
/// - words: `[vocab, width]`, positions: `[positions, width]`, types: `[types, width]`
/// - input_ids and token_type_ids: `[batch, seq]`, output: `[batch, seq, width]`
pub fn embed(
    [words, positions, types]: [Tensor<2>; 3],
    input_ids: Tensor<2, Int>,
    token_type_ids: Tensor<2, Int>,
) -> Tensor<3> {
    let [words, positions, types] = [words, positions, types].map(Tensor::into_dispatch);
    let (ids, type_ids) = (input_ids.into_dispatch(), token_type_ids.into_dispatch());
    Tensor::from_dispatch(Dispatch::embed(words, positions, types, ids, type_ids))
}

/// The bodies here are the plain forms, for the CPU.
#[backend_extension(Cube, Flex, Autodiff)]
pub trait EmbedOps: Backend {
    fn embed(
        words: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        ids: IntTensor<Self>,
        type_ids: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let (seq, width) = (ids.shape()[1], words.shape()[1]);
        let sum = Self::float_add(Self::embedding(words, ids), Self::embedding(types, type_ids));
        let rows = Self::float_slice(positions, &[Slice::from(0..seq), Slice::from(0..width)]);
        Self::float_add(sum, Self::float_reshape(rows, Shape::from([1, seq, width])))
    }

    /// The gradient of the words' table.
    fn embed_words_backward(
        words: FloatTensor<Self>,
        ids: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::embedding_backward(words, grad, ids)
    }

    /// Those of the positions' and of the types'.
    fn embed_rest_backward(
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        type_ids: IntTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (seq, width) = (type_ids.shape()[1], types.shape()[1]);
        let of_rows =
            Self::float_reshape(Self::float_sum_dim(grad.clone(), 0), Shape::from([seq, width]));
        let none = Self::float_zeros(positions.shape(), &grad.device(), grad.dtype().into());
        let rows = [Slice::from(0..seq), Slice::from(0..width)];
        let of_positions = Self::float_slice_assign(none, &rows, of_rows);
        (of_positions, Self::embedding_backward(types, grad, type_ids))
    }
}

impl EmbedOps for Flex {}

impl<B: EmbedOps, C: CheckpointStrategy> EmbedOps for Autodiff<B, C> {
    fn embed(
        words: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        ids: IntTensor<Self>,
        type_ids: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [words.node(), positions.node(), types.node()];
        let [words, positions, types] =
            [words, positions, types].map(|tensor| tensor.into_primitive());
        match Embed.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let tables = [&words, &positions, &types].map(Clone::clone);
                let state = Looked { tables, ids: ids.clone(), type_ids: type_ids.clone() };
                prep.finish(state, B::embed(words, positions, types, ids, type_ids))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::embed(words, positions, types, ids, type_ids))
            }
        }
    }
}

#[derive(Debug)]
struct Embed;

#[derive(Debug, Clone)]
struct Looked<B: Backend> {
    /// Words, positions, types.
    tables: [FloatTensor<B>; 3],
    ids: IntTensor<B>,
    type_ids: IntTensor<B>,
}

impl<B: EmbedOps> Backward<B, 3> for Embed {
    type State = Looked<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let Looked { tables: [words, positions, types], ids, type_ids } = ops.state;
        let [of_words, of_positions, of_types] = ops.parents;
        if let Some(node) = of_words {
            grads.register::<B>(node.id, B::embed_words_backward(words, ids, grad.clone()));
        }
        if of_positions.is_none() && of_types.is_none() {
            return;
        }
        let (positions, types) = B::embed_rest_backward(positions, types, type_ids, grad);
        for (node, grad) in [(of_positions, positions), (of_types, types)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

//! GELU, LayerNorm and softmax, each one step for autodiff, with its gradient in closed form.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use electra_host::norm;

use super::flex;

/// `x Φ(x)`, by erf, with the exact derivative `Φ(x) + x φ(x)`. Burn's own has the derivative of
/// the tanh form on GPUs.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::exact_gelu(x.into_dispatch()))
}

/// `(x - mean) / sqrt(var + epsilon) * gamma + beta` over the last axis.
///
/// # Shapes
/// - x: `[.., width]`, gamma and beta: `[width]`
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::row_norm(x, gamma, beta, epsilon))
}

/// Softmax over the last axis.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::row_softmax(x.into_dispatch()))
}

/// The bodies here are the plain forms; GPUs have kernels of GELU and of the norm (`gpu.rs`).
#[backend_extension(Cube, Flex, Autodiff)]
pub trait DifferentiableOps: Backend {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_mul(x.clone(), normal_cdf::<Self>(x))
    }

    fn exact_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let square = Self::float_mul(x.clone(), x.clone());
        let density = Self::float_exp(Self::float_mul_scalar(square, (-0.5).into()));
        let scale = 1.0 / std::f64::consts::TAU.sqrt();
        let slope = Self::float_mul_scalar(Self::float_mul(x.clone(), density), scale.into());
        Self::float_mul(grad, Self::float_add(normal_cdf::<Self>(x), slope))
    }

    fn row_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm(x, gamma, Some(beta), epsilon)
    }

    /// The gradients of x, gamma and beta. With `n` the normalised x and `g` the gradient times
    /// gamma, that of x is `(g - mean(g) - n mean(g n)) / sqrt(var + epsilon)`.
    fn row_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let shape = x.shape();
        let (last, width) = (shape.num_dims() - 1, shape[shape.num_dims() - 1]);
        let rows = Shape::from([shape.num_elements() / width, width]);
        let mean = Self::float_mean_dim(x.clone(), last);
        let centered = Self::float_sub(x, mean);
        let square = Self::float_mul(centered.clone(), centered.clone());
        let variance = Self::float_mean_dim(square, last);
        let deviation = Self::float_sqrt(Self::float_add_scalar(variance, epsilon.into()));
        let scale = Self::float_recip(deviation);
        let normal = Self::float_mul(centered, scale.clone());
        let by_normal = Self::float_mul(grad.clone(), normal.clone());
        let sum_rows = |tensor| {
            let sum = Self::float_sum_dim(Self::float_reshape(tensor, rows.clone()), 0);
            Self::float_reshape(sum, Shape::from([width]))
        };
        let (grad_gamma, grad_beta) = (sum_rows(by_normal), sum_rows(grad.clone()));
        let broadcast: Vec<usize> = (0..=last).map(|i| if i == last { width } else { 1 }).collect();
        let weighted = Self::float_mul(grad, Self::float_reshape(gamma, Shape::from(broadcast)));
        let mean = Self::float_mean_dim(weighted.clone(), last);
        let along = Self::float_mul(weighted.clone(), normal.clone());
        let along = Self::float_mul(normal, Self::float_mean_dim(along, last));
        let inner = Self::float_sub(Self::float_sub(weighted, mean), along);
        (Self::float_mul(inner, scale), grad_gamma, grad_beta)
    }

    fn row_softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let last = x.shape().num_dims() - 1;
        Self::softmax(x, last)
    }

    /// `y (g - Σ g y)`, with y the softmax.
    fn row_softmax_backward(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let last = y.shape().num_dims() - 1;
        let sum = Self::float_sum_dim(Self::float_mul(grad.clone(), y.clone()), last);
        Self::float_mul(y, Self::float_sub(grad, sum))
    }
}

/// `Φ(x)`, the distribution function of the normal distribution; `φ(x)` is its density.
fn normal_cdf<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, std::f64::consts::FRAC_1_SQRT_2.into()));
    B::float_add_scalar(B::float_mul_scalar(erf, 0.5.into()), 0.5.into())
}

/// On the CPU: one pass over memory instead of one an operation.
impl DifferentiableOps for Flex {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::ops::ActivationOps;
        Flex::gelu(x)
    }

    fn exact_gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::ops::ActivationOps;
        Flex::gelu_backward(x, grad)
    }

    fn row_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let shape = x.shape();
        let (x, gamma, grad) = (x.to_contiguous(), gamma.to_contiguous(), grad.to_contiguous());
        let (x, gamma, grad) = (x.storage::<f32>(), gamma.storage::<f32>(), grad.storage::<f32>());
        let (grad_x, grad_gamma, grad_beta) = norm::norm_back(x, gamma, grad, epsilon as f32);
        let width = Shape::from([gamma.len()]);
        (flex(grad_x, shape), flex(grad_gamma, width.clone()), flex(grad_beta, width))
    }

    fn row_softmax_backward(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = y.shape();
        let width = shape[shape.num_dims() - 1];
        let (y, grad) = (y.to_contiguous(), grad.to_contiguous());
        let (y, grad) = (y.storage::<f32>(), grad.storage::<f32>());
        flex(norm::softmax_back(y, grad, width), shape)
    }
}

impl<B: DifferentiableOps, C: CheckpointStrategy> DifferentiableOps for Autodiff<B, C> {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Gelu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(x.primitive().clone(), B::exact_gelu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::exact_gelu(x.into_primitive())),
        }
    }

    fn row_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        match Norm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep
                .finish((x.clone(), gamma.clone(), epsilon), B::row_norm(x, gamma, beta, epsilon)),
            OpsKind::UnTracked(prep) => prep.finish(B::row_norm(x, gamma, beta, epsilon)),
        }
    }

    fn row_softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Softmax.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::row_softmax(x.into_primitive());
                prep.finish(y.clone(), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::row_softmax(x.into_primitive())),
        }
    }
}

#[derive(Debug)]
struct Gelu;

impl<B: DifferentiableOps> Backward<B, 1> for Gelu {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let x = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::exact_gelu_backward(x, grad));
    }
}

#[derive(Debug)]
struct Norm;

impl<B: DifferentiableOps> Backward<B, 3> for Norm {
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, gamma, epsilon) = ops.state;
        let (x, gamma, beta) = B::row_norm_backward(x, gamma, grad, epsilon);
        for (node, grad) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct Softmax;

impl<B: DifferentiableOps> Backward<B, 1> for Softmax {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let y = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::row_softmax_backward(y, grad));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, activation};

    use super::*;

    /// Values between about -2 and 2, the same every time.
    fn wave<const D: usize>(shape: [usize; D], phase: f32) -> Tensor<D> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * 0.73 + phase).sin() * 2.0).collect();
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
    }

    fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
        let difference: f32 = (a - b).abs().max().into_scalar();
        assert!(difference < 2e-5, "{difference}");
    }

    #[test]
    fn layer_norm_and_its_gradients_equal_burn_s() {
        let (x, gamma, beta) = (wave([3, 5, 21], 0.0), wave([21], 1.0), wave([21], 2.0));
        let weights = wave([3, 5, 21], 3.0);
        let ours = layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-12);
        let theirs =
            burn::tensor::module::layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-12);
        close(ours.clone().inner(), theirs.clone().inner());
        let (a, b) =
            ((ours * weights.clone()).sum().backward(), (theirs * weights).sum().backward());
        close(x.grad(&a).unwrap(), x.grad(&b).unwrap());
        close(gamma.grad(&a).unwrap(), gamma.grad(&b).unwrap());
        close(beta.grad(&a).unwrap(), beta.grad(&b).unwrap());
    }

    #[test]
    fn softmax_and_its_gradient_equal_burn_s() {
        let (x, weights) = (wave([2, 3, 4, 19], 0.0), wave([2, 3, 4, 19], 3.0));
        let (ours, theirs) = (softmax(x.clone()), activation::softmax(x.clone(), 3));
        close(ours.clone().inner(), theirs.clone().inner());
        let (a, b) =
            ((ours * weights.clone()).sum().backward(), (theirs * weights).sum().backward());
        close(x.grad(&a).unwrap(), x.grad(&b).unwrap());
    }

    #[test]
    fn gelu_s_gradient_is_the_slope() {
        let x = wave([50], 0.0);
        let grads = gelu(x.clone()).sum().backward();
        let step = 1e-2;
        let slope = (gelu(x.clone() + step) - gelu(x.clone() - step)) / (2.0 * step);
        let difference: f32 = (x.grad(&grads).unwrap() - slope.inner()).abs().max().into_scalar();
        assert!(difference < 1e-4, "{difference}");
    }
}

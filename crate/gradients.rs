//! The gradients of one update, computed part by part.
//!
//! On a CPU the parts are small and run beside each other, one on each core: far better than
//! sharing out every matrix product, most of which are too small to gain by it. How a batch is
//! cut does not depend on the machine, and gradients are summed in the order of the parts, so the
//! same command gives the same bits on any number of cores.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use crate::device::is_cpu;

/// The most tokens that a core takes at a time: more do not make its products faster.
const TOKENS: usize = 1024;

/// How many of a pass's examples, of at most `max_seq_length` tokens each, go through the network
/// at once on that device: on a CPU at most half of them.
pub fn examples_at_once(batch_size: usize, max_seq_length: usize, device: &Device) -> usize {
    match is_cpu(device) {
        true => (TOKENS / max_seq_length).clamp(1, batch_size.div_ceil(2)),
        false => batch_size,
    }
}

/// What one part gave.
pub struct PartLoss {
    /// What the gradients are of, `[1]`.
    pub loss: Tensor<1>,
    /// What to report of it, without autodiff.
    pub report: Tensor<1>,
}

/// The sum of the gradients and of the reports of all parts.
pub fn sum_of_parts<M: Module, T: Send>(
    model: &M,
    parts: Vec<T>,
    device: &Device,
    pass: impl Fn(&M, T) -> PartLoss + Sync,
) -> (Tensor<1>, GradientsParams) {
    // Parts that shared a parameter would share a graph, and a lock on it.
    let own = |part: T| (model.clone().map(&mut OwnGraph), part);
    let one = |(model, part): (M, T)| {
        let PartLoss { loss, report } = pass(&model, part);
        (report, GradientsParams::from_grads(loss.backward(), &model))
    };
    let mut accumulator = GradientsAccumulator::new();
    let mut reports: Option<Tensor<1>> = None;
    let mut parts = parts.into_iter();
    loop {
        // As many as run at once: more would only wait in memory.
        let wave: Vec<(M, T)> = parts.by_ref().take(cores(device)).map(own).collect();
        if wave.is_empty() {
            break;
        }
        for (report, grads) in side_by_side(wave, one) {
            accumulator.accumulate(model, grads);
            reports = Some(match reports {
                Some(sum) => sum + report,
                None => report,
            });
        }
    }
    (reports.expect("there is a part"), accumulator.grads())
}

/// Starts every parameter on a graph of its own; the values are shared.
struct OwnGraph;

impl ModuleMapper for OwnGraph {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = param.is_require_grad();
        let (id, tensor, mapper) = param.consume();
        let tensor = Tensor::from_inner(tensor.inner()).set_require_grad(trained);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[cfg(target_family = "wasm")]
fn cores(_: &Device) -> usize {
    1
}

#[cfg(not(target_family = "wasm"))]
fn cores(device: &Device) -> usize {
    if is_cpu(device) { rayon::current_num_threads() } else { 1 }
}

#[cfg(target_family = "wasm")]
fn side_by_side<T, R>(items: Vec<T>, work: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Each item on threads of its own, which share the cores.
#[cfg(not(target_family = "wasm"))]
fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if items.len() == 1 {
        return items.into_iter().map(work).collect();
    }
    let (pools, work) = (pools(items.len()), &work);
    std::thread::scope(|scope| {
        let run = |(item, pool): (T, &'static rayon::ThreadPool)| {
            scope.spawn(move || pool.install(|| work(item)))
        };
        let running: Vec<_> = items.into_iter().zip(pools).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("a part does not panic")).collect()
    })
}

/// So many pools of threads; made once and kept.
#[cfg(not(target_family = "wasm"))]
fn pools(count: usize) -> &'static [rayon::ThreadPool] {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    static POOLS: Mutex<BTreeMap<usize, &[rayon::ThreadPool]>> = Mutex::new(BTreeMap::new());
    let threads = (rayon::current_num_threads() / count).max(1);
    let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let make = || {
        let pools: Result<Vec<_>, _> = (0..count).map(pool).collect();
        &*pools.expect("the system gives threads").leak()
    };
    POOLS.lock().expect("nothing panics with it").entry(count).or_insert_with(make)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[derive(Module, Debug)]
    struct Line {
        slope: Param<Tensor<1>>,
        frozen: Param<Tensor<1>>,
    }

    #[test]
    fn parts_add_up_and_frozen_parameters_stay_frozen() {
        let device = Device::flex().autodiff();
        let param = |x: f32| Param::from_tensor(Tensor::from_floats([x], &device));
        let line = Line { slope: param(2.0), frozen: param(3.0).set_require_grad(false) };
        let parts: Vec<f32> = (1..=7).map(|x| x as f32).collect();
        let (report, mut grads) = sum_of_parts(&line, parts, &device, |line, x| {
            let x = Tensor::from_data(TensorData::from([x]), &device);
            let loss = line.slope.val() * x * line.frozen.val();
            PartLoss { report: loss.clone().inner(), loss }
        });
        assert_eq!(report.into_scalar::<f32>(), 2.0 * 3.0 * 28.0);
        let slope = grads.remove::<1>(line.slope.id).unwrap();
        assert_eq!(slope.into_scalar::<f32>(), 3.0 * 28.0);
        assert!(grads.remove::<1>(line.frozen.id).is_none());
    }
}

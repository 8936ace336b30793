//! Is there memory for what is to come? A page has 4 GiB, and once there is none left the engine is gone,
//! with all that it held: so what loading and training take on the CPU is asked for before.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::config::ElectraConfig;
use crate::device::is_cpu;
use crate::error::{Error, Result};
use crate::finetune::FinetuneOptions;
use crate::gradients::examples_at_once;
use crate::heads::{Architecture, Electra};
use crate::pretrained::Loaded;

/// # Errors
/// There is no room for the weights of such a model.
pub fn check_to_load(config: &ElectraConfig, device: &Device) -> Result<()> {
    if !is_cpu(device) {
        return Ok(());
    }
    let sizes = parameter_sizes(config, Architecture::of(config)?, device);
    let largest = sizes.iter().max().copied().unwrap_or(0);
    // The largest is here twice, as it comes and as it is to lie.
    check("to be loaded", sizes.into_iter().chain([largest]))
}

/// Copies of the weights in training: themselves, two of the gradient while its parts are added, and
/// the two moments.
const IN_TRAINING: usize = 5;

/// # Errors
/// There is no room to train it so.
pub fn check_to_train(loaded: &Loaded, options: &FinetuneOptions, device: &Device) -> Result<()> {
    if !is_cpu(device) {
        return Ok(());
    }
    let (config, settings) = (&loaded.config, &options.config);
    let sizes = parameter_sizes(config, loaded.architecture, device);
    let copies = IN_TRAINING + usize::from(settings.keep_best);
    let weights = std::iter::repeat_n(sizes, copies).flatten();
    let length = settings.max_seq_length;
    let tokens = length * examples_at_once(settings.batch_size, length, device);
    let kept = tokens * KEPT_OF_A_TOKEN * (config.hidden_size + config.intermediate_size) * 4;
    check("to be trained", weights.chain(vec![kept; config.num_hidden_layers]))
}

/// Of each width of a layer, so many numbers of each token are kept for the way back.
const KEPT_OF_A_TOKEN: usize = 6;

/// In bytes.
fn parameter_sizes(
    config: &ElectraConfig,
    architecture: Architecture,
    device: &Device,
) -> Vec<usize> {
    struct Sizes(Vec<usize>);
    impl ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.lazy_shape().num_elements() * size_of::<f32>());
        }
    }
    let mut sizes = Sizes(Vec::new());
    Electra::new(config, architecture, device).visit(&mut sizes);
    sizes.0
}

/// Is there memory for all of these blocks? They are taken, and let go again.
fn check(purpose: &str, blocks: impl Iterator<Item = usize>) -> Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for size in blocks {
        let mut block = Vec::new();
        if block.try_reserve_exact(size).is_err() {
            let problem =
                format!("this model is too large {purpose} in the memory that a page may have");
            return Err(Error::new("memory", problem).fix(
                "Choose a smaller one, such as ELECTRA-Small. Where a run is over, download its model, \
                 and load one again before the next run: that needs less.",
            ));
        }
        // A compiler may leave out what nobody looks at.
        taken.push(std::hint::black_box(block));
    }
    Ok(())
}
